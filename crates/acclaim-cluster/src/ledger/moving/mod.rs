//! Moving a ledger: all its rows to another one while the nodes go on, then the change-over.
//!
//! Redis stays as it is. Its journals hold what the old ledger does not have, its keys hold numbers
//! of kinds and types, and both ledgers have the same partitions applied up to the same places; so
//! a node that starts on the new ledger goes on where the others were on the old one.
//!
//! 1. [`Ledger::copy_to`] reads both ledgers in the order of their keys and writes what differs
//!    ([`tables`]). It can be done again, and costs the less the less has changed. The new ledger
//!    is marked: nothing opens it before the end.
//! 2. [`Ledger::pause`] takes all partitions and the duty of notifications, so that no worker applies
//!    anything and nobody folds, and closes the dictionary. The nodes go on: what they decide waits in the journals. It ends by itself.
//! 3. Another copy, then a comparison that must find nothing.
//! 4. [`Ledger::close_moved`] closes the old ledger for ever, if the pause has not ended meanwhile;
//!    [`Ledger::open_moved`] opens the new one. Whoever dies between the two does 3 and 4 again:
//!    the closed ledger does not change.
//!
//! Whoever writes edges, targets, users or days holds the lock of a partition, and either its fence
//! (which 2 has raised) or asks whether the ledger is moved. So between 2 and the end nothing of
//! these changes. Journals of administration (audit, checks, jobs) may: what nodes write there
//! after the last copy stays behind.

mod gate;
mod merge;
mod rows;
mod tables;

pub use gate::Pause;
pub use merge::{Difference, TableReport};

/// Whom the partitions of a moved ledger belong to.
pub(super) const OWNER: &str = "acclaim migrate";
/// On a row of `partitions` or `duties`: whether the ledger is being moved, or was.
pub(super) const IS_MOVED: &str = "(owner = 'acclaim migrate' AND lease_until > \
                                   CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED))";
/// On the dictionary's row of `meta`: whether no name gets a number any more. The row is empty, or
/// holds until when, so that a change-over that died closes nothing for ever.
pub(super) const DICTIONARY_IS_CLOSED: &str = "(value <> '' AND CAST(CAST(value AS CHAR) AS UNSIGNED) > \
     CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED))";
/// The row of `meta` that is there while a ledger may not be opened.
pub(super) const MARK: &str = "moving";
/// Its value where the store has gone.
pub(super) const MOVED_AWAY: &str = "moved";
/// Its value where the store is still coming.
pub(super) const INCOMPLETE: &str = "incomplete";
