//! Loading what is cold: a partition, a target's record, one bucket of a large target.
//!
//! First a token is taken, which is given only while the key is missing. Then the ledger is read.
//! Then what was read is installed, if the token is still ours. In between nothing can be decided
//! on the missing key, and it could only go missing because the ledger has all of it: so what was
//! read is still true. `tests/race` searches for a way around this.

use std::ops::RangeInclusive;
use std::time::Duration;

use acclaim_core::{EdgeState, Id, Rev};
use futures::future::BoxFuture;
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::layout::{Bucket, Layout, MAX_INLINE_ENTRIES};
use super::script::{CLAIM, Call, INSTALL};
use crate::failpoint;

/// How long a load may take before another may begin, in milliseconds.
pub const LOAD_TOKEN_MILLIS: u64 = 5_000;

/// What is not in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cold {
    /// The partition itself: Redis was emptied, or never had it.
    Partition,
    /// A target's record.
    Record(TargetName),
    /// One bucket of a large target.
    Bucket {
        /// The target.
        target: TargetName,
        /// The layout that the bucket belongs to.
        generation: String,
        /// Which one.
        bucket: Bucket,
    },
}

impl Cold {
    /// Reads `T<target>` or `B<target> <generation> <bucket>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('T') {
            return TargetName::parse(name).map(Self::Record);
        }
        let mut fields = text.strip_prefix('B')?.split(' ');
        Some(Self::Bucket {
            target: TargetName::parse(fields.next()?)?,
            generation: fields.next()?.to_owned(),
            bucket: Bucket::parse(fields.next()?)?,
        })
    }
}

/// What the ledger knows of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRow {
    /// Active edges.
    pub count: u64,
    /// The place of the target's last transition; zero where there was none.
    pub seq: Rev,
    /// Edges, active and not.
    pub edges: u64,
}

/// Edges of a target.
pub type EdgeRows = Vec<(Id, EdgeState)>;

/// Why the ledger could not be read. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger could not be read: {0}")]
pub struct SourceError(pub String);

/// Where loads read from: the ledger's primary, each call in one consistent snapshot.
pub trait Source: Send + Sync {
    /// The place up to which everything of the partition is in the ledger.
    fn applied(&self, partition: u16) -> BoxFuture<'_, Result<Rev, SourceError>>;

    /// A target, with its edges where there are at most `max_edges` of them.
    fn target(
        &self,
        target: &TargetName,
        max_edges: u64,
    ) -> BoxFuture<'_, Result<(TargetRow, EdgeRows), SourceError>>;

    /// The edges of a target whose users' hashes lie in a range.
    fn bucket(
        &self,
        target: &TargetName,
        hashes: RangeInclusive<u32>,
    ) -> BoxFuture<'_, Result<EdgeRows, SourceError>>;
}

/// What a load came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is in Redis now, or was already.
    Here,
    /// Another is loading it, or overtook this load: try again in a moment.
    Busy,
    /// What it lies in is cold itself, or laid out anew: ask again what is cold.
    Elsewhere,
}

/// Why a load failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The ledger.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A token taken: the right to install one thing.
#[derive(Debug)]
pub struct Claim {
    partition: Partition,
    cold: Cold,
    token: String,
}

impl Claim {
    /// What it is for.
    #[must_use]
    pub fn cold(&self) -> &Cold {
        &self.cold
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn new(partition: Partition, cold: Cold, token: String) -> Self {
        Self {
            partition,
            cold,
            token,
        }
    }
}

/// A name that no other token has.
pub(super) fn new_token() -> String {
    format!("{:x}", rand::random::<u64>())
}

impl Redis {
    /// Loads what is cold and keeps it for `keep` (a loaded key is in the ledger, so it may go).
    ///
    /// # Errors
    /// [`LoadError`]; the token is left to expire.
    pub async fn load(
        &self,
        source: &dyn Source,
        partition: Partition,
        cold: Cold,
        keep: Duration,
    ) -> Result<Loaded, LoadError> {
        match self.claim(partition, cold).await? {
            Ok(claim) => {
                failpoint::hit(failpoint::LOAD_CLAIMED);
                self.fill(source, claim, keep).await
            }
            Err(loaded) => Ok(loaded),
        }
    }

    /// Takes the token for what is cold, or says why not.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn claim(
        &self,
        partition: Partition,
        cold: Cold,
    ) -> Result<Result<Claim, Loaded>, RedisError> {
        let token = new_token();
        let reply = self.call(&claim_call(partition, &cold, &token)).await?;
        read_claim(partition, cold, token, &reply)
    }

    /// Takes many tokens, those of one server in one pipeline. The answers are in the order of what
    /// is cold, each by itself.
    pub async fn claim_many(
        &self,
        cold: Vec<(Partition, Cold)>,
    ) -> Vec<Result<Result<Claim, Loaded>, RedisError>> {
        let tokens: Vec<String> = cold.iter().map(|_| new_token()).collect();
        let calls = cold.iter().zip(&tokens);
        let calls: Vec<Call> = calls
            .map(|((partition, cold), token)| claim_call(*partition, cold, token))
            .collect();
        let replies = self.call_many(&calls).await;
        let claims = cold.into_iter().zip(tokens).zip(replies);
        claims
            .map(|(((partition, cold), token), reply)| read_claim(partition, cold, token, &reply?))
            .collect()
    }

    /// Installs records that were read from the ledger under their claims, those of one server in
    /// one pipeline. A claim of something else is left to expire.
    pub async fn fill_records(
        &self,
        records: Vec<(Claim, TargetRow, EdgeRows)>,
        keep: Duration,
    ) -> Vec<Result<Loaded, RedisError>> {
        let calls = records.iter().map(|(claim, row, edges)| {
            let mut call = INSTALL.on(claim.partition);
            call.arg(claim.cold.letter()).arg(&claim.token);
            if let Cold::Record(target) = &claim.cold {
                add_record(&mut call, keep, target, row, edges);
            }
            call
        });
        let calls: Vec<Call> = calls.collect();
        let replies = self.call_many(&calls).await;
        replies
            .into_iter()
            .map(|reply| read_installed(&reply?))
            .collect()
    }

    /// Reads the ledger and installs what it says.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn fill(
        &self,
        source: &dyn Source,
        claim: Claim,
        keep: Duration,
    ) -> Result<Loaded, LoadError> {
        let mut call = INSTALL.on(claim.partition);
        call.arg(claim.cold.letter()).arg(&claim.token);
        match &claim.cold {
            Cold::Partition => {
                let applied = source.applied(claim.partition.number).await?;
                return Ok(self.fill_partition(claim, applied).await?);
            }
            Cold::Record(target) => {
                let (row, edges) = source.target(target, MAX_INLINE_ENTRIES).await?;
                add_record(&mut call, keep, target, &row, &edges);
            }
            Cold::Bucket {
                target,
                generation,
                bucket,
            } => {
                let edges = source.bucket(target, bucket.hashes()).await?;
                call.arg(millis(keep)).arg(target.to_string());
                call.arg(generation).arg(bucket.to_string());
                // All of it is in the ledger, so any place that is will do.
                call.arg(0);
                add_entries(&mut call, &edges);
            }
        }
        Ok(self.install(&call).await?)
    }

    /// Opens a partition whose journal begins after `applied`, which was read under this claim and
    /// behind which no batch of an earlier journal can come any more.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn fill_partition(&self, claim: Claim, applied: Rev) -> Result<Loaded, RedisError> {
        let mut call = INSTALL.on(claim.partition);
        call.arg(claim.cold.letter())
            .arg(&claim.token)
            .arg(applied.0);
        self.install(&call).await
    }

    async fn install(&self, call: &Call) -> Result<Loaded, RedisError> {
        read_installed(&self.call(call).await?)
    }
}

fn claim_call(partition: Partition, cold: &Cold, token: &str) -> Call {
    let mut call = CLAIM.on(partition);
    call.arg(cold.letter()).arg(token).arg(LOAD_TOKEN_MILLIS);
    match cold {
        Cold::Partition => {}
        Cold::Record(target) => {
            call.arg(target.to_string());
        }
        Cold::Bucket {
            target,
            generation,
            bucket,
        } => {
            call.arg(target.to_string());
            call.arg(generation).arg(bucket.to_string());
        }
    }
    call
}

fn read_claim(
    partition: Partition,
    cold: Cold,
    token: String,
    reply: &Value,
) -> Result<Result<Claim, Loaded>, RedisError> {
    match word(reply) {
        Some("OK") => Ok(Ok(Claim::new(partition, cold, token))),
        Some("HERE") => Ok(Err(Loaded::Here)),
        Some("HELD") => Ok(Err(Loaded::Busy)),
        Some("COLD" | "GONE") => Ok(Err(Loaded::Elsewhere)),
        _ => Err(Call::unexpected(&CLAIM, reply)),
    }
}

fn read_installed(reply: &Value) -> Result<Loaded, RedisError> {
    match word(reply) {
        Some("OK") => Ok(Loaded::Here),
        Some("LOST") => Ok(Loaded::Busy),
        _ => Err(Call::unexpected(&INSTALL, reply)),
    }
}

fn millis(keep: Duration) -> u64 {
    u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)
}

fn add_record(
    call: &mut Call,
    keep: Duration,
    target: &TargetName,
    row: &TargetRow,
    edges: &EdgeRows,
) {
    call.arg(millis(keep)).arg(target.to_string());
    call.arg(row.count).arg(row.seq.0).arg(row.edges);
    if row.edges <= MAX_INLINE_ENTRIES {
        call.arg("0");
        add_entries(call, edges);
    } else {
        let Layout { level, split } = Layout::of(row.edges);
        call.arg(format!("{level}.{split}"));
    }
}

impl Cold {
    fn letter(&self) -> &'static str {
        match self {
            Self::Partition => "p",
            Self::Record(_) => "t",
            Self::Bucket { .. } => "b",
        }
    }
}

fn add_entries(call: &mut Call, edges: &EdgeRows) {
    for (user, edge) in edges {
        call.arg(user.to_string());
        let rev = edge.rev.0;
        if edge.active {
            call.arg(rev);
        } else {
            call.arg(format!("-{rev}"));
        }
    }
}

pub(super) fn word(reply: &Value) -> Option<&str> {
    match reply {
        Value::Okay => Some("OK"),
        Value::SimpleString(word) => Some(word),
        Value::BulkString(word) => std::str::from_utf8(word).ok(),
        _ => None,
    }
}
