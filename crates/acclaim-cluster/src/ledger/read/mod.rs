//! Everything that is asked of the record.
//!
//! - [`states`]: edges and counts by key;
//! - [`load`]: a target, or one bucket of it, at one moment, for a cache;
//! - [`lists`]: who did it, what a user did, with totals;
//! - [`people`]: a user's numbers, mutual, common, relationships, known;
//! - [`boards`]: rankings and days;
//! - [`export`]: every active edge of a kind.
//!
//! Every read is a range or a set of points of one index; a test asks the server how it runs each.

pub mod boards;
pub mod export;
pub mod lists;
pub mod load;
pub mod people;
#[cfg(test)]
mod plans;
pub mod states;

use acclaim_core::{Id, TargetType};

use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::error::LedgerError;

/// A target under a kind, in the ledger's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRef {
    /// The relation.
    pub kind: KindNo,
    /// The target's class.
    pub target_type: TypeNo,
    /// The target's id inside its class.
    pub target: Id,
}

/// An edge, in the ledger's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeRef {
    /// What is acted on.
    pub to: TargetRef,
    /// Who acts.
    pub user: Id,
}

impl EdgeRef {
    pub(super) fn row(&self) -> super::event::EdgeRow {
        let to = &self.to;
        super::event::EdgeRow::new(
            to.kind,
            to.target_type,
            IdKey::new(&to.target),
            IdKey::new(&self.user),
        )
    }
}

impl super::Ledger {
    /// The target type of a number that stands in a row.
    pub(super) async fn type_of_row(&self, no: TypeNo) -> Result<TargetType, LedgerError> {
        let name = self.type_name(no).await?;
        name.ok_or_else(|| LedgerError::Corrupt(format!("target type number {} has no name", no.0)))
    }
}

/// For rows that are read outside of an attempt.
pub(super) fn corrupt(error: sqlx::Error) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}
