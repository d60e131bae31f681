//! What the server is set to, and so what an acknowledgement survives. Read, never changed.

use std::collections::BTreeMap;

use crate::error::{OpenError, TopicAt};

/// The first version whose groups know how many events they have read.
const MIN_VERSION: u32 = 7;

/// What a server says of itself. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `7.0.15`
    version: Option<String>,
    /// `standalone`, `cluster`, `sentinel`
    mode: Option<String>,
    /// `master`, `slave`
    role: Option<String>,
    /// Whether there is an append-only file.
    append_only: Option<bool>,
    /// When it is flushed: `always`, `everysec`, `no`.
    append_fsync: Option<String>,
    /// What goes when the memory is full.
    eviction: Option<String>,
}

impl Settings {
    /// Of the answers to `INFO` and to `CONFIG GET appendfsync`, which is often forbidden.
    pub fn read(info: &str, config: &BTreeMap<String, String>) -> Self {
        let told = |name: &str| {
            let mut lines = info.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().to_owned())
        };
        Self {
            version: told("redis_version"),
            mode: told("redis_mode"),
            role: told("role"),
            append_only: match told("aof_enabled").as_deref() {
                Some("1") => Some(true),
                Some("0") => Some(false),
                _ => None,
            },
            append_fsync: config.get("appendfsync").cloned(),
            eviction: told("maxmemory_policy"),
        }
    }

    /// Refuses a server that cannot be a bus.
    pub fn allow(&self, at: &TopicAt) -> Result<(), OpenError> {
        let why = self.wrong();
        let at = at.clone();
        why.map_or(Ok(()), |why| Err(OpenError::Other { at, why }))
    }

    fn wrong(&self) -> Option<String> {
        if let Some(version) = &self.version {
            let major = version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok());
            if major.is_some_and(|major: u32| major < MIN_VERSION) {
                return Some(format!(
                    "it is Redis {version}; the bus on Redis Streams needs {MIN_VERSION}.0"
                ));
            }
        }
        match self.mode.as_deref() {
            None | Some("standalone") => {}
            Some(mode) => {
                return Some(format!(
                    "it is a Redis in the mode {mode}; the bus on Redis Streams is one server, or \
                     the master that Sentinels know"
                ));
            }
        }
        if self.role.as_deref() == Some("slave") {
            return Some("it is a replica, which takes no events; name its master".to_owned());
        }
        let policy = self.eviction.as_deref();
        let policy = policy.filter(|policy| policy.starts_with("allkeys-"))?;
        Some(format!(
            "its maxmemory-policy is {policy}, with which whole topics go when its memory is full; \
             set noeviction, or one of those that begin with volatile-"
        ))
    }

    /// What an acknowledgement survives, in words, and whether that is less than one may think.
    fn guarantee(&self) -> (&'static str, bool) {
        match (self.append_only, self.append_fsync.as_deref()) {
            (Some(true), Some("always")) => (
                "a crash of the Redis server or its machine loses nothing",
                false,
            ),
            // While a flush is under way the file is not written either, for up to two seconds.
            (Some(true), Some("everysec")) => (
                "a crash of its machine loses up to two seconds, and so may a crash of the Redis \
                 process while its disk is slow (appendfsync everysec)",
                false,
            ),
            (Some(true), Some(_)) => (
                "a crash of the Redis process loses nothing, a crash of its machine what its system \
                 had not written (appendfsync no)",
                true,
            ),
            (Some(true), None) => (
                "a crash of the Redis server or its machine loses up to two seconds, or more: it does \
                 not tell its appendfsync",
                true,
            ),
            (Some(false), _) => (
                "a crash of Redis loses what was published, and where every group stands: it keeps no \
                 append-only file (appendonly no)",
                true,
            ),
            (None, _) => (
                "what a crash of Redis loses is unknown: it does not tell its settings",
                true,
            ),
        }
    }

    /// Says what an acknowledgement survives.
    pub fn say(&self, at: &TopicAt) {
        match self.guarantee() {
            (words, true) => tracing::warn!("{at}: acknowledged by its answer: {words}"),
            (words, false) => tracing::info!("{at}: acknowledged by its answer: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(info: &str) -> String {
        let settings = Settings::read(info, &BTreeMap::new());
        settings.wrong().unwrap_or_default()
    }

    #[test]
    fn servers_that_cannot_be_a_bus_are_refused() {
        let good = "redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\n\
                    maxmemory_policy:noeviction\r\n";
        assert_eq!(wrong(good), "");
        assert_eq!(wrong(""), "");
        assert_eq!(wrong("maxmemory_policy:volatile-lru"), "");
        assert!(wrong("redis_version:6.2.14").contains("6.2.14"));
        assert_eq!(wrong("redis_version:10.0.0"), "");
        assert!(wrong("redis_mode:cluster").contains("mode cluster"));
        assert!(wrong("role:slave").contains("replica"));
        assert!(wrong("maxmemory_policy:allkeys-lfu").contains("allkeys-lfu"));
    }

    #[test]
    fn every_combination_has_its_words() {
        let mut words = std::collections::BTreeMap::new();
        for append in ["aof_enabled:1", "aof_enabled:0", ""] {
            for flush in [Some("always"), Some("everysec"), Some("no"), None] {
                let flush = flush.map(|flush| ("appendfsync".to_owned(), flush.to_owned()));
                let settings = Settings::read(append, &flush.into_iter().collect());
                let (text, warns) = settings.guarantee();
                words.insert(text, warns);
            }
        }
        assert_eq!(words.len(), 6);
        assert_eq!(words.values().filter(|warns| !**warns).count(), 2);
    }
}
