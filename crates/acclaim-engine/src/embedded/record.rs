//! The values of the store: an edge's state, a target's record, a user's record, a day's numbers.
//!
//! Each is absolute, never a difference, so a record may be written twice. Each has an encoding and
//! a decoding that tests hold against each other.

use acclaim_core::days::{Days, REMEMBERED_DAYS, Run};
use acclaim_core::pulse::{Pulse, Span, Step};
use acclaim_core::{EdgeState, Rev};
use smallvec::SmallVec;

use super::codec::{Damaged, Reader, put_varint, unzigzag, zigzag};
use super::key::TypeNo;

/// An edge's state in seven bytes: the rev (53 bits) and whether it is active.
pub fn encode_edge(state: EdgeState) -> [u8; 7] {
    let packed = (state.rev.0 << 1 | u64::from(state.active)).to_be_bytes();
    let mut out = [0; 7];
    out.copy_from_slice(&packed[1..]);
    out
}

/// Reads [`encode_edge`].
pub fn decode_edge(bytes: &[u8]) -> Result<EdgeState, Damaged> {
    if bytes.len() != 7 {
        return Err(Damaged("an edge is not seven bytes"));
    }
    let packed = bytes
        .iter()
        .fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
    Ok(EdgeState {
        active: packed & 1 == 1,
        rev: Rev(packed >> 1),
    })
}

/// What is kept about a target under a kind. The default is a target that nobody ever touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRecord {
    /// Active edges.
    pub count: u64,
    /// The journal place of its last transition.
    pub rev: Rev,
    /// Its recent transitions.
    pub pulse: Pulse,
}

/// Counts a transition of an edge to active, or away from it.
pub fn step(number: u64, up: bool) -> Result<u64, Damaged> {
    let next = if up {
        number.checked_add(1)
    } else {
        number.checked_sub(1)
    };
    next.ok_or(Damaged(
        "a count would fall below zero; run `acclaim check`",
    ))
}

impl TargetRecord {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.pulse.steps().len() * 4);
        put_varint(&mut out, self.count);
        put_varint(&mut out, self.rev.0);
        let mut last = 0;
        for step in self.pulse.steps() {
            // Steps are in order; the span takes the two low bits.
            let apart = u64::from(step.start_minute - last);
            put_varint(&mut out, apart << 2 | span_bits(step.span));
            put_varint(&mut out, zigzag(i64::from(step.net)));
            last = step.start_minute;
        }
        out
    }

    /// Reads [`TargetRecord::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let (count, rev) = (reader.varint()?, Rev(reader.varint()?));
        let mut steps = Vec::new();
        let mut last = 0u32;
        while !reader.is_empty() {
            let packed = reader.varint()?;
            let apart = u32::try_from(packed >> 2).map_err(|_| Damaged("a step is too far"))?;
            last = last
                .checked_add(apart)
                .ok_or(Damaged("a step is too far"))?;
            let net = i32::try_from(unzigzag(reader.varint()?));
            let net = net.map_err(|_| Damaged("a net is too large"))?;
            steps.push(Step {
                start_minute: last,
                span: span_of(packed & 3)?,
                net,
            });
        }
        Ok(Self {
            count,
            rev,
            pulse: Pulse::from_steps(steps),
        })
    }

    /// Reads the count and its rev alone.
    pub fn decode_count(bytes: &[u8]) -> Result<(u64, Rev), Damaged> {
        let mut reader = Reader(bytes);
        Ok((reader.varint()?, Rev(reader.varint()?)))
    }
}

fn span_bits(span: Span) -> u64 {
    match span {
        Span::Minute => 0,
        Span::Hour => 1,
        Span::Day => 2,
    }
}

fn span_of(bits: u64) -> Result<Span, Damaged> {
    match bits {
        0 => Ok(Span::Minute),
        1 => Ok(Span::Hour),
        2 => Ok(Span::Day),
        _ => Err(Damaged("a step has an unknown span")),
    }
}

/// Users with more edges than this, active or not, get a list of their own in time order. The list of
/// any other user is sorted when it is read: a record less for every edge of most users.
pub const INDEX_USERS_ABOVE_EDGES: u64 = 512;

/// A user's numbers under one target type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenByType {
    /// The type.
    pub target_type: TypeNo,
    /// Active edges.
    pub given: u64,
    /// Days with a transition.
    pub days: Days,
}

/// What is kept about a user under a kind. The default is a user who never did anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRecord {
    /// Edges there ever were: records under the user's prefix.
    pub edges: u64,
    /// Whether the user has a list in time order. Once set, it stays.
    pub indexed: bool,
    /// Active edges to users whose edge back is active.
    pub mutual: u64,
    /// By type, in order of first use.
    pub types: SmallVec<[GivenByType; 1]>,
    /// Days with a transition of any type. Kept only where there are several types; with one type
    /// its own days are these.
    pub days: Days,
}

impl UserRecord {
    /// Active edges of all types.
    pub fn given(&self) -> u64 {
        self.types.iter().map(|of_type| of_type.given).sum()
    }

    /// Active edges of one type.
    pub fn given_of(&self, target_type: TypeNo) -> u64 {
        let of_type = self.types.iter().find(|t| t.target_type == target_type);
        of_type.map_or(0, |t| t.given)
    }

    /// The numbers of one type, added where missing.
    pub fn of_type(&mut self, target_type: TypeNo) -> &mut GivenByType {
        let place = match self.types.iter().position(|t| t.target_type == target_type) {
            Some(place) => place,
            None => {
                if self.types.len() == 1 {
                    self.days = self.types[0].days.clone();
                }
                self.types.push(GivenByType {
                    target_type,
                    ..GivenByType::default()
                });
                self.types.len() - 1
            }
        };
        &mut self.types[place]
    }

    /// Counts a transition of one of the user's edges. `is_new` says that the edge never existed
    /// before.
    pub fn change(
        &mut self,
        target_type: TypeNo,
        is_new: bool,
        active: bool,
    ) -> Result<(), Damaged> {
        if is_new {
            self.edges += 1;
            self.indexed |= self.edges > INDEX_USERS_ABOVE_EDGES;
        }
        let given = &mut self.of_type(target_type).given;
        *given = step(*given, active)?;
        Ok(())
    }

    /// Marks a day as active under a type. Answers whether it is the user's first transition of
    /// that day under the type, and of all.
    pub fn mark_day(&mut self, target_type: TypeNo, day: u32, today: u32) -> (bool, bool) {
        let first_of_type = self.of_type(target_type).days.insert(day, today);
        let first_of_all = if self.types.len() == 1 {
            first_of_type
        } else {
            self.days.insert(day, today)
        };
        (first_of_type, first_of_all)
    }

    /// The days with a transition: of each type, and of all (`None`).
    pub fn days(&self) -> impl Iterator<Item = (Option<TypeNo>, &Days)> {
        let of_all = match &self.types[..] {
            [] => None,
            [only] => Some(&only.days),
            _ => Some(&self.days),
        };
        let of_types = self.types.iter();
        of_types
            .map(|of_type| (Some(of_type.target_type), &of_type.days))
            .chain(of_all.map(|days| (None, days)))
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        put_varint(&mut out, self.edges << 1 | u64::from(self.indexed));
        put_varint(&mut out, self.mutual);
        put_varint(&mut out, self.types.len() as u64);
        for of_type in &self.types {
            put_varint(&mut out, u64::from(of_type.target_type));
            put_varint(&mut out, of_type.given);
            put_days(&mut out, &of_type.days);
        }
        if self.types.len() > 1 {
            put_days(&mut out, &self.days);
        }
        out
    }

    /// Reads [`UserRecord::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let (edges, mutual) = (reader.varint()?, reader.varint()?);
        let (edges, indexed) = (edges >> 1, edges & 1 == 1);
        let mut record = Self {
            edges,
            indexed,
            mutual,
            ..Self::default()
        };
        for _ in 0..reader.varint()? {
            let target_type = reader.small()?;
            let given = reader.varint()?;
            record.types.push(GivenByType {
                target_type,
                given,
                days: days(&mut reader)?,
            });
        }
        if record.types.len() > 1 {
            record.days = days(&mut reader)?;
        }
        Ok(record)
    }
}

fn put_days(out: &mut Vec<u8>, days: &Days) {
    put_varint(out, days.runs().len() as u64);
    let mut last = 0;
    for run in days.runs() {
        put_varint(out, u64::from(run.first - last));
        put_varint(out, u64::from(run.last - run.first));
        last = run.last;
    }
}

fn days(reader: &mut Reader<'_>) -> Result<Days, Damaged> {
    let mut runs = SmallVec::<[Run; 2]>::new();
    let mut last = 0u32;
    for _ in 0..reader.varint()? {
        let too_far = Damaged("a day is too far");
        let first = last.checked_add(reader.small()?).ok_or(too_far)?;
        last = first.checked_add(reader.small()?).ok_or(too_far)?;
        runs.push(Run { first, last });
    }
    Ok(Days::from_runs(runs))
}

/// The day under which a transition that left an edge at `rev` counts; `None` where that is too long
/// before its place in the journal to be remembered.
pub fn counted_day(rev: Rev, seq: Rev) -> Option<u32> {
    let day = rev.day();
    is_remembered(day, seq).then_some(day)
}

/// Whether a day is not too long ago to be remembered.
pub fn is_remembered(day: u32, now: Rev) -> bool {
    day + REMEMBERED_DAYS > now.day()
}

/// One day's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyRecord {
    /// Transitions to active.
    pub set: u64,
    /// Transitions to inactive.
    pub unset: u64,
    /// Distinct users.
    pub users: u64,
}

impl DailyRecord {
    /// Counts a transition; `first` says that it is its user's first of the day.
    pub fn change(&mut self, active: bool, first: bool) {
        self.set += u64::from(active);
        self.unset += u64::from(!active);
        self.users += u64::from(first);
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        for number in [self.set, self.unset, self.users] {
            put_varint(&mut out, number);
        }
        out
    }

    /// Reads [`DailyRecord::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        Ok(Self {
            set: reader.varint()?,
            unset: reader.varint()?,
            users: reader.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn edges_read_back(rev in 0u64..1 << 53, active: bool) {
            let state = EdgeState { active, rev: Rev(rev) };
            prop_assert_eq!(decode_edge(&encode_edge(state)), Ok(state));
        }

        #[test]
        fn targets_read_back(count: u64, minutes in prop::collection::vec((0u64..50_000, any::<bool>()), 0..80)) {
            let base = 1_795_132_800_000_000u64;
            let now = Rev(base + 50_000 * 60_000_000);
            let mut record = TargetRecord { count, rev: now, ..TargetRecord::default() };
            for (minute, set) in minutes {
                record.pulse.record(Rev(base + minute * 60_000_000), set, now);
            }
            let bytes = record.encode();
            prop_assert_eq!(TargetRecord::decode_count(&bytes), Ok((count, now)));
            prop_assert_eq!(TargetRecord::decode(&bytes), Ok(record));
        }

        #[test]
        fn users_read_back(edges in 0..u64::MAX >> 1, indexed: bool, mutual: u64, marks in prop::collection::vec((0u16..4, 20_000u32..20_400), 0..60)) {
            let mut record = UserRecord { edges, indexed, mutual, ..UserRecord::default() };
            for (target_type, day) in marks {
                record.mark_day(target_type, day, 20_400);
                record.of_type(target_type).given += 1;
            }
            prop_assert_eq!(UserRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn days_read_back(set: u64, unset: u64, users: u64) {
            let record = DailyRecord { set, unset, users };
            prop_assert_eq!(DailyRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn nonsense_is_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = TargetRecord::decode(&bytes);
            let _ = UserRecord::decode(&bytes);
            let _ = DailyRecord::decode(&bytes);
            let _ = decode_edge(&bytes);
        }
    }

    #[test]
    fn the_first_transition_of_a_day_is_found_across_types() {
        let mut record = UserRecord::default();
        assert_eq!(record.mark_day(1, 100, 100), (true, true));
        assert_eq!(record.mark_day(2, 100, 100), (true, false));
        assert_eq!(record.mark_day(1, 100, 100), (false, false));
        assert_eq!(record.mark_day(2, 101, 101), (true, true));
        assert_eq!(record.mark_day(1, 101, 101), (true, false));
        let of_all = record
            .days()
            .filter(|(target_type, _)| target_type.is_none());
        let days: Vec<_> = of_all.flat_map(|(_, days)| days.runs()).collect();
        assert_eq!(days.len(), 1);
        assert_eq!(
            (days[0].first, days[0].last, record.days().count()),
            (100, 101, 3)
        );
    }
}
