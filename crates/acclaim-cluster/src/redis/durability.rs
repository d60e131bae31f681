//! What the servers of Redis are set to, and so what an acknowledgement by Redis survives.
//!
//! The settings are read, never changed. The judgement is pure.

use std::collections::BTreeMap;

use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::topology::{pairs, text};

/// When the append-only file is flushed to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before the answer.
    Always,
    /// Once a second.
    EverySecond,
    /// When the system likes.
    Never,
}

/// What goes when the memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// Nothing; writes are refused.
    None,
    /// `volatile-lru`: of what carries a TTL, what was not used for long.
    VolatileLru,
    /// `volatile-lfu`: of what carries a TTL, what is seldom used.
    VolatileLfu,
    /// `volatile-random`: of what carries a TTL, anything.
    VolatileRandom,
    /// `volatile-ttl`: of what carries a TTL, what ends soonest.
    VolatileTtl,
    /// Also what carries no TTL.
    AllKeys,
}

/// What one server is set to. `None`: it does not say (`CONFIG` is often forbidden).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// `7.0.15`
    pub version: Option<String>,
    /// Whether there is an append-only file.
    pub append_only: Option<bool>,
    /// When it is flushed.
    pub append_fsync: Option<Flush>,
    /// Without so many connected replicas a write is refused.
    pub min_replicas_to_write: Option<u64>,
    /// Bytes; 0 for no limit.
    pub max_memory_bytes: Option<u64>,
    /// What goes when they are full.
    pub eviction: Option<Eviction>,
    /// Replicas that are connected.
    pub replicas: Option<u64>,
}

/// A setting with which acknowledged writes would be lost, or nothing could be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeSettings {
    /// Unpersisted edges could be evicted.
    #[error(
        "{server} has an allkeys-… policy for maxmemory-policy and would evict edges that the ledger \
         does not have yet; set volatile-lru, volatile-lfu, volatile-random or noeviction"
    )]
    EvictsUnpersisted {
        /// The server.
        server: String,
    },
    /// The tokens of loads would be evicted before anything else.
    #[error(
        "{server} has maxmemory-policy volatile-ttl, which evicts what lives shortest first: the \
         tokens of loads, so that nothing could be loaded; set volatile-lru, volatile-lfu, \
         volatile-random or noeviction"
    )]
    EvictsTokens {
        /// The server.
        server: String,
    },
}

impl ServerSettings {
    /// Refuses what would lose acknowledged writes.
    ///
    /// Edges carry a TTL only while the ledger has them, so every `volatile-…` policy keeps the
    /// others. What else carries a TTL is the tokens of loads (5 s) and notes of who wrote lately
    /// (60 s): losing one costs a repeated load or a read that does not wait for the caller's own
    /// write. `volatile-lru`, `volatile-lfu` and `volatile-random` take one of these now and then;
    /// `volatile-ttl` takes them before all others. An unknown policy is not refused.
    ///
    /// # Errors
    /// [`UnsafeSettings`].
    pub fn check(&self, server: &str) -> Result<(), UnsafeSettings> {
        let server = server.to_owned();
        match self.eviction {
            Some(Eviction::AllKeys) => Err(UnsafeSettings::EvictsUnpersisted { server }),
            Some(Eviction::VolatileTtl) => Err(UnsafeSettings::EvictsTokens { server }),
            Some(
                Eviction::None
                | Eviction::VolatileLru
                | Eviction::VolatileLfu
                | Eviction::VolatileRandom,
            )
            | None => Ok(()),
        }
    }

    /// What an acknowledgement by this server's answer survives, in words.
    #[must_use]
    pub fn guarantee(&self) -> String {
        let crash = match (self.append_only, self.append_fsync) {
            (Some(true), Some(Flush::Always)) => {
                "a crash of the Redis server or its machine loses nothing"
            }
            // While a flush is under way Redis puts off writing the file, for two seconds at most.
            (Some(true), Some(Flush::EverySecond)) => {
                "a crash of the Redis server or its machine loses up to two seconds"
            }
            (Some(true), Some(Flush::Never)) => {
                "a crash of the Redis process loses nothing, a crash of its machine what its system \
                 had not written"
            }
            (Some(true), None) => {
                "a crash of the Redis server or its machine loses up to two seconds, or more: it does \
                 not tell its appendfsync"
            }
            (Some(false), _) => {
                "a crash of Redis loses what the ledger did not have yet: it keeps no append-only file"
            }
            (None, _) => "what a crash of Redis loses is unknown: it does not tell its settings",
        };
        let failover = match (self.min_replicas_to_write, self.replicas) {
            (Some(0) | None, Some(0)) => "it has no replica to take over".to_owned(),
            (Some(0), _) => {
                "a failover may lose what had not reached a replica; nothing bounds it, as \
                 min-replicas-to-write is 0"
                    .to_owned()
            }
            (Some(replicas), _) => format!(
                "a failover may lose what had not reached a replica; writes are refused with fewer \
                 than {replicas} connected"
            ),
            (None, _) => "what a failover loses is unknown".to_owned(),
        };
        format!("{crash}; {failover}")
    }
}

/// The guarantees of all servers in one text: one where they are alike, else the servers by name.
#[must_use]
pub fn guarantee(servers: &[(String, ServerSettings)]) -> String {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (server, settings) in servers {
        alike.entry(settings.guarantee()).or_default().push(server);
    }
    if alike.len() == 1 {
        return alike.into_keys().collect();
    }
    let each = alike
        .iter()
        .map(|(guarantee, servers)| format!("{}: {guarantee}", servers.join(", ")));
    each.collect::<Vec<_>>().join(". ")
}

impl Redis {
    /// What each master is set to, by its address. Settings that one does not tell stay unknown.
    ///
    /// # Errors
    /// [`RedisError`] when no master is known or one does not answer.
    pub async fn settings(&self) -> Result<Vec<(String, ServerSettings)>, RedisError> {
        let mut info = redis::cmd("INFO");
        let mut config = redis::cmd("CONFIG");
        info.arg("EVERYTHING");
        config.arg("GET").arg("*");
        let (infos, configs) = tokio::join!(self.ask_masters(&info), self.ask_masters(&config));
        if infos.is_empty() {
            return Err(RedisError::Unavailable {
                address: "redis".to_owned(),
                reason: "no master is known yet".to_owned(),
            });
        }
        let mut all = Vec::new();
        for (server, told) in infos {
            let info = text(&told?).unwrap_or_default();
            let config = configs.iter().find(|(address, _)| *address == server);
            let config = match config {
                Some((_, Ok(config))) => config.clone(),
                // Forbidden, or a server that has no such command: unknown.
                Some((_, Err(RedisError::Server { .. }))) | None => Value::Nil,
                Some((_, Err(error))) => return Err(error.clone()),
            };
            all.push((server.to_string(), read(&info, &config)));
        }
        Ok(all)
    }
}

fn read(info: &str, config: &Value) -> ServerSettings {
    let told = |name: &str| {
        let mut lines = info.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    };
    let config: BTreeMap<_, _> = pairs(config).unwrap_or_default().into_iter().collect();
    let set = |name: &str| config.get(name).map(String::as_str);
    let number = |text: &str| text.parse().ok();
    // INFO tells some of it too, where CONFIG is forbidden.
    let told_policy = told("maxmemory_policy");
    let told_memory = told("maxmemory");
    let told_append = told("aof_enabled");
    ServerSettings {
        version: told("redis_version"),
        append_only: match set("appendonly").or(told_append.as_deref()) {
            Some("yes" | "1") => Some(true),
            Some("no" | "0") => Some(false),
            _ => None,
        },
        append_fsync: match set("appendfsync") {
            Some("always") => Some(Flush::Always),
            Some("everysec") => Some(Flush::EverySecond),
            Some("no") => Some(Flush::Never),
            _ => None,
        },
        min_replicas_to_write: set("min-replicas-to-write").and_then(number),
        max_memory_bytes: set("maxmemory").or(told_memory.as_deref()).and_then(number),
        eviction: match set("maxmemory-policy").or(told_policy.as_deref()) {
            Some("noeviction") => Some(Eviction::None),
            Some("volatile-lru") => Some(Eviction::VolatileLru),
            Some("volatile-lfu") => Some(Eviction::VolatileLfu),
            Some("volatile-random") => Some(Eviction::VolatileRandom),
            Some("volatile-ttl") => Some(Eviction::VolatileTtl),
            Some(policy) if policy.starts_with("allkeys-") => Some(Eviction::AllKeys),
            _ => None,
        },
        replicas: told("connected_slaves").as_deref().and_then(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Value {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pairs = settings
            .iter()
            .map(|(name, value)| (bulk(name), bulk(value)));
        Value::Map(pairs.collect())
    }

    #[test]
    fn settings_are_read() {
        let info = "redis_version:7.0.15\r\nmaxmemory:0\r\nconnected_slaves:2\r\n";
        let config = config(&[
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("min-replicas-to-write", "1"),
            ("maxmemory", "1024"),
            ("maxmemory-policy", "volatile-lfu"),
        ]);
        let expected = ServerSettings {
            version: Some("7.0.15".to_owned()),
            append_only: Some(true),
            append_fsync: Some(Flush::EverySecond),
            min_replicas_to_write: Some(1),
            max_memory_bytes: Some(1_024),
            eviction: Some(Eviction::VolatileLfu),
            replicas: Some(2),
        };
        assert_eq!(read(info, &config), expected);
    }

    #[test]
    fn where_config_is_forbidden_info_tells_a_part_and_the_rest_is_unknown() {
        let info = "aof_enabled:1\r\nmaxmemory:7\r\nmaxmemory_policy:allkeys-lru\r\n";
        let settings = read(info, &Value::Nil);
        assert_eq!(settings.append_only, Some(true));
        assert_eq!(settings.append_fsync, None);
        assert_eq!(settings.max_memory_bytes, Some(7));
        assert_eq!(settings.eviction, Some(Eviction::AllKeys));
        assert_eq!(read("", &Value::Nil), ServerSettings::default());
        let unknown = ServerSettings::default().guarantee();
        assert!(unknown.contains("unknown"), "{unknown}");
    }

    #[test]
    fn policies_that_would_evict_too_much_are_refused() {
        let check = |eviction| {
            let settings = ServerSettings {
                eviction,
                ..ServerSettings::default()
            };
            settings.check("a:1").map_err(|refused| refused.to_string())
        };
        for eviction in [
            None,
            Some(Eviction::None),
            Some(Eviction::VolatileLru),
            Some(Eviction::VolatileLfu),
            Some(Eviction::VolatileRandom),
        ] {
            assert_eq!(check(eviction), Ok(()), "{eviction:?}");
        }
        let refused = check(Some(Eviction::AllKeys)).unwrap_err();
        assert!(refused.contains("a:1") && refused.contains("volatile-lru"));
        assert!(check(Some(Eviction::VolatileTtl)).is_err());
    }

    #[test]
    fn every_combination_has_its_words() {
        let mut words = std::collections::BTreeSet::new();
        let flushes = [Flush::Always, Flush::EverySecond, Flush::Never];
        for append_fsync in flushes.map(Some).into_iter().chain([None]) {
            for append_only in [Some(true), Some(false), None] {
                let settings = ServerSettings {
                    append_only,
                    append_fsync,
                    ..ServerSettings::default()
                };
                words.insert(settings.guarantee());
            }
        }
        assert_eq!(words.len(), 6);
    }

    #[test]
    fn servers_that_are_alike_are_told_once() {
        let one = ServerSettings::default();
        let other = ServerSettings {
            append_only: Some(false),
            ..ServerSettings::default()
        };
        let server = |name: &str, settings: &ServerSettings| (name.to_owned(), settings.clone());
        let alike = guarantee(&[server("a:1", &one), server("b:1", &one)]);
        assert_eq!(alike, one.guarantee());
        let differing = guarantee(&[server("a:1", &one), server("b:1", &other)]);
        assert!(differing.contains("a:1: ") && differing.contains("b:1: "));
    }
}
