//! Where a check is, as a value and as text that can be kept with a job.

use std::fmt;
use std::str::FromStr;

use crate::ledger::codec::IdKey;
use crate::ledger::dictionary::{KindNo, TypeNo};
use crate::ledger::event::{EdgeRow, TargetRow, UserRow};

/// Where the next step of a check begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPlace(pub(super) Place);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind a target.
    Targets(Option<TargetRow>),
    /// Behind a user, after all targets.
    Users(Option<UserRow>),
    /// Behind an edge of a pair of kinds, after all users.
    Exclusions(usize, Option<EdgeRow>),
}

impl Default for CheckPlace {
    fn default() -> Self {
        Self(Place::Targets(None))
    }
}

/// A text that is no place of a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the place of a check; begin anew")]
pub struct BadPlace(String);

impl fmt::Display for CheckPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Targets(None) => write!(f, "targets"),
            Place::Targets(Some(row)) => {
                write!(f, "targets {} {} ", row.kind.0, row.target_type.0)?;
                hex(f, &row.target)
            }
            Place::Users(None) => write!(f, "users"),
            Place::Users(Some(row)) => {
                write!(f, "users {} ", row.kind.0)?;
                hex(f, &row.user)
            }
            Place::Exclusions(pair, None) => write!(f, "exclusions {pair}"),
            Place::Exclusions(pair, Some(row)) => {
                let (kind, target_type) = (row.kind.0, row.target_type.0);
                write!(f, "exclusions {pair} {kind} {target_type} ")?;
                hex(f, &row.target)?;
                write!(f, " ")?;
                hex(f, &row.user)
            }
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, key: &IdKey) -> fmt::Result {
    key.as_bytes()
        .iter()
        .try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl FromStr for CheckPlace {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let words: Vec<&str> = text.split(' ').collect();
        let place = read(&words).ok_or_else(|| BadPlace(text.to_owned()))?;
        Ok(Self(place))
    }
}

fn read(words: &[&str]) -> Option<Place> {
    let kind = |text: &str| text.parse().ok().map(KindNo);
    let type_no = |text: &str| text.parse().ok().map(TypeNo);
    Some(match words {
        ["targets"] => Place::Targets(None),
        ["targets", of_kind, of_type, target] => Place::Targets(Some(TargetRow {
            kind: kind(of_kind)?,
            target_type: type_no(of_type)?,
            target: key(target)?,
        })),
        ["users"] => Place::Users(None),
        ["users", of_kind, user] => Place::Users(Some(UserRow {
            kind: kind(of_kind)?,
            user: key(user)?,
        })),
        ["exclusions", pair] => Place::Exclusions(pair.parse().ok()?, None),
        ["exclusions", pair, of_kind, of_type, target, user] => {
            let (target, user) = (key(target)?, key(user)?);
            let edge = EdgeRow::new(kind(of_kind)?, type_no(of_type)?, target, user);
            Place::Exclusions(pair.parse().ok()?, Some(edge))
        }
        _ => return None,
    })
}

fn key(text: &str) -> Option<IdKey> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..text.len()).step_by(2);
    let bytes = bytes.map(|n| u8::from_str_radix(&text[n..n + 2], 16).ok());
    Some(IdKey::from_column(&bytes.collect::<Option<Vec<u8>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use acclaim_core::Id;

    #[test]
    fn a_place_reads_back() {
        let id = |text: &str| IdKey::new(&Id::parse(text).unwrap());
        let edge = EdgeRow::new(KindNo(1), TypeNo(7), id("300"), id("a-b"));
        let places = [
            Place::Targets(None),
            Place::Targets(Some(edge.target_row())),
            Place::Users(None),
            Place::Users(Some(UserRow {
                kind: KindNo(2),
                user: id("18446744073709551615"),
            })),
            Place::Exclusions(0, None),
            Place::Exclusions(3, Some(edge)),
        ];
        for place in places {
            let place = CheckPlace(place);
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in [
            "",
            "targets 1",
            "users 1 0",
            "users x 01",
            "exclusions",
            "users 1 zz",
        ] {
            assert!(bad.parse::<CheckPlace>().is_err(), "{bad}");
        }
    }
}
