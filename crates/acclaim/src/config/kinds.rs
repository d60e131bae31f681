//! `[kinds.NAME]`: the one section whose names are the user's own.

use std::collections::BTreeMap;

use acclaim_core::port::Ack;
use acclaim_core::{Kind, TargetType};

/// A key of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KindKey {
    TargetTypes,
    AllowSelf,
    Excludes,
    Ack,
}

impl KindKey {
    pub(super) const ALL: [Self; 4] = [
        Self::TargetTypes,
        Self::AllowSelf,
        Self::Excludes,
        Self::Ack,
    ];

    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TargetTypes => "target_types",
            Self::AllowSelf => "allow_self",
            Self::Excludes => "excludes",
            Self::Ack => "ack",
        }
    }

    pub(super) fn allowed(self) -> &'static str {
        match self {
            Self::TargetTypes => {
                "a list of target types, each 1 to 32 of A-Z 0-9 _, such as [\"POST\", \"COMMENT\"] \
                 (in the environment: POST,COMMENT; empty takes any)"
            }
            Self::AllowSelf => "true or false",
            Self::Excludes => {
                "a list of names of kinds, such as [\"likes\"] (in the environment: likes,claps)"
            }
            Self::Ack => "one of redis, replica, ledger, bus, or an empty text",
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::TargetTypes => "Which target types it takes. An empty list takes any.",
            Self::AllowSelf => "Whether users may do it to themselves.",
            Self::Excludes => {
                "Kinds that a set of this one unsets on the same target, in the same transition. \
                 Holds both ways."
            }
            Self::Ack => {
                "Of the cluster engine: how safe its writes are when they are answered, \
                 `redis` (what an empty text means), `replica` or `ledger`. A request may ask for \
                 more by `Acclaim-Ack`, not for less. What the servers cannot give is refused at \
                 start."
            }
        }
    }
}

/// The kinds as they are being read.
#[derive(Default)]
pub(super) struct Loading(BTreeMap<String, Kind>);

impl Loading {
    /// Notes that there is a kind of this name, whatever its keys say.
    pub(super) fn name(&mut self, name: &str) -> &mut Kind {
        self.0.entry(name.to_owned()).or_insert_with(|| match name {
            "follows" => Kind::follows(),
            "likes" => Kind::likes(),
            other => Kind::open(other),
        })
    }

    /// Sets a key from the file; false when the value is none that it takes.
    pub(super) fn set_toml(&mut self, kind: &str, key: KindKey, value: &toml::Value) -> bool {
        match (key, value) {
            (KindKey::AllowSelf, toml::Value::Boolean(on)) => {
                self.name(kind).allow_self = *on;
                true
            }
            (KindKey::TargetTypes | KindKey::Excludes, toml::Value::Array(items)) => {
                let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                items.is_some_and(|items| self.set_list(kind, key, &items))
            }
            (KindKey::Ack, toml::Value::String(name)) => self.set_ack(kind, name),
            _ => false,
        }
    }

    fn set_ack(&mut self, kind: &str, name: &str) -> bool {
        let ack = match name {
            "" => Some(Ack::Default),
            name => Ack::of_name(name),
        };
        let kind = self.name(kind);
        kind.ack = ack.unwrap_or_default();
        ack.is_some()
    }

    /// Sets a key from the environment, where lists are joined by commas.
    pub(super) fn set_text(&mut self, kind: &str, key: KindKey, value: &str) -> bool {
        if key == KindKey::AllowSelf {
            let on = value.parse();
            return on.is_ok_and(|on| self.set_toml(kind, key, &toml::Value::Boolean(on)));
        }
        if key == KindKey::Ack {
            return self.set_ack(kind, value);
        }
        let items = value.split(',').map(str::trim);
        let items: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
        self.set_list(kind, key, &items)
    }

    fn set_list(&mut self, kind: &str, key: KindKey, items: &[&str]) -> bool {
        let kind = self.name(kind);
        if key == KindKey::Excludes {
            kind.excludes = items.iter().map(|item| (*item).into()).collect();
            return true;
        }
        let types: Result<Vec<TargetType>, _> =
            items.iter().map(|item| TargetType::parse(item)).collect();
        let Ok(types) = types else { return false };
        kind.target_types = (!types.is_empty()).then_some(types);
        true
    }

    pub(super) fn end(self) -> Vec<Kind> {
        self.0.into_values().collect()
    }
}

/// Every key of the configured kinds with its value as TOML.
pub(super) fn listing(kinds: &[Kind]) -> Vec<(String, String)> {
    let lines = kinds.iter().flat_map(|kind| {
        KindKey::ALL.map(|key| {
            let value = match key {
                KindKey::AllowSelf => toml::Value::Boolean(kind.allow_self),
                KindKey::TargetTypes => {
                    let types = kind.target_types.iter().flatten();
                    list(types.map(TargetType::as_str))
                }
                KindKey::Excludes => list(kind.excludes.iter().map(|name| name.as_str())),
                KindKey::Ack => toml::Value::from(kind.ack.name()),
            };
            (
                format!("kinds.{}.{}", kind.name, key.name()),
                value.to_string(),
            )
        })
    });
    lines.collect()
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> toml::Value {
    toml::Value::Array(items.map(toml::Value::from).collect())
}
