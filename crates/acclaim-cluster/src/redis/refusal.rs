//! What a server says instead of an answer, and what is certain after it.

use redis::{ErrorKind, ServerErrorKind};

use super::address::Address;
use super::error::RedisError;

/// What came instead of an answer.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The server does not know the script; it did nothing.
    NoScript,
    /// Another server has the slot; this one did nothing.
    Moved(Address),
    /// It did nothing, and may do it in a moment, or another server may.
    NotNow(RedisError),
    /// It may have been carried out.
    Unknown(RedisError),
    /// It will be refused again. The error says whether anything was done.
    Final(RedisError),
}

/// Codes of refusals that come before anything is done, beyond those that the client library
/// knows. Within a script they come at its first write, and a script's first write is its first
/// effect.
const NOTHING_DONE_CODES: [&str; 3] = [
    // Too few replicas, see min-replicas-to-write.
    "NOREPLICAS",
    // The disk is full or failed.
    "MISCONF",
    // Another script runs and does not end.
    "BUSY",
];

impl Refusal {
    /// Judges what the server itself said.
    pub fn of_server(address: &Address, error: &redis::RedisError) -> Self {
        let failed = || RedisError::Unavailable {
            address: address.to_string(),
            reason: error.to_string(),
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Server(ServerErrorKind::Moved) => {
                match error.redirect_node().and_then(|(to, _)| Address::parse(to)) {
                    // One that does not know its own name means the name that it was asked by.
                    Some(to) if to.host.is_empty() => Self::Moved(Address {
                        host: address.host.clone(),
                        ..to
                    }),
                    Some(to) => Self::Moved(to),
                    None => Self::NotNow(failed()),
                }
            }
            // The slot is on its way to another server and its keys lie in two places: what is not
            // in one of them is not therefore cold, so the partition waits until it has arrived.
            ErrorKind::Server(
                ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown,
            ) => Self::NotNow(failed()),
            _ => match error.code() {
                Some("OOM") => Self::Final(RedisError::OutOfMemory {
                    address: address.to_string(),
                }),
                Some(code) if NOTHING_DONE_CODES.contains(&code) => Self::NotNow(failed()),
                _ => Self::Final(RedisError::Server {
                    address: address.to_string(),
                    reason: error.to_string(),
                }),
            },
        }
    }
}

impl From<Refusal> for RedisError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotNow(error) | Refusal::Unknown(error) | Refusal::Final(error) => error,
            Refusal::NoScript => Self::Unavailable {
                address: "redis".to_owned(),
                reason: "it forgets its scripts as soon as they are loaded".to_owned(),
            },
            Refusal::Moved(to) => Self::Unavailable {
                address: to.to_string(),
                reason: "the servers do not agree on who has the slot".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(line: &[u8]) -> Refusal {
        let asked = Address::parse("a:1").unwrap();
        let value = redis::parse_redis_value(line).unwrap();
        let redis::Value::ServerError(error) = value else {
            panic!("{value:?} is no error");
        };
        Refusal::of_server(&asked, &error.into())
    }

    /// What the server says of itself, and what is known of the outcome.
    #[test]
    fn certain_refusals_are_told_from_the_others() {
        for line in [
            b"-ASK 7 b:2\r\n".as_slice(),
            b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
            b"-CLUSTERDOWN The cluster is down\r\n",
            b"-LOADING Redis is loading the dataset in memory\r\n",
            b"-READONLY You can't write against a read only replica.\r\n",
            b"-MASTERDOWN Link with MASTER is down\r\n",
            b"-NOREPLICAS Not enough good replicas to write.\r\n",
            b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
            b"-BUSY Redis is busy running a script.\r\n",
        ] {
            let refusal = judge(line);
            assert!(matches!(refusal, Refusal::NotNow(_)), "{refusal:?}");
            assert!(RedisError::from(refusal).nothing_done());
        }
        let oom = judge(b"-OOM command not allowed\r\n");
        assert!(matches!(&oom, Refusal::Final(_)), "{oom:?}");
        assert!(RedisError::from(oom).nothing_done());
        for line in [
            b"-ERR Error running script\r\n".as_slice(),
            b"-WRONGTYPE Operation against a key\r\n",
        ] {
            let refusal = judge(line);
            assert!(matches!(refusal, Refusal::Final(_)), "{refusal:?}");
            assert!(!RedisError::from(refusal).nothing_done());
        }
    }

    #[test]
    fn a_moved_slot_names_its_server() {
        for (line, to) in [
            (b"-MOVED 7 b:2\r\n".as_slice(), "b:2"),
            (b"-MOVED 7 :2\r\n", "a:2"),
            (b"-MOVED 7 fe80::1:2\r\n", "[fe80::1]:2"),
        ] {
            match judge(line) {
                Refusal::Moved(address) => assert_eq!(address.to_string(), to),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            judge(b"-NOSCRIPT No matching script\r\n"),
            Refusal::NoScript
        ));
    }
}
