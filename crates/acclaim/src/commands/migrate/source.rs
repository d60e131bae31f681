//! What a store that moves in must answer, and its words for edges.

use std::collections::HashMap;

use acclaim_cluster::foreign::{ForeignEdge, Found};
use acclaim_core::{EdgeKey, EdgeState, Id, KindId, Kinds, Rev, Target, TargetType};
use anyhow::Context as _;
use serde_json::Value;

/// A page of edges.
#[derive(Debug, Default)]
pub struct Page {
    /// Edges that are there, and since when.
    pub edges: Vec<(EdgeKey, Option<Rev>)>,
    /// What is there and is no edge here, in words.
    pub rejected: Vec<String>,
    /// Where to go on. `None` at the end.
    pub next: Option<Value>,
}

/// How an edge stands in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is there.
    pub active: bool,
    /// Since when it is so, where that is known.
    pub at: Option<Rev>,
}

/// A store that moves in.
pub trait Source {
    /// Whether it knows when an edge was taken back. Then what is newer in the cluster is right,
    /// else the source is.
    const KNOWS_REMOVALS: bool;

    /// The next page, from the first to the last.
    async fn page(&mut self) -> anyhow::Result<Page>;

    /// Begins anew.
    fn rewind(&mut self);

    /// How each of these edges stands there, in order.
    async fn standings(&mut self, edges: &[EdgeKey]) -> anyhow::Result<Vec<Standing>>;
}

impl Standing {
    /// Whether the cluster should be otherwise.
    pub fn differs<S: Source>(&self, state: EdgeState) -> bool {
        if self.active == state.active {
            return false;
        }
        !(S::KNOWS_REMOVALS && self.at.is_some_and(|at| state.rev >= at))
    }
}

/// Between the words of another system and edges of one kind.
#[derive(Clone, Debug)]
pub struct Words {
    kinds: Kinds,
    kind: KindId,
    /// The type of all targets, where they name none.
    given: Option<TargetType>,
    there: HashMap<String, TargetType>,
    here: HashMap<TargetType, String>,
}

impl Words {
    /// With types as they are called there and here: `post=POST`.
    ///
    /// # Errors
    /// When one is not of that form.
    pub fn new(
        kinds: Kinds,
        kind: KindId,
        given: Option<TargetType>,
        map: &[String],
    ) -> anyhow::Result<Self> {
        let mut words = Self {
            kinds,
            kind,
            given,
            there: HashMap::new(),
            here: HashMap::new(),
        };
        for pair in map {
            let what = || format!("--map-type {pair:?}");
            let (there, here) = pair.split_once('=').with_context(what)?;
            let here = TargetType::parse(here).with_context(what)?;
            words.there.insert(there.to_owned(), here.clone());
            words.here.insert(here, there.to_owned());
        }
        Ok(words)
    }

    /// The kind.
    pub fn kind(&self) -> KindId {
        self.kind
    }

    /// The name of the kind.
    pub fn kind_name(&self) -> &str {
        &self.kinds.get(self.kind).name
    }

    /// Whether the source names no types.
    pub fn type_is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Sorts what was found into edges and what cannot be one.
    pub fn sort(&self, found: Vec<Found>, now: Rev, page: &mut Page) {
        for one in found {
            match self.edge(&one.edge, one.at, now) {
                Ok(edge) => page.edges.push((edge, one.at)),
                Err(why) => {
                    let ForeignEdge {
                        user,
                        target_type,
                        target,
                    } = &one.edge;
                    let named = format!("user {user:?}, target {target_type}:{target}");
                    page.rejected.push(format!("{named}: {why}"));
                }
            }
        }
    }

    fn edge(&self, words: &ForeignEdge, at: Option<Rev>, now: Rev) -> Result<EdgeKey, String> {
        let user = Id::parse(&words.user).map_err(|error| format!("the user's id {error}"))?;
        let id = Id::parse(&words.target).map_err(|error| format!("the target's id {error}"))?;
        let target_type = match (&self.given, self.there.get(&words.target_type)) {
            (Some(given), _) => given.clone(),
            (None, Some(mapped)) => mapped.clone(),
            (None, None) => TargetType::parse(&words.target_type)
                .map_err(|error| format!("the type {error}; see --map-type"))?,
        };
        let edge = EdgeKey {
            kind: self.kind,
            user,
            target: Target { target_type, id },
        };
        self.kinds.check(&edge).map_err(|error| error.to_string())?;
        match at {
            Some(at) if at > now => Err(format!(
                "its time {} is in the future; see --time-zone and --at-unit",
                Rev(at.0.min(Rev::MAX.0)).time()
            )),
            _ => Ok(edge),
        }
    }

    /// An edge in the words of the source, if it can have such a one.
    pub fn foreign(&self, edge: &EdgeKey) -> Option<ForeignEdge> {
        let target_type = &edge.target.target_type;
        let target_type = match (&self.given, self.here.get(target_type)) {
            (Some(given), _) if given == target_type => String::new(),
            (Some(_), _) => return None,
            (None, Some(there)) => there.clone(),
            (None, None) => target_type.as_str().to_owned(),
        };
        Some(ForeignEdge {
            user: edge.user.to_string(),
            target_type,
            target: edge.target.id.to_string(),
        })
    }

    /// An edge, for people.
    pub fn line(&self, edge: &EdgeKey) -> String {
        format!(
            "{} user {} target {}:{}",
            self.kind_name(),
            edge.user,
            edge.target.target_type,
            edge.target.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(map: &[&str]) -> Words {
        let map: Vec<String> = map.iter().map(|pair| (*pair).to_owned()).collect();
        Words::new(Kinds::default(), KindId(0), None, &map).unwrap()
    }

    fn found(user: &str, target_type: &str, at: u64) -> Found {
        let edge = ForeignEdge {
            user: user.to_owned(),
            target_type: target_type.to_owned(),
            target: "7".to_owned(),
        };
        let at = Some(Rev(at));
        Found { edge, at }
    }

    #[test]
    fn words_go_there_and_back() {
        let words = words(&["1=POST"]);
        let mut page = Page::default();
        let rows = vec![found("5", "1", 10), found("u-1", "COMMENT", 10)];
        words.sort(rows.clone(), Rev(10), &mut page);
        assert!(page.rejected.is_empty(), "{:?}", page.rejected);
        for ((edge, _), row) in page.edges.iter().zip(rows) {
            assert_eq!(words.foreign(edge), Some(row.edge));
        }
    }

    #[test]
    fn what_is_no_edge_is_said_why() {
        let words = words(&[]);
        for (row, why) in [
            (found("", "POST", 10), "user"),
            (found("5", "post", 10), "--map-type"),
            (found("5", "POST", 11), "--time-zone"),
        ] {
            let mut page = Page::default();
            words.sort(vec![row], Rev(10), &mut page);
            assert!(page.rejected[0].contains(why), "{:?}", page.rejected);
        }
        assert!(Words::new(Kinds::default(), KindId(0), None, &["post".to_owned()]).is_err());
    }
}
