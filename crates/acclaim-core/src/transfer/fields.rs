//! From the fields of a line to an op, checked by the rules of its kind.

use crate::edge::{Action, EdgeKey, Op};
use crate::id::Id;
use crate::kind::{KindId, Kinds};
use crate::limits;
use crate::rev::Rev;
use crate::target::{Target, TargetType};

use super::summary::{Fault, RejectionCode};

/// What lines have that do not say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The kind of a line without one.
    pub kind: Option<KindId>,
    /// The target type of a line without one.
    pub target_type: Option<TargetType>,
}

/// An id as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum RawId<'a> {
    Number(u64),
    Text(&'a str),
}

impl RawId<'_> {
    fn parse(self, field: &str) -> Result<Id, Fault> {
        match self {
            Self::Number(number) => Ok(Id::Number(number)),
            Self::Text(text) => Id::parse(text).map_err(|e| Fault::bad(format!("{field} {e}"))),
        }
    }
}

/// The fields of a line as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub kind: Option<&'a str>,
    pub user_id: Option<RawId<'a>>,
    pub target_type: Option<&'a str>,
    pub target_id: Option<RawId<'a>>,
    pub at: Option<&'a str>,
}

/// Which fields a line may lack because the caller gives them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pub kind: bool,
    pub target_type: bool,
}

/// Where the lines of a stream go.
pub(super) trait LineSink {
    /// A line that could be taken apart.
    fn fields(&mut self, line: u64, fields: &Fields<'_>);
    /// A line that could not.
    fn fault(&mut self, line: u64, fault: Fault);
}

/// Makes ops of fields. Keeps the last target type, since lines mostly repeat it.
#[derive(Debug)]
pub(super) struct Resolver {
    kinds: Kinds,
    defaults: Defaults,
    last_type: Option<TargetType>,
}

impl Resolver {
    pub(super) fn new(kinds: &Kinds, defaults: Defaults) -> Self {
        Self {
            kinds: kinds.clone(),
            defaults,
            last_type: None,
        }
    }

    pub(super) fn op(&mut self, fields: &Fields<'_>, now: Rev) -> Result<Op, Fault> {
        let kind = self.kind(fields.kind)?;
        let user = fields.user_id.ok_or_else(|| missing("userId"))?;
        let target_type = self.target_type(fields.target_type)?;
        let id = fields.target_id.ok_or_else(|| missing("targetId"))?;
        let edge = EdgeKey {
            kind,
            user: user.parse("userId")?,
            target: Target {
                target_type,
                id: id.parse("targetId")?,
            },
        };
        let at = fields.at.map(|text| time(text, now)).transpose()?;
        self.kinds.check(&edge)?;
        Ok(Op {
            at,
            ..Op::new(Action::Set, edge)
        })
    }

    fn kind(&self, name: Option<&str>) -> Result<KindId, Fault> {
        let Some(name) = name else {
            return self.defaults.kind.ok_or_else(|| missing("kind"));
        };
        self.kinds.find(name).ok_or_else(|| {
            let known: Vec<&str> = self.kinds.iter().map(|(_, k)| k.name.as_str()).collect();
            let detail = format!("there is no kind {name:?}, only {}", known.join(", "));
            Fault::new(RejectionCode::UnknownKind, detail)
        })
    }

    fn target_type(&mut self, name: Option<&str>) -> Result<TargetType, Fault> {
        let Some(name) = name else {
            let default = self.defaults.target_type.clone();
            return default.ok_or_else(|| missing("targetType"));
        };
        if let Some(last) = &self.last_type
            && last.as_str() == name
        {
            return Ok(last.clone());
        }
        let target_type =
            TargetType::parse(name).map_err(|e| Fault::bad(format!("targetType {e}")))?;
        self.last_type = Some(target_type.clone());
        Ok(target_type)
    }
}

fn missing(field: &str) -> Fault {
    Fault::bad(format!("{field} is missing"))
}

fn time(text: &str, now: Rev) -> Result<Rev, Fault> {
    let at = Rev::parse_time(text).map_err(|e| Fault::bad(format!("at {e}")))?;
    let latest = now.0.saturating_add(limits::MAX_IMPORT_AHEAD_MICROS);
    if at.0 > latest {
        let (seconds, now) = (limits::MAX_IMPORT_AHEAD_MICROS / 1_000_000, now.time());
        return Err(Fault::bad(format!(
            "at {text} is more than {seconds} s ahead of now, {now}"
        )));
    }
    Ok(at)
}
