//! Finding the events for which the ledger refuses a whole transaction, by halves.

use std::ops::Range;

use super::super::poison::Search;
use crate::ledger::{Carried, LedgerError};

/// Finds the entries of a stretch for which it is refused, and makes dead letters of them, unless
/// there are more than `most`: then the ledger is at fault, not they, and nothing is marked. `give`
/// gives a part to the ledger: how it refuses, `None` where it took it. Answers whether all that was
/// refused is marked.
///
/// # Errors
/// What `give` cannot go on for.
pub(crate) async fn mark_refused<E, F>(
    carried: &mut Carried,
    most: usize,
    give: impl Fn(Carried) -> F,
) -> Result<bool, E>
where
    F: Future<Output = Result<Option<LedgerError>, E>>,
{
    let mut search = Search::of_all(carried.batch.entries.len(), most);
    while let Some(part) = search.next() {
        let Some(refusal) = give(some_of(carried, part.clone())).await? else {
            continue;
        };
        search.refuse(part, &refusal);
        if search.has_too_many() {
            tracing::error!(%refusal, "the ledger refuses so many events that they wait");
            return Ok(false);
        }
    }
    for (at, letter) in search.found(&carried.batch.entries) {
        carried.batch.entries[at] = letter;
    }
    Ok(true)
}

/// Some of the entries of a stretch.
fn some_of(carried: &Carried, part: Range<usize>) -> Carried {
    let mut some = carried.clone();
    some.batch.entries = carried.batch.entries[part.clone()].to_vec();
    some.previous = carried.previous[part].to_vec();
    some
}
