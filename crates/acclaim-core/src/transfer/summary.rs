//! What became of the lines of an import.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::edge::Transition;
use crate::kind::NotAllowed;

/// Rejections that a [`Summary`] shows; all are counted.
pub const MAX_REJECTIONS: usize = 100;

/// The longest detail of a rejection, in bytes. Details repeat what was sent, which may be long.
pub const MAX_DETAIL_BYTES: usize = 256;

/// Why a line was not taken: the codes of the HTTP contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCode {
    /// The line cannot be read, or a field is outside its grammar.
    BadRequest,
    /// No kind of that name.
    UnknownKind,
    /// The kind does not take that target type.
    TargetTypeNotAllowed,
    /// The kind does not allow oneself as the target.
    SelfNotAllowed,
}

impl RejectionCode {
    /// As the contract spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownKind => "unknown_kind",
            Self::TargetTypeNotAllowed => "target_type_not_allowed",
            Self::SelfNotAllowed => "self_not_allowed",
        }
    }
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Its number, from 1, every line of the file counted.
    pub line: u64,
    /// Why.
    pub code: RejectionCode,
    /// Why, in words; at most [`MAX_DETAIL_BYTES`].
    pub detail: Cow<'static, str>,
}

/// A line's fault before its number is known.
#[derive(Debug)]
pub(super) struct Fault {
    code: RejectionCode,
    detail: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(code: RejectionCode, detail: String) -> Self {
        let detail = Cow::Owned(shortened(detail));
        Self { code, detail }
    }

    pub(super) fn bad(detail: String) -> Self {
        Self::new(RejectionCode::BadRequest, detail)
    }

    pub(super) fn at(self, line: u64) -> Rejection {
        Rejection {
            line,
            code: self.code,
            detail: self.detail,
        }
    }
}

impl From<NotAllowed> for Fault {
    fn from(not_allowed: NotAllowed) -> Self {
        let code = match not_allowed {
            NotAllowed::TargetType { .. } => RejectionCode::TargetTypeNotAllowed,
            NotAllowed::Oneself { .. } => RejectionCode::SelfNotAllowed,
        };
        Self::new(code, not_allowed.to_string())
    }
}

fn shortened(mut text: String) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > MAX_DETAIL_BYTES {
        let end = text.floor_char_boundary(MAX_DETAIL_BYTES - ELLIPSIS.len());
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
    text
}

/// The answer to an import. `lines` is `set + unchanged + rejected`: neither empty lines nor a CSV
/// header count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Lines with an edge on them, or with what should have been one.
    pub lines: u64,
    /// Edges that were not there before.
    pub set: u64,
    /// Edges that were there, or that a newer transition stands against.
    pub unchanged: u64,
    /// Lines that were not taken.
    pub rejected: u64,
    /// The first [`MAX_REJECTIONS`] of them.
    pub rejections: Vec<Rejection>,
}

impl Summary {
    /// Counts the answers to a written batch.
    pub fn count_applied(&mut self, transitions: &[Transition]) {
        let set = transitions.iter().filter(|t| t.changed).count() as u64;
        let all = transitions.len() as u64;
        self.lines += all;
        self.set += set;
        self.unchanged += all - set;
    }

    /// Counts rejected lines and keeps the first.
    pub fn count_rejected(&mut self, rejections: &[Rejection]) {
        self.lines += rejections.len() as u64;
        self.rejected += rejections.len() as u64;
        let room = MAX_REJECTIONS.saturating_sub(self.rejections.len());
        let kept = rejections.iter().take(room).cloned();
        self.rejections.extend(kept);
    }

    /// Adds the summary of another part of the same import.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.set += other.set;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        let room = MAX_REJECTIONS.saturating_sub(self.rejections.len());
        self.rejections
            .extend(other.rejections.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_cut_at_a_character() {
        let long = shortened("é".repeat(MAX_DETAIL_BYTES));
        assert!(long.len() <= MAX_DETAIL_BYTES && long.ends_with('…'));
        let fits = "e".repeat(MAX_DETAIL_BYTES);
        assert_eq!(shortened(fits.clone()), fits);
    }

    #[test]
    fn the_first_rejections_are_kept_and_all_are_counted() {
        let rejections: Vec<Rejection> = (1..=60)
            .map(|line| Fault::bad("no".to_owned()).at(line))
            .collect();
        let mut summary = Summary::default();
        summary.count_rejected(&rejections);
        let mut sum = summary.clone();
        sum.add(summary);
        assert_eq!((sum.lines, sum.rejected), (120, 120));
        assert_eq!(sum.rejections.len(), MAX_REJECTIONS);
    }

    #[test]
    fn codes_are_spelled_as_in_the_contract() {
        use RejectionCode::*;
        for code in [
            BadRequest,
            UnknownKind,
            TargetTypeNotAllowed,
            SelfNotAllowed,
        ] {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.as_str()));
        }
    }
}
