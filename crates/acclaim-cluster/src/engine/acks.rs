//! Which acknowledgement a write gets, and whether the servers can give it.
//!
//! A kind is configured with one, a request may ask for one; the stronger of the two counts. What a
//! kind is configured with is held against the servers once, when the engine opens: what cannot be
//! given at all is refused then, and what would survive less than its name says is logged.

use acclaim_core::error::WriteError;
use acclaim_core::port::Ack;
use acclaim_core::{Kind, Kinds};

use crate::redis::durability::{Flush, ServerSettings};

/// A kind is configured with an acknowledgement that the servers cannot give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kinds.{kind}.ack is {:?}, and {reason}", .ack.name())]
pub struct ImpossibleAck {
    /// The kind's name.
    pub kind: String,
    /// What it is configured with.
    pub ack: Ack,
    /// Why it cannot be, and what can.
    pub reason: String,
}

const NO_BUS: &str = "no bus is configured; ask for redis, replica or ledger";

/// Refuses what cannot be given to a request.
pub fn refuse(ack: Ack, has_bus: bool) -> Result<(), WriteError> {
    match ack {
        Ack::Default | Ack::Redis | Ack::Replica | Ack::Ledger => Ok(()),
        Ack::Bus if has_bus => Ok(()),
        Ack::Bus => Err(WriteError::AckNotPossible {
            asked: "bus",
            reason: NO_BUS,
        }),
    }
}

/// Refuses a kind whose acknowledgement the servers cannot give. `is_single`: Redis is one server,
/// to which a replica does not come by itself.
pub fn check(
    kinds: &Kinds,
    servers: &[(String, ServerSettings)],
    is_single: bool,
    has_bus: bool,
) -> Result<(), ImpossibleAck> {
    let impossible = |kind: &Kind, reason: String| ImpossibleAck {
        kind: kind.name.to_string(),
        ack: kind.ack,
        reason,
    };
    for (_, kind) in kinds.iter() {
        match kind.ack {
            Ack::Bus if !has_bus => return Err(impossible(kind, NO_BUS.to_owned())),
            Ack::Replica if is_single => {
                let alone = servers.iter().find(|(_, told)| told.replicas == Some(0));
                if let Some((server, _)) = alone {
                    let reason =
                        format!("{server} has no replica; connect one, or ask for redis or ledger");
                    return Err(impossible(kind, reason));
                }
            }
            Ack::Default | Ack::Redis | Ack::Replica | Ack::Ledger | Ack::Bus => {}
        }
    }
    Ok(())
}

/// How each acknowledgement that a kind may be given by default survives less than its name says.
pub fn weaknesses(kinds: &Kinds, servers: &[(String, ServerSettings)]) -> Vec<String> {
    let mut found = Vec::new();
    for (_, kind) in kinds.iter() {
        let weak = servers.iter().filter_map(|(server, settings)| {
            let why = weakness(kind.ack, settings)?;
            let name = match kind.ack {
                Ack::Default => Ack::Redis.name(),
                ack => ack.name(),
            };
            let kind = &kind.name;
            Some(format!(
                "writes of {kind} are acknowledged at {name:?}, and {server} {why}"
            ))
        });
        found.extend(weak);
    }
    found
}

fn weakness(ack: Ack, settings: &ServerSettings) -> Option<&'static str> {
    match ack {
        Ack::Default | Ack::Redis => match (settings.append_only, settings.append_fsync) {
            (Some(false), _) => {
                Some("keeps no append-only file: what the ledger does not have goes with a crash")
            }
            (Some(true), Some(Flush::EverySecond | Flush::Never)) => Some(
                "does not flush its append-only file before the answer: a crash of its machine \
                 loses what was not flushed",
            ),
            (None, _) => Some("does not tell what it keeps"),
            (Some(true), Some(Flush::Always) | None) => None,
        },
        Ack::Replica => match (settings.replicas, settings.min_replicas_to_write) {
            (Some(0), _) => Some("has no replica now: such writes are answered 504"),
            (_, Some(0)) => Some(
                "has min-replicas-to-write 0: it takes writes that no replica has, and answers \
                 them 504 only after they were decided",
            ),
            _ => None,
        },
        // The ledger's commit and the bus's acknowledgement are what they are.
        Ack::Ledger | Ack::Bus => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(ack: Ack) -> Kinds {
        let kind = Kind {
            ack,
            ..Kind::open("claps")
        };
        Kinds::new([kind]).unwrap()
    }

    fn server(replicas: u64) -> Vec<(String, ServerSettings)> {
        let settings = ServerSettings {
            replicas: Some(replicas),
            append_only: Some(true),
            append_fsync: Some(Flush::Always),
            min_replicas_to_write: Some(replicas),
            ..ServerSettings::default()
        };
        vec![("a:1".to_owned(), settings)]
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for ack in [Ack::Default, Ack::Redis, Ack::Ledger] {
            assert_eq!(
                check(&kinds(ack), &server(0), true, false),
                Ok(()),
                "{ack:?}"
            );
        }
        let refused = |ack, replicas, single| {
            let checked = check(&kinds(ack), &server(replicas), single, false);
            checked.map_err(|error| error.to_string())
        };
        let bus = refused(Ack::Bus, 1, false).unwrap_err();
        assert!(
            bus.contains("kinds.claps.ack is \"bus\"") && bus.contains("ledger"),
            "{bus}"
        );
        let alone = refused(Ack::Replica, 0, true).unwrap_err();
        assert!(alone.contains("a:1 has no replica"), "{alone}");
        assert_eq!(refused(Ack::Replica, 1, true), Ok(()));
        // One comes back by itself.
        assert_eq!(refused(Ack::Replica, 0, false), Ok(()));
        // One that does not tell may have some.
        let untold = [("a:1".to_owned(), ServerSettings::default())];
        assert_eq!(check(&kinds(Ack::Replica), &untold, true, false), Ok(()));
        assert_eq!(check(&kinds(Ack::Bus), &untold, true, true), Ok(()));
        assert!(refuse(Ack::Bus, false).is_err() && refuse(Ack::Bus, true).is_ok());
    }

    #[test]
    fn what_is_weaker_than_its_name_is_told() {
        let of = |ack, change: fn(&mut ServerSettings)| {
            let mut servers = server(1);
            change(&mut servers[0].1);
            let told = weaknesses(&kinds(ack), &servers);
            told.into_iter()
                .filter(|line| line.contains("claps"))
                .count()
        };
        assert_eq!(of(Ack::Redis, |_| {}), 0);
        assert_eq!(
            of(Ack::Redis, |s| s.append_fsync = Some(Flush::EverySecond)),
            1
        );
        assert_eq!(of(Ack::Default, |s| s.append_only = Some(false)), 1);
        assert_eq!(of(Ack::Redis, |s| s.append_only = None), 1);
        assert_eq!(of(Ack::Replica, |s| s.append_only = Some(false)), 0);
        assert_eq!(of(Ack::Replica, |s| s.min_replicas_to_write = Some(0)), 1);
        assert_eq!(of(Ack::Replica, |s| s.replicas = Some(0)), 1);
        assert_eq!(of(Ack::Ledger, |s| s.append_only = Some(false)), 0);
    }
}
