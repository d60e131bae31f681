//! Lists filtered by another edge: mutual, common, known.
//!
//! Each walks a user's list, newest first, and looks up one edge an entry. A page looks at a bounded
//! number of edges, so it may come back with fewer entries than asked for, and where to go on.

use acclaim_core::limits::{MAX_FILTERED_EDGES, MAX_KNOWN_FOLLOWED};
use acclaim_core::page::{Entry, Page, Position, Start};
use acclaim_core::port::Known;
use acclaim_core::{Id, KindId, ReadError, Target, TargetKey, TargetType, UserKey};

use super::super::key::EdgeRef;
use super::Reading;

impl Reading {
    /// Who does it back.
    pub fn mutual(
        &self,
        user: &UserKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError> {
        let Some(user_type) = self.dictionary.user_type() else {
            return Ok(Page {
                entries: Vec::new(),
                next: None,
            });
        };
        let start = match start {
            Start::Offset(skip) => Start::Offset(skip),
            Start::After(Position { rev, key }) => Start::After(Position {
                rev,
                key: Target::user(key),
            }),
        };
        let kind = self.dictionary.kind(user.kind);
        let does_back = |target: &Target| {
            let oneself = target.id == user.user;
            Ok(!oneself && self.view.does(kind, &target.id, user_type, &user.user)?)
        };
        let page = self.filtered(user, Some(&TargetType::USER), start, size, does_back)?;
        let ids = page.entries.into_iter().map(|e| Entry {
            key: e.key.id,
            at: e.at,
        });
        Ok(Page {
            entries: ids.collect(),
            next: page.next.map(|next| Position {
                rev: next.rev,
                key: next.key.id,
            }),
        })
    }

    /// What both did it to.
    pub fn common(
        &self,
        user: &UserKey,
        other: &Id,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        let kind = self.dictionary.kind(user.kind);
        let both = |target: &Target| {
            let Some(target_type) = self.dictionary.type_number(&target.target_type) else {
                return Ok(false);
            };
            self.view.does(kind, other, target_type, &target.id)
        };
        self.filtered(user, None, start, size, both)
    }

    /// The entries of a user's list that `keep` answers `true` for.
    fn filtered(
        &self,
        user: &UserKey,
        of: Option<&TargetType>,
        start: Start<Target>,
        size: usize,
        keep: impl Fn(&Target) -> Result<bool, ReadError>,
    ) -> Result<Page<Target>, ReadError> {
        let (mut skip, start) = match start {
            Start::Offset(skip) => (skip, Start::top()),
            after => (0, after),
        };
        let looked_at = self.targets_page(user, of, start, MAX_FILTERED_EDGES)?;
        let mut entries: Vec<Entry<Target>> = Vec::new();
        for entry in looked_at.entries {
            if !keep(&entry.key)? {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if entries.len() == size {
                let next = entries.last().map(Entry::position);
                return Ok(Page { entries, next });
            }
            entries.push(entry);
        }
        Ok(Page {
            entries,
            next: looked_at.next,
        })
    }

    /// Who among those a user follows did it.
    pub fn known(
        &self,
        user: &Id,
        via: KindId,
        target: &TargetKey,
        size: usize,
    ) -> Result<Known, ReadError> {
        let follows = UserKey {
            kind: via,
            user: user.clone(),
        };
        let followed = self.targets_page(
            &follows,
            Some(&TargetType::USER),
            Start::top(),
            MAX_KNOWN_FOLLOWED,
        )?;
        let mut did: Vec<Entry<Id>> = Vec::new();
        if let Some(target) = self.dictionary.target(target) {
            for entry in followed.entries {
                let state = self.edge_to(&entry.key.id, &target)?;
                if state.active {
                    did.push(Entry {
                        key: entry.key.id,
                        at: state.rev,
                    });
                }
            }
        }
        let count = did.len() as u64;
        did.sort_unstable_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
        did.truncate(size);
        Ok(Known {
            count,
            entries: did,
            partial: followed.next.is_some(),
        })
    }

    /// Up to `max_edges` active edges of a kind after `after`, by user, type number and target.
    pub fn export(
        &self,
        kind: KindId,
        after: Option<&EdgeRef>,
        max_edges: usize,
    ) -> Result<Vec<(EdgeRef, acclaim_core::Rev)>, ReadError> {
        use super::super::key::tag;
        use super::super::record::decode_edge;
        let number = self.dictionary.kind(kind);
        let prefix = vec![tag::EDGE, number];
        let place = after.map_or_else(|| prefix.clone(), EdgeRef::key);
        let mut newer = std::collections::BTreeMap::new();
        for delta in self.view.sealed.iter().chain([&self.view.active]) {
            for shard in delta.target_shards() {
                let of_kind = shard.edges().filter(|(edge, _)| edge.kind == number);
                newer.extend(of_kind.map(|(edge, cell)| (edge.key(), (edge, cell.state))));
            }
        }
        let mut rest = newer.range(place.clone()..).peekable();
        if after.is_some() {
            rest.next_if(|(key, _)| **key == place);
        }
        let mut edges = Vec::new();
        let mut put = |edge: &EdgeRef, state: acclaim_core::EdgeState| {
            if state.active {
                edges.push((edge.clone(), state.rev));
            }
            edges.len() < max_edges
        };
        for record in self.view.base.prefix_after(&prefix, &place) {
            let (key, value) = record?;
            while let Some((_, (edge, state))) = rest.next_if(|(next, _)| next[..] < key[..]) {
                if !put(edge, *state) {
                    return Ok(edges);
                }
            }
            let (edge, mut state) = (EdgeRef::from_key(&key)?, decode_edge(&value)?);
            if let Some((_, (_, newer))) = rest.next_if(|(next, _)| next[..] == key[..]) {
                state = *newer;
            }
            if !put(&edge, state) {
                return Ok(edges);
            }
        }
        for (_, (edge, state)) in rest {
            if !put(edge, *state) {
                break;
            }
        }
        Ok(edges)
    }
}
