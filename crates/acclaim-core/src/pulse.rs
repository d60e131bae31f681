//! A target's recent activity, from which its score in every ranking window follows.
//!
//! A transition adds +1 or −1 to the minute it happened in. A minute that no window can need by
//! the minute any more is folded into its hour, an hour into its day, a day older than a month is
//! dropped. So each transition is kept once, at the finest step still needed, and the score of a
//! window is a sum over what lies inside it. A target that nobody touched lately costs a few bytes;
//! the busiest one at most [`MAX_STEPS`] entries.
//!
//! Windows slide, in steps: the hour by minutes, the day and the week by hours, the month by days.

use std::str::FromStr;

use smallvec::SmallVec;

use crate::rev::Rev;

const MINUTES_AN_HOUR: u32 = 60;
const MINUTES_A_DAY: u32 = 24 * MINUTES_AN_HOUR;
const HOURS_IN_WEEK: u32 = 7 * 24;
const DAYS_IN_MONTH: u32 = 30;

/// The most entries a pulse holds after [`Pulse::prune`]: two hours of minutes (the hour that is
/// being folded is folded whole), a week and a day of hours, a month of days.
pub const MAX_STEPS: usize = 120 + 192 + 31;

/// A ranking window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// This minute and the 59 before it.
    Hour,
    /// This hour and the 23 before it.
    Day,
    /// This hour and the 167 before it.
    Week,
    /// This day and the 29 before it, UTC.
    Month,
    /// Since ever: the score is the count.
    All,
}

impl Window {
    /// All windows, shortest first.
    pub const EVERY: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::All];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::All => "all",
        }
    }

    /// The first minute of the window that contains `now`.
    #[must_use]
    pub fn first_minute(self, now: Rev) -> u32 {
        let minute = now.minute();
        let hour = minute / MINUTES_AN_HOUR;
        match self {
            Self::Hour => minute.saturating_sub(MINUTES_AN_HOUR - 1),
            Self::Day => hour.saturating_sub(23) * MINUTES_AN_HOUR,
            Self::Week => hour.saturating_sub(HOURS_IN_WEEK - 1) * MINUTES_AN_HOUR,
            Self::Month => {
                (minute / MINUTES_A_DAY).saturating_sub(DAYS_IN_MONTH - 1) * MINUTES_A_DAY
            }
            Self::All => 0,
        }
    }
}

impl FromStr for Window {
    type Err = UnknownWindow;

    fn from_str(text: &str) -> Result<Self, UnknownWindow> {
        let known = Self::EVERY.into_iter().find(|window| window.name() == text);
        known.ok_or_else(|| UnknownWindow(text.to_owned()))
    }
}

/// A window that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a window; use hour, day, week, month or all")]
pub struct UnknownWindow(String);

/// The length of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// 60 s.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours from midnight UTC.
    Day,
}

impl Span {
    fn minutes(self) -> u32 {
        match self {
            Self::Minute => 1,
            Self::Hour => MINUTES_AN_HOUR,
            Self::Day => MINUTES_A_DAY,
        }
    }
}

/// The net transitions of one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its first minute since the epoch.
    pub start_minute: u32,
    /// Its length.
    pub span: Span,
    /// Sets less unsets in it.
    pub net: i32,
}

/// A target's recent transitions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    steps: SmallVec<[Step; 1]>,
}

impl Pulse {
    /// Rebuilds a pulse from its stored steps, which must be in order.
    #[must_use]
    pub fn from_steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
        }
    }

    /// The pulse of a target all of whose transitions are known at once: the net of each minute,
    /// oldest first. The same as recording them one by one.
    #[must_use]
    pub fn of_minutes(minutes: impl IntoIterator<Item = (u32, i32)>, now: Rev) -> Self {
        let step = |(start_minute, net)| Step {
            start_minute,
            span: Span::Minute,
            net,
        };
        let mut pulse = Self::from_steps(minutes.into_iter().map(step));
        pulse.prune(now);
        pulse
    }

    /// The steps, oldest first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Counts a transition at `at`: +1 for a set, −1 for an unset. One older than a month is in no
    /// window and leaves no trace.
    pub fn record(&mut self, at: Rev, set: bool, now: Rev) {
        let minute = at.minute();
        if minute < Window::Month.first_minute(now) {
            return;
        }
        let net = if set { 1 } else { -1 };
        let (start_minute, span) = step_of(minute, Span::Minute, now);
        // Once a step, not once a transition: a hot target has many of both.
        if self.add(Step {
            start_minute,
            span,
            net,
        }) {
            self.prune(now);
        }
    }

    /// Adds to a step. Answers whether it is a new one.
    fn add(&mut self, step: Step) -> bool {
        // New transitions come last, so look from the end.
        let place = self
            .steps
            .iter()
            .rposition(|s| s.start_minute <= step.start_minute);
        match place.map(|place| (place, self.steps[place])) {
            Some((place, known))
                if (known.start_minute, known.span) == (step.start_minute, step.span) =>
            {
                self.steps[place].net += step.net;
                return false;
            }
            Some((place, _)) => self.steps.insert(place + 1, step),
            None => self.steps.insert(0, step),
        }
        true
    }

    /// Folds what may be folded and drops what no window needs.
    pub fn prune(&mut self, now: Rev) {
        let month = Window::Month.first_minute(now);
        let due = |s: &Step| {
            s.start_minute < month
                || step_of(s.start_minute, s.span, now) != (s.start_minute, s.span)
        };
        if !self.steps.first().is_some_and(due) && !self.steps.iter().any(due) {
            return;
        }
        for step in std::mem::take(&mut self.steps) {
            if step.start_minute >= month {
                let (start_minute, span) = step_of(step.start_minute, step.span, now);
                self.add(Step {
                    start_minute,
                    span,
                    net: step.net,
                });
            }
        }
    }

    /// Sets less unsets inside the window. Not for [`Window::All`], whose score is the count.
    #[must_use]
    pub fn score(&self, window: Window, now: Rev) -> i64 {
        self.inside(window, now)
            .map(|step| i64::from(step.net))
            .sum()
    }

    /// What the score can at most become as the window moves on without another transition: the
    /// positive steps alone, since a negative one may leave the window first.
    #[must_use]
    pub fn potential(&self, window: Window, now: Rev) -> i64 {
        self.inside(window, now)
            .map(|step| i64::from(step.net.max(0)))
            .sum()
    }

    fn inside(&self, window: Window, now: Rev) -> impl Iterator<Item = &Step> {
        let first = window.first_minute(now);
        self.steps
            .iter()
            .rev()
            .take_while(move |step| step.start_minute >= first)
    }
}

/// The step that a minute belongs to, given how old it is: the finest one some window still needs,
/// never finer than `span`.
fn step_of(minute: u32, span: Span, now: Rev) -> (u32, Span) {
    let hour_start = minute - minute % MINUTES_AN_HOUR;
    let day_start = minute - minute % MINUTES_A_DAY;
    let finest = if hour_start + MINUTES_AN_HOUR > Window::Hour.first_minute(now) {
        Span::Minute
    } else if day_start + MINUTES_A_DAY > Window::Week.first_minute(now) {
        Span::Hour
    } else {
        Span::Day
    };
    let span = finest.max(span);
    (minute - minute % span.minutes(), span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000_000;
    /// 2026-11-20T00:00:00Z.
    const BASE: u64 = 1_795_132_800_000_000;

    #[test]
    fn windows_have_their_lengths() {
        let now = Rev(BASE + 90 * MINUTE);
        let minutes = |w: Window| now.minute() - w.first_minute(now);
        assert_eq!(minutes(Window::Hour), 59);
        assert_eq!(minutes(Window::Day), 23 * 60 + 30);
        assert_eq!(minutes(Window::Week), 167 * 60 + 30);
        assert_eq!(minutes(Window::Month), 29 * 1440 + 90);
        assert_eq!("week".parse(), Ok(Window::Week));
        assert!("year".parse::<Window>().is_err());
    }

    proptest! {
        #[test]
        fn all_at_once_is_as_one_by_one(transitions in prop::collection::vec((0u64..40 * 24 * 60, any::<bool>()), 0..200)) {
            let now = Rev(BASE + 40 * 24 * 60 * MINUTE);
            let mut one_by_one = Pulse::default();
            let mut minutes = std::collections::BTreeMap::new();
            for (minute, set) in transitions {
                let at = Rev(BASE + minute * MINUTE);
                one_by_one.record(at, set, now);
                *minutes.entry(at.minute()).or_default() += if set { 1 } else { -1 };
            }
            prop_assert_eq!(Pulse::of_minutes(minutes, now), one_by_one);
        }
    }

    #[test]
    fn a_busy_target_stays_bounded() {
        let mut pulse = Pulse::default();
        for minute in 0..60 * 24 * 60 {
            let at = Rev(BASE + minute * MINUTE);
            pulse.record(at, true, at);
            assert!(
                pulse.steps().len() <= MAX_STEPS,
                "{} at {minute}",
                pulse.steps().len()
            );
        }
    }

    proptest! {
        /// Folding never changes a score: the pulse agrees with the plain list of transitions.
        #[test]
        fn scores_equal_the_plain_sum(
            events in prop::collection::vec((0u64..50 * 1440, any::<bool>()), 1..200),
            later in 0u64..3000,
        ) {
            let mut events = events;
            events.sort_unstable();
            let mut pulse = Pulse::default();
            for (minute, set) in &events {
                let at = Rev(BASE + minute * MINUTE);
                pulse.record(at, *set, at);
            }
            let now = Rev(BASE + (events[events.len() - 1].0 + later) * MINUTE);
            for prune in [false, true] {
                if prune { pulse.prune(now); }
                for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
                    let first = window.first_minute(now);
                    let inside = events.iter().filter(|(m, _)| Rev(BASE + m * MINUTE).minute() >= first);
                    let sum: i64 = inside.map(|(_, set)| if *set { 1 } else { -1 }).sum();
                    prop_assert_eq!(pulse.score(window, now), sum, "{:?}", window);
                    prop_assert!(pulse.potential(window, now) >= sum);
                }
            }
        }

        /// Imports come in any order and land where they would have been.
        #[test]
        fn order_does_not_matter(mut minutes in prop::collection::vec(0u64..40 * 1440, 1..60)) {
            let now = Rev(BASE + 40 * 1440 * MINUTE);
            let fill = |minutes: &[u64]| {
                let mut pulse = Pulse::default();
                for minute in minutes { pulse.record(Rev(BASE + minute * MINUTE), true, now); }
                pulse.prune(now);
                pulse
            };
            let mixed = fill(&minutes);
            minutes.sort_unstable();
            prop_assert_eq!(mixed, fill(&minutes));
        }
    }
}
