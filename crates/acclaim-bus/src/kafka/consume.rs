//! Joining a group: the member of `member.rs`, on a thread of its own.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::member::Member;
use super::publish::KafkaDeadLetters;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::orders::{GroupConsumer, MAX_WAITING_CALLS, Order};
use crate::url::BusUrl;

/// A member of a group, as its owner sees it.
pub type KafkaConsumer = GroupConsumer<SyncSender<Order>, KafkaDeadLetters>;

/// Joins the group. The bus partitions come later, while events are received.
pub fn join(url: &BusUrl, limits: &Limits, group: &str) -> Result<KafkaConsumer, OpenError> {
    let at = TopicAt::events(url);
    let member = Member::join(url, limits, group, at.clone())?;
    let (orders, queue) = sync_channel(MAX_WAITING_CALLS);
    let thread = std::thread::Builder::new().name("acclaim-kafka".to_owned());
    // It ends when the sender of orders goes, and leaves the group then.
    let spawned = thread.spawn(move || member.run(&queue));
    spawned.map_err(|error| OpenError::Other {
        at: at.clone(),
        why: format!("no thread for a consumer: {error}"),
    })?;
    let dead_letters = KafkaDeadLetters::new(url, limits);
    Ok(GroupConsumer::new(orders, dead_letters, limits.clone(), at))
}
