//! Into a group: its place on the bus is moved back, and its consumers read on from there.

use acclaim_core::Rev;

use super::ReplayError;
use super::group::{Group, seek_to};
use crate::worker::BusConfig;

/// Where a group was and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Messages that it had before it.
    pub before: u64,
    /// Messages that it has before it now, as far as the bus knows.
    pub now: u64,
}

/// Moves a group to the first event that was decided at a time or later; some from before may come
/// too ([`super::CLOCKS_APART_MAX`]). A dry run looks by a group of its own, which it lets go.
///
/// # Errors
/// [`ReplayError::Shared`] where the group has consumers that hold partitions of the topic.
pub async fn into_group(
    bus: &BusConfig,
    name: &str,
    from: Rev,
    is_dry: bool,
) -> Result<Moved, ReplayError> {
    let opened = acclaim_bus::open(&bus.url, &bus.limits)?;
    let of_its_own = format!("acclaim-replay-{:016x}", rand::random::<u64>());
    let joined = if is_dry { &of_its_own } else { name };
    let mut group = Group::join(opened.as_ref(), joined).await?;
    let sum = |left: Vec<(u32, u64)>| left.iter().map(|(_, events)| events).sum();
    let before = sum(group.left().await?);
    group.seek(&seek_to(from)).await?;
    let now = sum(group.left().await?);
    drop(group);
    if is_dry {
        opened.forget_group(&of_its_own).await?;
    }
    Ok(Moved { before, now })
}
