//! Reading back: is every acknowledged write there?
//!
//! Of all answers about one edge the one with the highest rev tells how it must stand now: active
//! or not, and, when active, since exactly that rev. Edges of which a request got no answer are
//! left out, since their state is anybody's guess.

use std::collections::HashMap;

use acclaim_core::Rev;
use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;

use crate::client::Endpoint;

use super::BenchArgs;
use super::answer::{Status, Statuses, Written};
use super::connection::Connection;
use super::load::Write;
use super::request::{Edge, Requests};

/// Edges read back in one request.
const READ_EDGES: usize = 500;
/// Connections that read back at once.
const READERS: usize = 16;

/// What reading back found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verified {
    /// Edges with acknowledged writes.
    pub edges: u64,
    /// Of those, not as acknowledged.
    pub wrong: u64,
    /// Edges left out, since a request about them had no answer.
    pub unknown: u64,
}

/// Reads every written edge back.
pub(super) fn run(
    endpoint: &Endpoint,
    args: &BenchArgs,
    writes: Vec<Write>,
) -> anyhow::Result<Verified> {
    let expected = expected(writes);
    let mut verified = Verified::default();
    let mut known: Vec<(Edge, Written)> = Vec::with_capacity(expected.len());
    for (edge, written) in expected {
        match written {
            Some(written) => known.push((edge, written)),
            None => verified.unknown += 1,
        }
    }
    verified.edges = known.len() as u64;
    known.sort_unstable_by_key(|(edge, _)| *edge);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let share = known.len().div_ceil(READERS).max(1);
    let readers = known
        .chunks(share)
        .map(|part| count_wrong(endpoint, args, part));
    let wrong = runtime.block_on(futures::future::try_join_all(readers))?;
    verified.wrong = wrong.iter().sum();
    Ok(verified)
}

/// How each edge must stand; `None` where that is not known.
fn expected(writes: Vec<Write>) -> HashMap<Edge, Option<Written>> {
    let mut expected: HashMap<Edge, Option<Written>> = HashMap::new();
    for Write { edge, written } in writes {
        let entry = expected.entry(edge).or_insert(written);
        match (&entry, written) {
            (Some(known), Some(written)) if written.rev > known.rev => *entry = Some(written),
            (Some(_), None) => *entry = None,
            _ => {}
        }
    }
    expected
}

async fn count_wrong(
    endpoint: &Endpoint,
    args: &BenchArgs,
    known: &[(Edge, Written)],
) -> anyhow::Result<u64> {
    let mut connection = Connection::new(endpoint);
    let mut requests = Requests::new(args, endpoint, 0);
    let mut wrong = 0;
    let of_users = known.chunk_by(|(a, _), (b, _)| a.user == b.user);
    for part in of_users.flat_map(|of_user| of_user.chunks(READ_EDGES)) {
        let targets = part.iter().map(|(edge, _)| edge.target);
        let request = requests.read_back(part[0].0.user, targets);
        let answer = connection.ask(request).await;
        let answer = answer.map_err(|lost| anyhow!("reading back: {}", lost.name()))?;
        if answer.status != 200 {
            bail!("reading back: the server answered {}", answer.status);
        }
        let statuses: Statuses =
            serde_json::from_slice(answer.body).context("reading back: another body")?;
        if statuses.items.len() != part.len() {
            bail!(
                "reading back: {} answers to {}",
                statuses.items.len(),
                part.len()
            );
        }
        let pairs = part.iter().zip(&statuses.items);
        wrong += pairs
            .filter(|((_, written), status)| !holds(*written, status))
            .count() as u64;
    }
    Ok(wrong)
}

fn holds(written: Written, status: &Status) -> bool {
    let since = status.since.as_deref().map(Rev::parse_time);
    match (written.active, since) {
        (true, Some(Ok(since))) => status.active && since.0 == written.rev,
        (false, None) => !status.active,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: Edge = Edge { user: 1, target: 2 };

    fn write(written: Option<(bool, u64)>) -> Write {
        let written = written.map(|(active, rev)| Written { active, rev });
        Write {
            edge: EDGE,
            written,
        }
    }

    #[test]
    fn the_newest_answer_counts_and_a_missing_one_leaves_out() {
        let newest = |writes: &[Option<(bool, u64)>]| {
            let writes = writes.iter().map(|written| write(*written)).collect();
            expected(writes)[&EDGE].map(|written| written.rev)
        };
        assert_eq!(
            newest(&[Some((true, 5)), Some((false, 9)), Some((true, 7))]),
            Some(9)
        );
        assert_eq!(newest(&[Some((true, 5)), None, Some((true, 7))]), None);
        assert_eq!(newest(&[None, Some((true, 7))]), None);
    }

    #[test]
    fn an_edge_holds_when_state_and_time_agree() {
        let status = |since: Option<u64>| Status {
            active: since.is_some(),
            since: since.map(|rev| Rev(rev).time().to_string()),
        };
        let written = |active, rev| Written { active, rev };
        assert!(holds(written(true, 5), &status(Some(5))));
        assert!(!holds(written(true, 5), &status(Some(6))));
        assert!(!holds(written(true, 5), &status(None)));
        assert!(holds(written(false, 5), &status(None)));
        assert!(!holds(written(false, 5), &status(Some(5))));
    }
}
