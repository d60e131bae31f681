//! What a batch is folded over: read before it, and expected unchanged when it is committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ALL;
use crate::edge::EdgeKey;
use crate::error::ReadError;
use crate::notify::endpoint::{Endpoint, Standing};
use crate::notify::erase::Mark;
use crate::notify::fold::{Fold, born_owner};
use crate::notify::group::Group;
use crate::notify::keys::{self, GroupKey, tag};
use crate::notify::ownership::Ownership;
use crate::notify::port::{Key, Notes};
use crate::notify::record::{decode, decode_found};
use crate::port::{Engine, Event, Place};
use crate::target::Target;

/// What a batch depends on.
pub(super) struct Ground {
    /// The epoch, as it is written down.
    pub epoch: Option<Vec<u8>>,
    /// The endpoints that are not disabled.
    pub endpoints: Vec<Endpoint>,
    /// What was erased.
    pub erasures: Vec<Mark>,
    /// The keys of erasures that are passed with the batch.
    pub passed: Vec<Key>,
    /// Whose the targets are that are no users.
    pub owners: HashMap<Target, Ownership>,
}

/// Reads what the batch depends on.
pub(super) async fn ground(
    notes: &dyn Notes,
    events: &[Event],
    to: Place,
) -> Result<Ground, ReadError> {
    // The epoch first: whatever changes after it is found out by the commit.
    let epoch = notes.get(vec![keys::epoch()]).await?.pop().flatten();
    let marks = notes.scan(keys::all(tag::ERASED), None, ALL).await?;
    let marks: Vec<(Key, Mark)> = marks
        .into_iter()
        .filter_map(|(key, _)| Mark::of_key(&key).map(|mark| (key, mark)))
        .collect();
    let passed = marks.iter().filter(|(_, mark)| mark.place <= to);
    let passed = passed.map(|(key, _)| key.clone()).collect();
    let targets: BTreeSet<&Target> = events
        .iter()
        .map(|event| &event.edge.target)
        .filter(|target| born_owner(target).is_none())
        .collect();
    let mut owners = HashMap::new();
    // Where nothing was ever owned, no target is looked up.
    let owned = notes.scan(keys::all(tag::OWNERSHIP), None, 1).await?;
    if !owned.is_empty() {
        let asked = targets.iter().map(|target| keys::ownership(target));
        let records = notes.get(asked.collect()).await?;
        for (target, record) in targets.into_iter().zip(&records) {
            if let Some(ownership) = decode_found(record.as_ref())? {
                owners.insert(target.clone(), ownership);
            }
        }
    }
    Ok(Ground {
        epoch,
        endpoints: active_endpoints(notes).await?,
        erasures: marks.into_iter().map(|(_, mark)| mark).collect(),
        passed,
        owners,
    })
}

/// The endpoints that are not disabled.
async fn active_endpoints(notes: &dyn Notes) -> Result<Vec<Endpoint>, ReadError> {
    let records = notes.scan(keys::all(tag::ENDPOINT), None, ALL).await?;
    let mut endpoints = Vec::new();
    for (_, value) in &records {
        endpoints.push(decode::<Endpoint>(value)?);
    }
    if endpoints.is_empty() {
        return Ok(endpoints);
    }
    let names = endpoints
        .iter()
        .map(|endpoint| keys::of(tag::STANDING, &endpoint.name));
    let standings = notes.get(names.collect()).await?;
    let mut active = Vec::new();
    for (endpoint, standing) in endpoints.into_iter().zip(&standings) {
        let standing: Standing = decode_found(standing.as_ref())?.unwrap_or_default();
        if !standing.disabled {
            active.push(endpoint);
        }
    }
    Ok(active)
}

/// Reads the groups and inboxes that the events are about into the fold.
pub(super) async fn hold(
    notes: &dyn Notes,
    engine: &dyn Engine,
    fold: &mut Fold<'_>,
    events: &[Event],
) -> Result<(), ReadError> {
    let mut wanted: BTreeMap<GroupKey, &Event> = BTreeMap::new();
    for event in events {
        if let Some(key) = fold.group_key(event) {
            wanted.entry(key).or_insert(event);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let groups = notes.get(wanted.keys().map(keys::group).collect()).await?;
    let (mut new, mut asked) = (Vec::new(), Vec::new());
    let mut owners = BTreeSet::new();
    for ((key, event), found) in wanted.into_iter().zip(&groups) {
        owners.insert(key.owner.clone());
        match decode_found::<Group>(found.as_ref())? {
            Some(group) => fold.hold(key, Some(group), false),
            None => {
                asked.push(EdgeKey {
                    kind: event.edge.kind,
                    user: key.owner.clone(),
                    target: key.target.clone(),
                });
                new.push(key);
            }
        }
    }
    if !asked.is_empty() {
        // As it is now: what the owner does after it is folded like everything else.
        let own = engine.statuses(asked).await?;
        for (key, status) in new.into_iter().zip(own) {
            fold.hold(key, None, status.edge.active);
        }
    }
    let owners: Vec<_> = owners.into_iter().collect();
    let inboxes = owners.iter().map(|owner| keys::of(tag::INBOX, owner));
    let inboxes = notes.get(inboxes.collect()).await?;
    for (owner, found) in owners.into_iter().zip(&inboxes) {
        fold.hold_inbox(owner, decode_found(found.as_ref())?.unwrap_or_default());
    }
    Ok(())
}
