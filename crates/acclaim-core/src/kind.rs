//! Kinds: the configured relations.
//!
//! `likes` and `follows` are always there; configuration adds others and may restrict the built-in
//! ones. A [`KindId`] is the kind's place in the registry of this process and is never stored.

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::edge::EdgeKey;
use crate::id::Id;
use crate::port::Ack;
use crate::target::{Target, TargetType};

/// The most kinds one server has.
pub const MAX_KINDS: usize = 64;
/// The longest name of a kind, in bytes.
pub const MAX_KIND_NAME_BYTES: usize = 32;

/// A kind's place in [`Kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindId(pub u8);

/// A configured relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in the path, `likes`.
    pub name: CompactString,
    /// Which target types it takes; none named means any.
    pub target_types: Option<Vec<TargetType>>,
    /// Whether a user may do it to themself.
    pub allow_self: bool,
    /// Names of the kinds that a set of this one unsets on the same target. Holds both ways.
    pub excludes: Vec<CompactString>,
    /// The weakest acknowledgement that its writes get; a request may ask for a stronger one.
    /// [`Ack::Default`] leaves it to the engine.
    pub ack: Ack,
}

impl Kind {
    /// A kind that takes any target and excludes nothing.
    #[must_use]
    pub fn open(name: &str) -> Self {
        Self {
            name: name.into(),
            target_types: None,
            allow_self: true,
            excludes: Vec::new(),
            ack: Ack::Default,
        }
    }

    /// The built-in `likes`: any target, oneself included.
    #[must_use]
    pub fn likes() -> Self {
        Self::open("likes")
    }

    /// The built-in `follows`: users only, not oneself.
    #[must_use]
    pub fn follows() -> Self {
        Self {
            target_types: Some(vec![TargetType::USER]),
            allow_self: false,
            ..Self::open("follows")
        }
    }

    /// Whether all of this kind's targets are users, so that it has mutual edges.
    #[must_use]
    pub fn is_between_users(&self) -> bool {
        self.target_types.as_deref() == Some(&[TargetType::USER])
    }

    /// Whether this kind takes targets of this type.
    #[must_use]
    pub fn takes(&self, target_type: &TargetType) -> bool {
        self.target_types
            .as_ref()
            .is_none_or(|types| types.contains(target_type))
    }
}

/// Why an edge is not allowed under its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The kind does not take this target type.
    #[error("{kind} takes targets of type {allowed}, not {given}")]
    TargetType {
        /// The kind's name.
        kind: CompactString,
        /// What it takes, joined by commas.
        allowed: String,
        /// What was given.
        given: TargetType,
    },
    /// The user and the target are one.
    #[error("user {user} cannot be their own target under {kind}")]
    Oneself {
        /// The kind's name.
        kind: CompactString,
        /// The user.
        user: Id,
    },
}

/// Why a set of kinds cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindsError {
    /// More than [`MAX_KINDS`].
    #[error("{0} kinds are configured; at most {MAX_KINDS} are possible")]
    TooMany(usize),
    /// A name outside `[a-z][a-z0-9-]*`, or one that is a route of its own.
    #[error(
        "{0:?} cannot be the name of a kind: use 1 to {MAX_KIND_NAME_BYTES} of a-z 0-9 -, a letter first, and none of the words that the API uses itself"
    )]
    Name(CompactString),
    /// An exclusion names a kind that is not there.
    #[error("kind {kind} excludes {excluded}, which is not a kind")]
    Unknown {
        /// The kind that excludes.
        kind: CompactString,
        /// What it names.
        excluded: CompactString,
    },
    /// A kind excludes itself.
    #[error("kind {0} excludes itself")]
    Itself(CompactString),
}

/// First path segments that the API uses itself, so that no kind may have them as its name.
const RESERVED: [&str; 12] = [
    "users",
    "targets",
    "jobs",
    "import",
    "export",
    "events",
    "audit",
    "hot-keys",
    "dead-letters",
    "consistency",
    "notifications",
    "webhooks",
];

/// The kinds of this server, by place and by name.
#[derive(Clone, Debug)]
pub struct Kinds {
    kinds: Vec<Kind>,
    exclusions: Vec<SmallVec<[KindId; 2]>>,
}

impl Kinds {
    /// The built-in kinds and `configured`, where one of the same name takes the built-in's place.
    ///
    /// # Errors
    /// [`KindsError`] for a bad name, an unknown exclusion or too many kinds.
    pub fn new(configured: impl IntoIterator<Item = Kind>) -> Result<Self, KindsError> {
        let mut kinds = vec![Kind::likes(), Kind::follows()];
        for kind in configured {
            if !is_kind_name(&kind.name) {
                return Err(KindsError::Name(kind.name));
            }
            match kinds.iter_mut().find(|known| known.name == kind.name) {
                Some(known) => *known = kind,
                None => kinds.push(kind),
            }
        }
        if kinds.len() > MAX_KINDS {
            return Err(KindsError::TooMany(kinds.len()));
        }
        let exclusions = exclusions(&kinds)?;
        Ok(Self { kinds, exclusions })
    }

    /// The kind of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<KindId> {
        let place = self.kinds.iter().position(|kind| kind.name == name)?;
        u8::try_from(place).ok().map(KindId)
    }

    /// The kind at this place.
    #[must_use]
    pub fn get(&self, id: KindId) -> &Kind {
        &self.kinds[usize::from(id.0)]
    }

    /// The kinds that a set of this one unsets.
    #[must_use]
    pub fn excluded_by(&self, id: KindId) -> &[KindId] {
        &self.exclusions[usize::from(id.0)]
    }

    /// The acknowledgement of a write to edges of these kinds that asks for `asked`: the strongest
    /// of what is asked for and what the kinds are configured to have.
    #[must_use]
    pub fn ack(&self, asked: Ack, kinds: impl IntoIterator<Item = KindId>) -> Ack {
        let of_kinds = kinds.into_iter().map(|kind| self.get(kind).ack);
        of_kinds.fold(asked, Ack::max)
    }

    /// All kinds with their places.
    pub fn iter(&self) -> impl Iterator<Item = (KindId, &Kind)> {
        self.kinds
            .iter()
            .enumerate()
            .map(|(place, kind)| (place_id(place), kind))
    }

    /// Checks an edge against the rules of its kind.
    ///
    /// # Errors
    /// [`NotAllowed`], saying which rule.
    pub fn check(&self, edge: &EdgeKey) -> Result<(), NotAllowed> {
        let kind = self.get(edge.kind);
        self.check_type(edge.kind, &edge.target)?;
        if !kind.allow_self && edge.target.is_user(&edge.user) {
            return Err(NotAllowed::Oneself {
                kind: kind.name.clone(),
                user: edge.user.clone(),
            });
        }
        Ok(())
    }

    /// Checks a target's type against the kind alone, for reads.
    ///
    /// # Errors
    /// [`NotAllowed::TargetType`].
    pub fn check_type(&self, id: KindId, target: &Target) -> Result<(), NotAllowed> {
        let kind = self.get(id);
        if kind.takes(&target.target_type) {
            return Ok(());
        }
        let allowed = kind.target_types.iter().flatten().map(TargetType::as_str);
        Err(NotAllowed::TargetType {
            kind: kind.name.clone(),
            allowed: allowed.collect::<Vec<_>>().join(", "),
            given: target.target_type.clone(),
        })
    }
}

impl Default for Kinds {
    fn default() -> Self {
        let kinds = vec![Kind::likes(), Kind::follows()];
        let exclusions = vec![SmallVec::new(); kinds.len()];
        Self { kinds, exclusions }
    }
}

fn place_id(place: usize) -> KindId {
    // `Kinds::new` refuses more than MAX_KINDS, which fits.
    KindId(u8::try_from(place).unwrap_or(u8::MAX))
}

fn is_kind_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX_KIND_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
        && !RESERVED.contains(&name)
}

fn exclusions(kinds: &[Kind]) -> Result<Vec<SmallVec<[KindId; 2]>>, KindsError> {
    let mut all = vec![SmallVec::<[KindId; 2]>::new(); kinds.len()];
    for (place, kind) in kinds.iter().enumerate() {
        for excluded in &kind.excludes {
            let other = kinds
                .iter()
                .position(|k| k.name == *excluded)
                .ok_or_else(|| KindsError::Unknown {
                    kind: kind.name.clone(),
                    excluded: excluded.clone(),
                })?;
            if other == place {
                return Err(KindsError::Itself(kind.name.clone()));
            }
            for (from, to) in [(place, other), (other, place)] {
                if !all[from].contains(&place_id(to)) {
                    all[from].push(place_id(to));
                }
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluding(name: &str, excluded: &str) -> Kind {
        Kind {
            excludes: vec![excluded.into()],
            ..Kind::open(name)
        }
    }

    #[test]
    fn the_strongest_acknowledgement_counts() {
        let kind = |name: &str, ack| Kind {
            ack,
            ..Kind::open(name)
        };
        let configured = [kind("claps", Ack::Ledger), kind("waves", Ack::Replica)];
        let kinds = Kinds::new(configured).unwrap();
        let of = |asked, names: &[&str]| {
            let ids = names.iter().map(|name| kinds.find(name).unwrap());
            kinds.ack(asked, ids)
        };
        assert_eq!(of(Ack::Default, &["likes"]), Ack::Default);
        assert_eq!(of(Ack::Ledger, &["likes"]), Ack::Ledger);
        assert_eq!(of(Ack::Redis, &["likes", "waves"]), Ack::Replica);
        assert_eq!(of(Ack::Replica, &["waves", "claps", "likes"]), Ack::Ledger);
        assert_eq!(of(Ack::Redis, &[]), Ack::Redis);
        for ack in Ack::NAMED {
            assert_eq!(Ack::of_name(ack.name()), Some(ack));
        }
        assert_eq!(Ack::of_name(""), None);
    }

    #[test]
    fn exclusion_holds_both_ways() {
        let kinds = Kinds::new([excluding("dislikes", "likes")]).unwrap();
        let likes = kinds.find("likes").unwrap();
        let dislikes = kinds.find("dislikes").unwrap();
        assert_eq!(kinds.excluded_by(likes), [dislikes]);
        assert_eq!(kinds.excluded_by(dislikes), [likes]);
    }

    #[test]
    fn bad_sets_are_refused() {
        let new = |kind: Kind| Kinds::new([kind]).map(|_| ()).unwrap_err();
        assert!(matches!(
            new(excluding("claps", "claps")),
            KindsError::Itself(_)
        ));
        assert!(matches!(
            new(excluding("claps", "boos")),
            KindsError::Unknown { .. }
        ));
        for name in ["", "Claps", "1st", "users", "a/b", &"a".repeat(33)] {
            assert!(
                matches!(new(Kind::open(name)), KindsError::Name(_)),
                "{name}"
            );
        }
        let many = (0..MAX_KINDS - 1).map(|n| Kind::open(&format!("k{n}")));
        assert_eq!(
            Kinds::new(many).map(|_| ()),
            Err(KindsError::TooMany(MAX_KINDS + 1))
        );
        let full = (0..MAX_KINDS - 2).map(|n| Kind::open(&format!("k{n}")));
        assert!(Kinds::new(full).is_ok());
    }

    #[test]
    fn follows_take_other_users_only() {
        let kinds = Kinds::default();
        let follows = kinds.find("follows").unwrap();
        let edge = |target| EdgeKey {
            kind: follows,
            user: Id::Number(1),
            target,
        };
        assert!(kinds.check(&edge(Target::user(Id::Number(2)))).is_ok());
        let oneself = kinds.check(&edge(Target::user(Id::Number(1))));
        assert!(matches!(oneself, Err(NotAllowed::Oneself { .. })));
        let post = Target {
            target_type: TargetType::parse("POST").unwrap(),
            id: Id::Number(2),
        };
        assert!(matches!(
            kinds.check(&edge(post)),
            Err(NotAllowed::TargetType { .. })
        ));
    }
}
