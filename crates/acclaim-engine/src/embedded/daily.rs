//! The days' numbers: transitions and distinct users, by kind and type.
//!
//! There are few (days × kinds × types), so all of them are in memory; the checkpoint writes those
//! that changed.

use std::collections::{HashMap, HashSet};

use acclaim_core::ReadError;
use acclaim_core::days::REMEMBERED_DAYS;
use acclaim_core::port::Daily;
use parking_lot::RwLock;

use super::base::BaseSnapshot;
use super::key::{DailyRef, KindNo, TypeNo, tag};
use super::record::DailyRecord;

/// What a commit changes in a day's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyChange {
    /// Transitions to active.
    pub set: u64,
    /// Transitions to inactive.
    pub unset: u64,
    /// Users who are new to the day, less those of it who were forgotten.
    pub users: i64,
}

impl DailyChange {
    /// Counts a transition; `first` says that it is its user's first of the day.
    pub fn change(&mut self, active: bool, first: bool) {
        self.set += u64::from(active);
        self.unset += u64::from(!active);
        self.users += i64::from(first);
    }
}

#[derive(Default)]
struct Numbers {
    by_day: HashMap<DailyRef, DailyRecord>,
    dirty: HashSet<DailyRef>,
}

/// All days' numbers.
#[derive(Default)]
pub struct DailyBook(RwLock<Numbers>);

impl DailyBook {
    /// Reads what the base holds.
    pub fn load(base: &BaseSnapshot) -> Result<Self, ReadError> {
        let mut by_day = HashMap::new();
        for record in base.prefix(&[tag::DAILY]) {
            let (key, value) = record?;
            by_day.insert(DailyRef::from_key(&key)?, DailyRecord::decode(&value)?);
        }
        Ok(Self(RwLock::new(Numbers {
            by_day,
            dirty: HashSet::new(),
        })))
    }

    /// Adds a commit's numbers.
    pub fn add<'a>(&self, more: impl ExactSizeIterator<Item = (&'a DailyRef, &'a DailyChange)>) {
        if more.len() == 0 {
            return;
        }
        let mut numbers = self.0.write();
        for (day, more) in more {
            let forgets_only = *more
                == DailyChange {
                    users: more.users.min(0),
                    ..DailyChange::default()
                };
            if forgets_only && !numbers.by_day.contains_key(day) {
                // A forgotten user may remember days that nobody can ask for any more.
                continue;
            }
            let sum = numbers.by_day.entry(*day).or_default();
            sum.set += more.set;
            sum.unset += more.unset;
            sum.users = sum.users.saturating_add_signed(more.users);
            numbers.dirty.insert(*day);
        }
    }

    /// The last `days` days, newest first.
    pub fn report(
        &self,
        kind: KindNo,
        target_type: Option<TypeNo>,
        days: u32,
        today: u32,
    ) -> Vec<Daily> {
        let numbers = self.0.read();
        let day = |back| today.saturating_sub(back);
        let of = |day| {
            numbers.by_day.get(&DailyRef {
                kind,
                target_type,
                day,
            })
        };
        (0..days)
            .map(|back| {
                let DailyRecord { set, unset, users } = of(day(back)).copied().unwrap_or_default();
                Daily {
                    day: day(back),
                    set,
                    unset,
                    users,
                }
            })
            .collect()
    }

    /// What changed since this was last asked; `None` are days that nobody can ask for any more.
    pub fn take_changes(&self, today: u32) -> Vec<(DailyRef, Option<DailyRecord>)> {
        let mut numbers = self.0.write();
        let Numbers { by_day, dirty } = &mut *numbers;
        let mut changes: Vec<_> = dirty
            .drain()
            .filter_map(|day| Some((day, Some(*by_day.get(&day)?))))
            .collect();
        by_day.retain(|day, _| {
            let remembered = day.day + REMEMBERED_DAYS > today;
            if !remembered {
                changes.push((*day, None));
            }
            remembered
        });
        changes.sort_by_key(|(day, record)| (*day, record.is_some()));
        changes.dedup_by_key(|(day, _)| *day);
        changes
    }
}
