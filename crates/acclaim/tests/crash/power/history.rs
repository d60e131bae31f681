//! What each edge may be at each moment, from what was sent, answered and seen.

use std::collections::BTreeMap;

use acclaim_core::Rev;
use serde_json::Value;

use crate::client::Client;
use crate::load;

/// An edge: user and target, as texts.
pub type Edge = (String, String);
/// The edges that are there, with the time since when.
pub type Edges = BTreeMap<Edge, Rev>;

/// Something that was asked for, or found.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// It did not happen before this tick.
    pub from: u64,
    /// The tick at which it was known to be so; none if nobody was told.
    pub known: Option<u64>,
    pub active: bool,
    /// Since when, where that is known.
    pub since: Option<Rev>,
}

/// Everything that concerns each edge, in its order.
#[derive(Clone, Debug, Default)]
pub struct History {
    facts: BTreeMap<Edge, Vec<Fact>>,
    /// The ticks at which everything was looked at.
    looks: Vec<u64>,
}

impl History {
    pub fn add(&mut self, edge: Edge, fact: Fact) {
        self.facts.entry(edge).or_default().push(fact);
    }

    /// Takes over what is there: whoever saw it may rely on it.
    pub fn see(&mut self, seen: &Edges, from: u64, known: u64) {
        self.looks.push(known);
        for (edge, facts) in &mut self.facts {
            let since = seen.get(edge).copied();
            facts.push(Fact {
                from,
                known: Some(known),
                active: since.is_some(),
                since,
            });
        }
    }

    /// The ticks at which somebody was answered.
    pub fn answers(&self) -> Vec<u64> {
        let facts = self.facts.values().flatten();
        let mut ticks: Vec<u64> = facts.filter_map(|fact| fact.known).collect();
        ticks.sort_unstable();
        ticks.dedup();
        ticks
    }

    /// The ticks at which everything was looked at, each right after a start.
    pub fn looks(&self) -> &[u64] {
        &self.looks
    }

    /// Why these edges cannot be what is left after a power cut at a tick.
    pub fn faults(&self, found: &Edges, tick: u64) -> Vec<String> {
        let mut faults = Vec::new();
        for (edge, facts) in &self.facts {
            let last = facts
                .iter()
                .rposition(|f| f.known.is_some_and(|at| at <= tick));
            let sure = last.map(|last| facts[last]);
            let later = &facts[last.map_or(0, |last| last + 1)..];
            let never = Fact {
                from: 0,
                known: None,
                active: false,
                since: None,
            };
            let mut allowed = vec![sure.unwrap_or(never)];
            allowed.extend(later.iter().filter(|fact| fact.from <= tick));
            let fits = |fact: &Fact| match found.get(edge) {
                None => !fact.active,
                Some(since) => fact.active && fact.since.is_none_or(|told| told == *since),
            };
            if !allowed.iter().any(fits) {
                faults.push(format!(
                    "{edge:?} is {:?}, and must be one of {allowed:?}",
                    found.get(edge)
                ));
            }
        }
        let unknown = found.keys().filter(|edge| !self.facts.contains_key(edge));
        faults.extend(unknown.map(|edge| format!("{edge:?} was never sent")));
        faults
    }
}

/// The edges that a server has.
pub async fn edges(client: &mut Client) -> Edges {
    let exported = client.ask("/export?kind=likes").await.text;
    let lines = exported.lines();
    let edge = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = |field: &str| line[field].to_string().trim_matches('"').to_owned();
        ((name("userId"), name("targetId")), load::time(&line["at"]))
    };
    lines.map(edge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(from: u64, known: Option<u64>, active: bool) -> Fact {
        Fact {
            from,
            known,
            active,
            since: known.filter(|_| active).map(Rev),
        }
    }

    fn faults(facts: &[Fact], found: Option<u64>, tick: u64) -> usize {
        let edge = ("1".to_owned(), "2".to_owned());
        let mut history = History::default();
        facts
            .iter()
            .for_each(|fact| history.add(edge.clone(), *fact));
        let found = found.map(|since| (edge, Rev(since))).into_iter().collect();
        history.faults(&found, tick).len()
    }

    #[test]
    fn what_was_answered_must_be_there() {
        let set = [fact(3, Some(5), true)];
        assert_eq!(faults(&set, None, 5), 1);
        assert_eq!(faults(&set, Some(5), 5), 0);
        assert_eq!(faults(&set, Some(4), 5), 1, "since another time");
    }

    #[test]
    fn what_was_sent_may_be_there_and_what_was_not_may_not() {
        let set = [fact(3, Some(5), true)];
        for found in [None, Some(5)] {
            assert_eq!(faults(&set, found, 4), 0);
        }
        assert_eq!(faults(&set, None, 2), 0);
        assert_eq!(faults(&set, Some(5), 2), 1);
    }

    #[test]
    fn what_nobody_was_told_stays_open_until_it_is_seen() {
        let mut facts = vec![fact(1, Some(2), false), fact(3, None, true)];
        for found in [None, Some(9)] {
            assert_eq!(faults(&facts, found, 8), 0);
        }
        facts.push(fact(10, Some(11), true));
        assert_eq!(faults(&facts, Some(11), 12), 0);
        assert_eq!(faults(&facts, None, 12), 1);
    }

    #[test]
    fn what_was_never_sent_is_a_fault() {
        let found = Edges::from([(("1".to_owned(), "2".to_owned()), Rev(1))]);
        assert_eq!(History::default().faults(&found, 9).len(), 1);
    }
}
