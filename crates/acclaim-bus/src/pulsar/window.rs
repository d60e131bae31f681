//! How far ahead one consumer lets its broker send.
//!
//! A broker counts permits by messages and reads by entries: with some permits it may send as many
//! entries, each a whole batch. What they have more than was permitted it owes fewer of those that
//! are permitted next. So permits are taken for entries here, each of so many messages as entries
//! have on average, and given until these and what is queued fill the window. Before the first entry
//! came, each may be as long as a batch can be.
//!
//! Invariant: where at most half of the window is queued, the broker has a permit at least. So a
//! consumer that has caught up never waits for what the broker may not send.

use super::place::MAX_BATCH_MESSAGES;

/// Behind so many entries what came before them counts half: what is published changes.
const ENTRIES_KEPT: u64 = 64;

/// What a consumer lets its broker send.
#[derive(Debug, Default)]
pub struct Window {
    /// The permits that the broker has. Below nothing where it sent more than were left.
    permits: i64,
    /// What came of late, to know how many messages an entry has.
    messages: u64,
    entries: u64,
}

impl Window {
    /// Another consumer begins, whom the broker owes nothing. Entries stay as long as they are.
    pub fn begin(&mut self) {
        self.permits = 0;
    }

    /// An entry came: how many permits it cost, and how many messages it has.
    pub fn take_in(&mut self, cost: u32, messages: u32) {
        self.permits -= i64::from(cost);
        self.messages += u64::from(messages);
        self.entries += 1;
        if self.entries >= ENTRIES_KEPT {
            self.messages /= 2;
            self.entries /= 2;
        }
    }

    /// How many messages so many entries have, as far as is known.
    pub fn messages_in(&self, entries: u64) -> u64 {
        let each = self.messages.checked_div(self.entries).unwrap_or(1);
        entries.saturating_mul(each.max(1))
    }

    /// The permits that fill a window of so many messages, while half of it is free. To be called
    /// until there are none.
    pub fn ask(&mut self, window: usize, queued: usize) -> Option<u32> {
        let room = i64::try_from(window.checked_sub(queued)?).unwrap_or(i64::MAX);
        let half = i64::try_from(window.div_ceil(2)).unwrap_or(i64::MAX);
        let each = self.each_entry();
        let expected = self.permits.max(0).saturating_mul(each);
        if room.saturating_sub(expected) < half {
            return None;
        }
        let wanted = (room / each).max(1).saturating_sub(self.permits);
        // Brokers count by i32. What is wanted beyond it is asked for next.
        let more = u32::try_from(wanted.clamp(1, i64::from(i32::MAX))).ok()?;
        self.permits += i64::from(more);
        Some(more)
    }

    /// How many messages an entry is taken to have: as many as on average, rather one more than less.
    fn each_entry(&self) -> i64 {
        let each = match self.entries {
            0 => u64::from(MAX_BATCH_MESSAGES),
            entries => self.messages.div_ceil(entries).max(1),
        };
        i64::try_from(each).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 1_000;

    /// One that knows how many messages an entry has, and has given no permits.
    fn knowing(messages: u32) -> Window {
        let mut window = Window::default();
        window.take_in(messages, messages);
        window.begin();
        window
    }

    /// What entries of so many messages make of the permits: sent while there were some left.
    fn send(window: &mut Window, messages: u32) -> usize {
        let mut sent = 0;
        while window.permits > 0 {
            window.take_in(messages, messages);
            sent += messages as usize;
        }
        sent
    }

    #[test]
    fn one_entry_comes_before_it_is_known_how_long_they_are() {
        let mut window = Window::default();
        assert_eq!(window.ask(WINDOW, 0), Some(1));
        assert_eq!(window.ask(WINDOW, 0), None, "it was asked for");
        window.take_in(1, 1);
        assert_eq!(window.ask(WINDOW, 1), Some(999));
        // What is known of entries holds for the next consumer, too.
        window.begin();
        assert_eq!(window.ask(WINDOW, 0), Some(1_000));
    }

    #[test]
    fn permits_fill_the_window_with_entries() {
        for (each, permits) in [
            (1, 1_000),
            (2, 500),
            (3, 333),
            (500, 2),
            (501, 1),
            (1_024, 1),
        ] {
            assert_eq!(knowing(each).ask(WINDOW, 0), Some(permits), "{each}");
        }
        let mut window = knowing(10);
        window.take_in(1, 1);
        window.begin();
        assert_eq!(
            window.ask(WINDOW, 0),
            Some(166),
            "six each, not five and a half"
        );
    }

    #[test]
    fn no_more_is_asked_for_before_half_of_the_window_is_free() {
        for (queued, permits) in [(500, Some(500)), (501, None), (1_000, None), (5_000, None)] {
            assert_eq!(knowing(1).ask(WINDOW, queued), permits, "{queued}");
        }
        let mut window = knowing(1);
        assert_eq!(window.ask(WINDOW, 0), Some(1_000));
        for _ in 0..499 {
            window.take_in(1, 1);
        }
        assert_eq!(window.ask(WINDOW, 0), None);
        window.take_in(1, 1);
        assert_eq!(window.ask(WINDOW, 0), Some(500));
    }

    #[test]
    fn what_came_beyond_the_permits_is_owed() {
        let mut window = knowing(50);
        assert_eq!(window.ask(10, 0), Some(1));
        window.take_in(50, 50);
        assert_eq!(window.permits, -49);
        assert_eq!(window.ask(10, 6), None, "there is no room");
        assert_eq!(window.ask(10, 5), Some(50));
        assert_eq!(window.permits, 1);
    }

    #[test]
    fn a_broker_may_send_whenever_the_window_is_free() {
        for window_of in [1, 2, 3, 10, 999, WINDOW] {
            for each in [1, 2, 3, 7, 499, 500, 501, MAX_BATCH_MESSAGES] {
                let mut window = Window::default();
                let mut queued = 0_usize;
                for _ in 0..200 {
                    while let Some(more) = window.ask(window_of, queued) {
                        assert!(more > 0);
                    }
                    if queued <= window_of / 2 {
                        assert!(
                            window.permits > 0,
                            "{window_of} {each} {queued}: {window:?}"
                        );
                    }
                    queued += send(&mut window, each);
                    queued -= queued.div_ceil(3);
                }
            }
        }
    }

    #[test]
    fn what_comes_stays_near_the_window() {
        for each in [1, 3, 50, 1_000] {
            let mut window = knowing(each);
            let mut queued = 0;
            // One entry is let through with half of the window free, however long it is.
            let most = WINDOW.max(WINDOW / 2 + each as usize);
            for _ in 0..100 {
                while window.ask(WINDOW, queued).is_some() {}
                // The most that a broker sends: an entry for each permit.
                for _ in 0..window.permits.max(0) {
                    window.take_in(each, each);
                    queued += each as usize;
                }
                assert!(queued <= most, "{each}: {queued}");
                queued -= queued.min(300);
            }
        }
    }

    #[test]
    fn entries_are_as_long_as_they_were_of_late() {
        let mut window = Window::default();
        assert_eq!(window.messages_in(3), 3, "nothing is known");
        for _ in 0..10_000 {
            window.take_in(1, 1);
        }
        assert_eq!(window.messages_in(3), 3);
        for _ in 0..500 {
            window.take_in(100, 100);
        }
        assert!(window.messages_in(3) >= 290, "{window:?}");
    }

    #[test]
    fn what_costs_more_than_it_has_is_given_back() {
        let mut window = knowing(1);
        assert_eq!(window.ask(WINDOW, 0), Some(1_000));
        // A batch that is not understood is one message here, and many for the broker.
        window.take_in(5_000, 1);
        assert_eq!(window.ask(WINDOW, 0), Some(5_000));
        assert_eq!(window.permits, 1_000);
        for _ in 0..3 {
            window.take_in(i32::MAX.unsigned_abs(), 1);
        }
        let mut asked = 0;
        while window.ask(WINDOW, 0).is_some() {
            asked += 1;
        }
        assert_eq!((asked, window.permits), (3, 1_000));
    }
}
