//! A queue of the topic, and what of it is here: whether it is ours, and what was pulled ahead.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::route::Queue;
use crate::port::Received;

/// A queue.
pub struct Lane {
    pub queue: Queue,
    /// When it was last known to be ours, while it is.
    ours: Option<Instant>,
    /// Whether it is ours though somebody else has it locked.
    without_lock: bool,
    /// Since when it is refused to us.
    refused: Option<Instant>,
    /// Rises when what was asked for is not wanted any more.
    term: u64,
    /// Where the next pull begins.
    next: u64,
    pulls: bool,
    buffer: VecDeque<Received>,
}

/// What a pull asks for.
pub struct Ask {
    pub term: u64,
    pub from: u64,
    pub count: usize,
}

impl Lane {
    /// One that is nobody's.
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            ours: None,
            without_lock: false,
            refused: None,
            term: 0,
            next: 0,
            pulls: false,
            buffer: VecDeque::new(),
        }
    }

    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Whether it is ours, and that was not said again for longer than `life`.
    pub fn is_stale(&self, life: Duration) -> bool {
        self.ours.is_some_and(|time| time.elapsed() > life)
    }

    /// Whether it is refused to us for so long that whoever has it locked must have let go.
    pub fn is_left(&self, session: Duration) -> bool {
        self.refused.is_some_and(|since| since.elapsed() > session)
    }

    /// It is ours from here on. `asked` is when it was asked for.
    pub fn begin(&mut self, asked: Instant, next: u64, without_lock: bool) {
        self.ours = Some(asked);
        self.without_lock = without_lock;
        self.refused = None;
        self.restart(next);
    }

    /// It is still ours, if it was.
    pub fn renew(&mut self, asked: Instant) {
        self.ours = self.ours.map(|_| asked);
        self.without_lock = false;
        self.refused = None;
    }

    /// Somebody else has it locked. Whether it was ours and is not any more.
    pub fn refuse(&mut self, asked: Instant) -> bool {
        if self.without_lock {
            self.ours = Some(asked);
            return false;
        }
        let since = *self.refused.get_or_insert(asked);
        let was_ours = self.end();
        self.refused = Some(since);
        was_ours
    }

    /// It is not ours, nor wanted or known to be refused. Whether it was.
    pub fn end(&mut self) -> bool {
        self.restart(0);
        self.without_lock = false;
        self.refused = None;
        self.ours.take().is_some()
    }

    /// How long it is refused is counted anew.
    pub fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// Goes on elsewhere.
    pub fn restart(&mut self, next: u64) {
        self.term += 1;
        self.next = next;
        self.pulls = false;
        self.buffer.clear();
    }

    /// How many bytes wait here.
    pub fn bytes(&self) -> usize {
        self.buffer.iter().map(|event| event.payload.len()).sum()
    }

    /// The next pull, if it is time for one: one is under way at a time, for the part of a window
    /// that is free, when that is half of it.
    pub fn ask(&mut self, window: usize, most: usize) -> Option<Ask> {
        if self.ours.is_none() || self.pulls || self.buffer.len() > window / 2 {
            return None;
        }
        self.pulls = true;
        Some(Ask {
            term: self.term,
            from: self.next,
            count: (window - self.buffer.len()).min(most),
        })
    }

    /// Whether what came of a pull is still wanted. The next one may begin then.
    pub fn pulled(&mut self, term: u64) -> bool {
        let wanted = self.term == term;
        self.pulls &= !wanted;
        wanted
    }

    /// Takes in what a pull brought.
    pub fn take_in(&mut self, received: Vec<Received>, next: u64) {
        let from = self.next;
        let new = received.into_iter().filter(|event| event.position >= from);
        self.buffer.extend(new);
        self.next = next;
    }

    /// Takes out up to so many.
    pub fn take_out(&mut self, most: usize) -> impl Iterator<Item = Received> {
        let count = self.buffer.len().min(most);
        self.buffer.drain(..count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(position: u64) -> Received {
        Received {
            bus_partition: 0,
            position,
            published_at_millis: 0,
            key: bytes::Bytes::new(),
            payload: bytes::Bytes::from_static(b"12345"),
            attempt: 0,
            delivery: 0,
        }
    }

    fn lane() -> Lane {
        Lane::new(Queue {
            broker: "b".to_owned(),
            number: 0,
        })
    }

    #[test]
    fn one_pull_is_under_way_while_half_of_the_window_is_free() {
        let mut lane = lane();
        assert!(lane.ask(10, 4).is_none(), "it is not ours");
        lane.begin(Instant::now(), 7, false);
        let ask = lane.ask(10, 4).unwrap();
        assert_eq!((ask.from, ask.count), (7, 4));
        assert!(lane.ask(10, 4).is_none(), "one is under way");
        assert!(lane.pulled(ask.term));
        lane.take_in((6..13).map(event).collect(), 13);
        assert_eq!(lane.bytes(), 30, "what stands before the place is left out");
        assert!(lane.ask(10, 4).is_none(), "more than half is full");
        assert_eq!(
            lane.take_out(1).map(|one| one.position).collect::<Vec<_>>(),
            [7]
        );
        let ask = lane.ask(10, 8).unwrap();
        assert_eq!((ask.from, ask.count), (13, 5));
    }

    #[test]
    fn what_was_asked_for_before_is_not_wanted() {
        let mut lane = lane();
        lane.begin(Instant::now(), 0, false);
        let old = lane.ask(10, 4).unwrap();
        lane.restart(5);
        let new = lane.ask(10, 4).unwrap();
        assert_eq!(new.from, 5);
        assert!(!lane.pulled(old.term));
        assert!(lane.ask(10, 4).is_none(), "the new one is still under way");
        assert!(lane.pulled(new.term));
        assert!(lane.end());
        assert!(!lane.end() && !lane.is_ours());
    }

    #[test]
    fn a_lock_lives_from_when_it_was_asked_for() {
        let mut lane = lane();
        let asked = Instant::now() - Duration::from_secs(10);
        lane.renew(asked);
        assert!(!lane.is_ours(), "what is not ours is not renewed");
        lane.begin(asked, 0, false);
        assert!(lane.is_stale(Duration::from_secs(9)));
        assert!(!lane.is_stale(Duration::from_secs(60)));
        lane.renew(Instant::now());
        assert!(!lane.is_stale(Duration::from_secs(9)));
    }

    #[test]
    fn what_is_refused_for_a_session_was_left() {
        let ago = |seconds| Instant::now() - Duration::from_secs(seconds);
        let session = Duration::from_secs(10);
        let mut lane = lane();
        assert!(!lane.is_left(session));
        assert!(!lane.refuse(ago(11)));
        assert!(!lane.refuse(ago(1)));
        assert!(lane.is_left(session));
        lane.forget_refusal();
        assert!(!lane.is_left(session));
        assert!(!lane.refuse(ago(11)));
        lane.begin(ago(9), 3, true);
        assert!(!lane.is_left(session));
        // The lock of who left is still there.
        assert!(!lane.refuse(ago(0)));
        assert!(lane.is_ours() && !lane.is_stale(Duration::from_secs(5)));
        // It is forgotten and ours now, and then somebody else gets it.
        lane.renew(ago(0));
        assert!(lane.refuse(ago(0)));
        assert!(!lane.is_ours());
    }
}
