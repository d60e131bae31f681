//! Whether a concurrent history could have happened one op at a time.
//!
//! The method is that of Wing and Gong (*Testing and verifying concurrent objects*, 1993) with the
//! memory of Lowe (*Testing for linearizability*, 2017): try every op that may come next, that is
//! one which began before any other op that is left had ended; follow those whose answer fits the
//! state; remember which sets of ops led to which states, so that none is followed twice.
//!
//! One object is one target with all its edges, under one kind or under kinds that exclude each
//! other: nothing a target answers depends on another target.

use std::collections::HashSet;

use acclaim_core::port::{Count, Status};
use acclaim_core::{Action, EdgeState, Rev, Transition};

/// What was called. Edges of the target are numbered by user and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// An action of a user under a kind.
    Write(Action, Slot),
    /// A read of an edge and its count.
    Status(Slot),
    /// A read of the count of a kind.
    Count(u8),
}

/// An edge of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which of the kinds of the history.
    pub kind: u8,
    /// Which of the users of the history.
    pub user: u8,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a write.
    Written(Transition),
    /// Of a status. The rev of an inactive edge is looked at only where `revs_when_inactive`.
    Status(Status),
    /// Of a count.
    Count(Count),
    /// Nothing: the call may have had its effect, once, before `end`, or none at all.
    Unknown,
}

/// One call, from before it was sent until after its answer came, on a clock that all share.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// When it began.
    pub start: u64,
    /// When it ended; later than `start`.
    pub end: u64,
    /// What was called.
    pub call: Call,
    /// What came back.
    pub answer: Answer,
}

/// What the calls of a history were made on.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Kinds; where there are more than one, all exclude each other.
    pub kinds: u8,
    /// Users.
    pub users: u8,
    /// Whether the status of an inactive edge tells its rev.
    pub revs_when_inactive: bool,
}

/// Why a history could not have happened one op at a time.
#[derive(Clone, Debug)]
pub struct NotLinear {
    /// The longest order that fits, as places in the history.
    pub fitting: Vec<usize>,
    /// The ops that could come next, none of which fits.
    pub stuck: Vec<Span>,
}

/// Looks for an order of the calls, each inside its span, in which every answer is right.
///
/// # Errors
/// [`NotLinear`] when there is none.
pub fn check(object: Object, history: &[Span]) -> Result<(), NotLinear> {
    let mut order: Vec<usize> = (0..history.len()).collect();
    order.sort_by_key(|place| history[*place].start);
    let spans: Vec<Span> = order.iter().map(|place| history[*place]).collect();
    Search::new(object, &spans).run().map_err(|fitting| {
        let left: Vec<usize> = (0..spans.len()).filter(|n| !fitting.contains(n)).collect();
        let first_end = left.iter().map(|n| spans[*n].end).min();
        let next = left.iter().map(|n| spans[*n]);
        NotLinear {
            stuck: next.filter(|s| Some(s.start) < first_end).collect(),
            fitting: fitting.into_iter().map(|n| order[n]).collect(),
        }
    })
}

/// An edge as far as the answers so far tell: a rev that nobody was told yet is open.
type Known = (bool, Option<Rev>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    edges: Vec<Known>,
    /// The rev of each kind's last transition.
    last: Vec<Option<Rev>>,
    /// No later transition may have a rev up to this.
    floor: Rev,
}

impl State {
    fn new(object: Object) -> Self {
        let edges = usize::from(object.kinds) * usize::from(object.users);
        Self {
            edges: vec![(false, Some(Rev::ZERO)); edges],
            last: vec![Some(Rev::ZERO); usize::from(object.kinds)],
            floor: Rev::ZERO,
        }
    }

    fn count(&self, object: Object, kind: u8) -> u64 {
        let users = usize::from(object.users);
        let of_kind = self
            .edges
            .iter()
            .skip(usize::from(kind) * users)
            .take(users);
        of_kind.filter(|(active, _)| *active).count() as u64
    }

    /// The states that may follow a call with the given answer; none where it does not fit.
    fn after(&self, object: Object, span: &Span) -> Vec<Self> {
        let next = match (span.call, span.answer) {
            (Call::Write(action, slot), Answer::Written(answer)) => {
                self.written(object, action, slot, &answer)
            }
            (Call::Write(action, slot), Answer::Unknown) => {
                let happened = self.transition(object, action, slot, None);
                return happened.into_iter().chain([self.clone()]).collect();
            }
            (Call::Status(slot), Answer::Status(status)) => self.status(object, slot, &status),
            (Call::Count(kind), Answer::Count(count)) => self.counted(object, kind, &count),
            // A read without an answer tells nothing.
            (Call::Status(_) | Call::Count(_), Answer::Unknown) => Some(self.clone()),
            _ => None,
        };
        next.into_iter().collect()
    }

    fn written(
        &self,
        object: Object,
        action: Action,
        slot: Slot,
        answer: &Transition,
    ) -> Option<Self> {
        let edge = slot.place(object);
        let next = match self.transition(object, action, slot, Some(answer.rev)) {
            Some(next) if answer.changed && answer.rev > self.floor => next,
            None if !answer.changed => self.told(edge, answer.rev)?,
            _ => return None,
        };
        let fits =
            next.edges[edge].0 == answer.active && next.count(object, slot.kind) == answer.count;
        fits.then_some(next)
    }

    /// The state after a transition, or `None` where the action changes nothing.
    fn transition(
        &self,
        object: Object,
        action: Action,
        slot: Slot,
        rev: Option<Rev>,
    ) -> Option<Self> {
        let edge = slot.place(object);
        let before = EdgeState {
            active: self.edges[edge].0,
            rev: Rev::ZERO,
        };
        let active = before.after(action, None, Rev::ZERO)?.active;
        let mut next = self.clone();
        if active {
            for kind in (0..object.kinds).filter(|kind| *kind != slot.kind) {
                let other = Slot { kind, ..slot }.place(object);
                if next.edges[other].0 {
                    next.edges[other] = (false, None);
                    next.last[usize::from(kind)] = None;
                }
            }
        }
        next.edges[edge] = (active, rev);
        next.last[usize::from(slot.kind)] = rev;
        next.floor = next.floor.max(rev.unwrap_or_default());
        Some(next)
    }

    /// The state with an edge's rev told; `None` where another is known.
    fn told(&self, edge: usize, rev: Rev) -> Option<Self> {
        let mut next = self.clone();
        match next.edges[edge].1 {
            Some(known) => (known == rev).then_some(next),
            None => {
                next.edges[edge].1 = Some(rev);
                next.floor = next.floor.max(rev);
                Some(next)
            }
        }
    }

    fn status(&self, object: Object, slot: Slot, status: &Status) -> Option<Self> {
        let edge = slot.place(object);
        let fits = self.edges[edge].0 == status.edge.active
            && self.count(object, slot.kind) == status.count;
        let tells = status.edge.active || object.revs_when_inactive;
        match (fits, tells) {
            (false, _) => None,
            (true, false) => Some(self.clone()),
            (true, true) => self.told(edge, status.edge.rev),
        }
    }

    fn counted(&self, object: Object, kind: u8, count: &Count) -> Option<Self> {
        if self.count(object, kind) != count.count {
            return None;
        }
        let mut next = self.clone();
        match next.last[usize::from(kind)] {
            Some(known) => (known == count.rev).then_some(next),
            None => {
                next.last[usize::from(kind)] = Some(count.rev);
                next.floor = next.floor.max(count.rev);
                Some(next)
            }
        }
    }
}

impl Slot {
    fn place(self, object: Object) -> usize {
        usize::from(self.kind) * usize::from(object.users) + usize::from(self.user)
    }
}

/// Which ops are in an order already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Taken(Vec<u64>);

impl Taken {
    fn has(&self, n: usize) -> bool {
        self.0[n / 64] & (1 << (n % 64)) != 0
    }

    fn flip(&mut self, n: usize) {
        self.0[n / 64] ^= 1 << (n % 64);
    }
}

/// A step of the order under trial: the op taken, and the states still to be tried after it.
struct Frame {
    op: usize,
    untried: Vec<(usize, State)>,
}

struct Search<'a> {
    object: Object,
    spans: &'a [Span],
    taken: Taken,
    seen: HashSet<(Taken, State)>,
    frames: Vec<Frame>,
    best: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(object: Object, spans: &'a [Span]) -> Self {
        Self {
            object,
            spans,
            taken: Taken(vec![0; spans.len() / 64 + 1]),
            seen: HashSet::new(),
            frames: Vec::new(),
            best: Vec::new(),
        }
    }

    /// Depth first, without recursion: an order may be as long as the history.
    fn run(mut self) -> Result<(), Vec<usize>> {
        let mut untried = self.next(&State::new(self.object));
        loop {
            if self.frames.len() == self.spans.len() {
                return Ok(());
            }
            if let Some((op, state)) = untried.pop() {
                self.taken.flip(op);
                if self.seen.insert((self.taken.clone(), state.clone())) {
                    self.frames.push(Frame { op, untried });
                    self.remember_longest();
                    untried = self.next(&state);
                } else {
                    self.taken.flip(op);
                }
            } else {
                let Some(frame) = self.frames.pop() else {
                    return Err(self.best);
                };
                self.taken.flip(frame.op);
                untried = frame.untried;
            }
        }
    }

    fn remember_longest(&mut self) {
        if self.frames.len() > self.best.len() {
            self.best = self.frames.iter().map(|frame| frame.op).collect();
        }
    }

    /// The ops that may come next with the states after them, the best guess last.
    fn next(&self, state: &State) -> Vec<(usize, State)> {
        let left = || (0..self.spans.len()).filter(|n| !self.taken.has(*n));
        let mut first_end = u64::MAX;
        let mut may_begin = Vec::new();
        for n in left() {
            if self.spans[n].start > first_end {
                break;
            }
            first_end = first_end.min(self.spans[n].end);
            may_begin.push(n);
        }
        may_begin.retain(|n| self.spans[*n].start < first_end);
        let mut next: Vec<(usize, State)> = may_begin
            .into_iter()
            .flat_map(|n| {
                let states = self.spans[n].answer_states(self.object, state);
                states.into_iter().map(move |state| (n, state))
            })
            .collect();
        // The transition with the lowest rev happened first, so it is the guess to begin with.
        next.sort_by_key(|(n, _)| std::cmp::Reverse(self.spans[*n].guess()));
        next
    }
}

impl Span {
    fn answer_states(&self, object: Object, state: &State) -> Vec<State> {
        state.after(object, self)
    }

    /// Where in an order to try this first: reads and what changes nothing as soon as they fit,
    /// then transitions by rev, what is unknown last.
    fn guess(&self) -> Rev {
        match self.answer {
            Answer::Written(answer) if answer.changed => answer.rev,
            Answer::Unknown => Rev::MAX,
            _ => Rev::ZERO,
        }
    }
}
