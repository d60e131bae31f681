//! Writing through the port.

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::edge::{Op, Transition};
use crate::error::WriteError;

/// How safe a write is when it is answered, the weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ack {
    /// What the engine is configured to give.
    #[default]
    Default,
    /// The deciding server has it.
    Redis,
    /// A replica of the deciding server has it.
    Replica,
    /// It is durably published.
    Bus,
    /// The ledger's transaction committed.
    Ledger,
}

/// 128 bits of SHA-256.
pub type Fingerprint = [u8; 16];

/// Makes a repeated request give the first one's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Of the caller and their key.
    pub key: Fingerprint,
    /// Of the request: method, path, query and body.
    pub request: Fingerprint,
}

impl Ack {
    /// Those that have a name.
    pub const NAMED: [Self; 4] = [Self::Redis, Self::Replica, Self::Bus, Self::Ledger];

    /// Its name in the API and the configuration; empty for [`Ack::Default`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Redis => "redis",
            Self::Replica => "replica",
            Self::Bus => "bus",
            Self::Ledger => "ledger",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|ack| ack.name() == name)
    }
}

impl Idempotency {
    /// Fingerprints a key within its caller's scope, and the parts of the request.
    #[must_use]
    pub fn new(scope: &str, key: &str, request: &[&[u8]]) -> Self {
        let key = fingerprint(&[scope.as_bytes(), key.as_bytes()]);
        Self {
            key,
            request: fingerprint(request),
        }
    }
}

fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let full = hash.finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&full[..16]);
    short
}

/// Ops decided together, in order, all durable before any is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What to do. Each op decides by itself; none undoes another.
    pub ops: Vec<Op>,
    /// How strong the acknowledgement must be.
    pub ack: Ack,
    /// Set when the caller wants repeats answered alike.
    pub idempotency: Option<Idempotency>,
}

impl Write {
    /// Ops with the engine's own acknowledgement and no idempotency key.
    #[must_use]
    pub fn plain(ops: Vec<Op>) -> Self {
        Self {
            ops,
            ack: Ack::Default,
            idempotency: None,
        }
    }
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// One answer an op, in order.
    pub transitions: Vec<Transition>,
    /// Whether this is the stored answer of an earlier request.
    pub replayed: bool,
}

/// The writing half of an engine.
#[async_trait]
pub trait Writes: Send + Sync + 'static {
    /// Decides ops and makes them durable.
    ///
    /// # Errors
    /// [`WriteError`]. After any of them but [`WriteError::Unknown`] nothing was decided, so the
    /// same write may be sent again.
    async fn apply(&self, write: Write) -> Result<Applied, WriteError>;
}
