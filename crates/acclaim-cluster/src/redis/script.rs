//! The scripts, and calls of them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::{Cmd, Value};
use sha1::{Digest, Sha1};

use super::error::RedisError;
use super::keys::Partition;

/// A script and the name that Redis knows it by.
#[derive(Debug)]
pub struct Script {
    /// The name of its file, for messages.
    pub name: &'static str,
    /// What is loaded.
    pub source: &'static str,
    /// Whether it does no harm to carry a call of it out twice.
    pub is_repeatable: bool,
    sha: LazyLock<String>,
}

macro_rules! script {
    ($name:literal, $is_repeatable:literal) => {
        Script {
            name: $name,
            is_repeatable: $is_repeatable,
            source: include_str!(concat!("scripts/", $name)),
            sha: LazyLock::new(|| hex_sha1(include_str!(concat!("scripts/", $name)))),
        }
    };
}

pub static DECIDE: Script = script!("decide.lua", false);
pub static READ: Script = script!("read.lua", true);
pub static CLAIM: Script = script!("claim.lua", false);
pub static INSTALL: Script = script!("install.lua", false);
pub static RESERVE: Script = script!("reserve.lua", false);
pub static LIST: Script = script!("list.lua", true);
pub static INSTALL_LIST: Script = script!("install_list.lua", true);
pub static PERSISTED: Script = script!("persisted.lua", true);
pub static PUBLISHED: Script = script!("published.lua", true);
pub static PUBLISH_AGAIN: Script = script!("publish_again.lua", true);
pub static PROGRESS: Script = script!("progress.lua", true);
pub static SEAL: Script = script!("seal.lua", true);
pub static DROP: Script = script!("drop.lua", false);
pub static RELEASE: Script = script!("release.lua", true);
pub static FORGET: Script = script!("forget.lua", true);
pub static FORGET_ANSWERS: Script = script!("forget_answers.lua", true);
pub static SWEEP: Script = script!("sweep.lua", true);

fn hex_sha1(source: &str) -> String {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(source.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

impl Script {
    /// A call of it on a partition, to which the arguments are still to be added.
    ///
    /// It names two keys that never exist. While a Cluster moves their slot both of its servers
    /// refuse such a call (ASK, TRYAGAIN), so a script never sees a partition of which a part is
    /// elsewhere: what is not there would look cold and is not.
    pub fn on(&'static self, partition: Partition) -> Call {
        let mut cmd = redis::cmd("EVALSHA");
        let tag = partition.to_string();
        cmd.arg(self.sha.as_str()).arg(2).arg(&tag);
        cmd.arg(format!("{tag}:"));
        Call {
            script: self,
            partition,
            cmd,
        }
    }
}

/// A call of a script, with its arguments.
#[derive(Debug)]
pub struct Call {
    pub script: &'static Script,
    pub partition: Partition,
    pub cmd: Cmd,
}

impl Call {
    /// Adds an argument.
    pub fn arg(&mut self, arg: impl redis::ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }

    /// The error for a reply that makes no sense.
    pub fn unexpected(script: &'static Script, reply: &Value) -> RedisError {
        let mut reply = format!("{reply:?}");
        reply.truncate(200);
        RedisError::Reply {
            script: script.name,
            reply,
        }
    }
}

/// The text of each answer of an array.
pub fn texts<'a>(script: &'static Script, reply: &'a Value) -> Result<Vec<&'a [u8]>, RedisError> {
    texts_of(reply).ok_or_else(|| Call::unexpected(script, reply))
}

/// The text of each value of an array.
pub fn texts_of(reply: &Value) -> Option<Vec<&[u8]>> {
    let Value::Array(answers) = reply else {
        return None;
    };
    answers.iter().map(text_of).collect()
}

fn text_of(answer: &Value) -> Option<&[u8]> {
    match answer {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}
