//! Likes as other systems keep them: a plain table, or Redis sets. Read only.
//!
//! Nothing here knows Acclaim's own Redis or ledger, nor which kinds there are: an edge comes out in
//! the other system's words, and whoever moves it judges them.

pub mod sets;
pub mod table;

use acclaim_core::Rev;

/// An edge in the words of another system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForeignEdge {
    /// Who.
    pub user: String,
    /// The class of what is acted on.
    pub target_type: String,
    /// Its id inside its class.
    pub target: String,
}

/// An edge and since when, where the other system says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The edge.
    pub edge: ForeignEdge,
    /// Since when.
    pub at: Option<Rev>,
}

/// Why another system could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The database.
    #[error("the table cannot be read: {0}")]
    Sql(#[from] sqlx::Error),
    /// Redis.
    #[error("the sets cannot be read: {0}")]
    Redis(#[from] crate::redis::error::RedisError),
    /// It is not as the options say.
    #[error("{0}")]
    Unfit(String),
}
