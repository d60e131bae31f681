//! A partition of the topic as a member sees it: its consumer there, and what came of it.

use std::collections::{BTreeMap, VecDeque};

use pulsar::message::proto::MessageIdData;

use super::link::Link;
use super::place::Entry;
use super::window::Window;
use crate::port::Received;

/// A partition of the topic, and our consumer there.
#[derive(Default)]
pub struct Seat {
    /// Which consumer of ours it is; what came for an earlier one is thrown away.
    pub term: u64,
    pub link: Option<Link>,
    pub missed: u32,
    /// What came and is not held yet.
    pub queue: VecDeque<Received>,
    /// The last that is held, also where it was acknowledged since.
    pub last_held: Option<u64>,
    pub window: Window,
    /// The sizes of the batches that came and are not acknowledged.
    pub sizes: BTreeMap<Entry, u32>,
}

impl Seat {
    pub fn newest(&self) -> Option<u64> {
        let queued = self.queue.back().map(|event| event.position);
        queued.or(self.last_held)
    }

    /// Begins anew, behind a position.
    pub fn reset(&mut self, behind: Option<u64>) {
        self.queue.clear();
        self.sizes.clear();
        self.last_held = behind;
    }

    /// What is left of everything behind a position of which all is done up to it.
    pub fn done(&self, position: u64) -> MessageIdData {
        let (entry, in_batch) = Entry::at(position);
        let size = self.sizes.get(&entry).copied().unwrap_or(1);
        if in_batch + 1 >= size {
            return entry.id();
        }
        entry.id_of_rest(in_batch + 1, size)
    }
}
