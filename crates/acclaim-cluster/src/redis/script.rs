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
    sha: LazyLock<String>,
}

macro_rules! script {
    ($name:literal) => {
        Script {
            name: $name,
            source: include_str!(concat!("scripts/", $name)),
            sha: LazyLock::new(|| hex_sha1(include_str!(concat!("scripts/", $name)))),
        }
    };
}

pub static DECIDE: Script = script!("decide.lua");
pub static READ: Script = script!("read.lua");
pub static CLAIM: Script = script!("claim.lua");
pub static INSTALL: Script = script!("install.lua");
pub static RESERVE: Script = script!("reserve.lua");
pub static LIST: Script = script!("list.lua");
pub static INSTALL_LIST: Script = script!("install_list.lua");
pub static PERSISTED: Script = script!("persisted.lua");
pub static PROGRESS: Script = script!("progress.lua");
pub static SEAL: Script = script!("seal.lua");
pub static MARK: Script = script!("mark.lua");
pub static DROP: Script = script!("drop.lua");
pub static FORGET: Script = script!("forget.lua");
pub static SWEEP: Script = script!("sweep.lua");

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
    pub fn on(&'static self, partition: Partition) -> Call {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.sha.as_str()).arg(1).arg(partition.to_string());
        Call { script: self, cmd }
    }
}

/// A call of a script, with its arguments.
#[derive(Debug)]
pub struct Call {
    pub script: &'static Script,
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
    let unexpected = || Call::unexpected(script, reply);
    let Value::Array(answers) = reply else {
        return Err(unexpected());
    };
    let text = |answer: &'a Value| match answer {
        Value::BulkString(text) => Some(text.as_slice()),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    };
    answers
        .iter()
        .map(|answer| text(answer).ok_or_else(unexpected))
        .collect()
}
