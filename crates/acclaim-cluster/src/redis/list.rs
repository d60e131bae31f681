//! The newest entries of a target's list.
//!
//! The list of a target with at most 800 edges is made of its record or its buckets when it is
//! asked for, so it costs no memory. That of a larger one is cached: a contiguous prefix of the
//! true list, at most 1,000 entries and at most an eighth of the edges, kept by each transition
//! while it is there, and dropped when an import would have to be sorted in. What lies beyond it
//! is in the ledger: entries are cut off only when they are.

use std::time::Duration;

use acclaim_core::page::Entry;
use acclaim_core::port::Count;
use acclaim_core::{Id, Rev};

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::load::Cold;
use super::script::{self, Call, INSTALL_LIST, LIST};

/// The most entries a cached list holds.
pub const MAX_LIST_ENTRIES: usize = 1_000;

/// What Redis knows of a target's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest {
    /// All of it, newest first.
    Whole(Count, Vec<Entry<Id>>),
    /// Its beginning, newest first.
    Beginning(Count, Vec<Entry<Id>>),
    /// Nothing: gather the newest entries as of this count and install them.
    Missing(Count),
    /// This must be loaded first.
    Cold(Cold),
}

impl Redis {
    /// Reads the newest entries of a target.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn newest(
        &self,
        partition: Partition,
        target: &TargetName,
    ) -> Result<Newest, RedisError> {
        let mut call = LIST.on(partition);
        call.arg(target.to_string());
        let reply = self.call(&call).await?;
        let answers = script::texts(&LIST, &reply)?;
        read(&answers).ok_or_else(|| Call::unexpected(&LIST, &reply))
    }

    /// Caches the newest entries, newest first, if `count` is still that of the target. Answers
    /// whether it was.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn install_newest(
        &self,
        partition: Partition,
        target: &TargetName,
        count: Count,
        entries: &[Entry<Id>],
        keep: Duration,
    ) -> Result<bool, RedisError> {
        if entries.is_empty() {
            return Ok(false);
        }
        let mut call = INSTALL_LIST.on(partition);
        call.arg(target.to_string()).arg(count.rev.0);
        call.arg(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        for entry in entries.iter().take(MAX_LIST_ENTRIES) {
            call.arg(format!("{} {}", entry.key, entry.at));
        }
        let reply = self.call(&call).await?;
        match super::load::word(&reply) {
            Some("OK") => Ok(true),
            Some("LOST") => Ok(false),
            _ => Err(Call::unexpected(&INSTALL_LIST, &reply)),
        }
    }
}

fn read(answers: &[&[u8]]) -> Option<Newest> {
    let texts: Result<Vec<&str>, _> = answers
        .iter()
        .map(|text| std::str::from_utf8(text))
        .collect();
    let texts = texts.ok()?;
    let [what, count, rev, entries @ ..] = texts.as_slice() else {
        return match texts.as_slice() {
            [] => Some(Newest::Cold(Cold::Partition)),
            [cold] => Cold::parse(cold).map(Newest::Cold),
            _ => None,
        };
    };
    let count = Count {
        count: count.parse().ok()?,
        rev: Rev(rev.parse().ok()?),
    };
    match *what {
        "all" => Some(Newest::Whole(count, sorted(entries)?)),
        "newest" => {
            let entries: Option<Vec<_>> = entries
                .iter()
                .map(|text| {
                    text.split_once(' ')
                        .and_then(|(user, rev)| entry(user, rev))
                })
                .collect();
            Some(Newest::Beginning(count, entries?))
        }
        "none" => Some(Newest::Missing(count)),
        _ => None,
    }
}

fn entry(user: &str, rev: &str) -> Option<Entry<Id>> {
    Some(Entry {
        key: Id::parse(user).ok()?,
        at: Rev(rev.parse().ok()?),
    })
}

/// The active of `user, entry, user, entry, …`, newest first.
fn sorted(edges: &[&str]) -> Option<Vec<Entry<Id>>> {
    let pairs = edges.chunks_exact(2);
    let active = pairs.filter(|pair| !pair[1].starts_with('-'));
    let entries: Option<Vec<_>> = active.map(|pair| entry(pair[0], pair[1])).collect();
    let mut entries = entries?;
    entries.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
    Some(entries)
}
