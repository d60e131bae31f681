//! The scripts, and calls of them.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation, ToRedisArgs};

macro_rules! script {
    ($name:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/streams.lua"),
                include_str!(concat!("scripts/", $name))
            ))
        })
    };
}

pub static PUBLISH: LazyLock<Script> = script!("publish.lua");
pub static KEEP: LazyLock<Script> = script!("keep.lua");
pub static FORGET: LazyLock<Script> = script!("forget.lua");
pub static TEND: LazyLock<Script> = script!("tend.lua");
pub static CLAIM: LazyLock<Script> = script!("claim.lua");
pub static RENEW: LazyLock<Script> = script!("renew.lua");
pub static RELEASE: LazyLock<Script> = script!("release.lua");
pub static COMMIT: LazyLock<Script> = script!("commit.lua");
pub static SEEK: LazyLock<Script> = script!("seek.lua");
pub static LAG: LazyLock<Script> = script!("lag.lua");

/// A call of a script, with its keys and arguments.
pub struct Call(ScriptInvocation<'static>);

impl Call {
    /// A call on some keys.
    pub fn of(script: &'static LazyLock<Script>, keys: &[String]) -> Self {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        Self(invocation)
    }

    /// With one more argument.
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.0.arg(arg);
        self
    }

    /// As the client library knows it.
    pub fn invocation(&self) -> &ScriptInvocation<'static> {
        &self.0
    }
}
