//! Which server it is: a name that it keeps for as long as it forgets nothing.

use redis::Value;

use super::address::Address;
use super::topology::text;

/// A server, for as long as it forgets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// Changes with each start.
    run: String,
    /// Changes when a replica becomes a master.
    replication: String,
    /// Where it is.
    address: String,
}

impl ServerName {
    /// As the ledger has it.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{} {} {}", self.run, self.replication, self.address)
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Reads it back.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(str::to_owned);
        Some(Self {
            run: words.next()?,
            replication: words.next()?,
            address: words.next()?,
        })
    }

    /// Whether it is the same, under whatever address.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.run == other.run && self.replication == other.replication
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub name: ServerName,
    pub is_master: bool,
    /// What it was a replica of before it became a master.
    before: String,
}

impl Identity {
    /// Reads `INFO server` and `INFO replication`.
    pub fn read(address: &Address, server: &Value, replication: &Value) -> Option<Self> {
        let (server, replication) = (text(server)?, text(replication)?);
        let field = |info: &str, name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        Some(Self {
            name: ServerName {
                run: field(&server, "run_id:")?,
                replication: field(&replication, "master_replid:")?,
                address: address.to_string(),
            },
            is_master: field(&replication, "role:")? == "master",
            before: field(&replication, "master_replid2:").unwrap_or_default(),
        })
    }

    /// Whether it is this server, and a master.
    pub fn is_master_named(&self, name: &ServerName) -> bool {
        self.is_master && self.name.is(name)
    }

    /// Whether it follows another for certain: it was its replica, or is the same process, or is
    /// where that one was.
    pub fn follows(&self, other: &ServerName) -> bool {
        self.before == other.replication
            || self.name.run == other.run
            || self.name.address == other.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address {
            host: "a".to_owned(),
            port,
        }
    }

    fn identity(port: u16, run: &str, replication: &str, before: &str) -> Identity {
        let bulk = |text: String| Value::BulkString(text.into_bytes());
        let server = bulk(format!("# Server\r\nrun_id:{run}\r\n"));
        let replication = bulk(format!(
            "role:master\r\nmaster_replid:{replication}\r\nmaster_replid2:{before}\r\n"
        ));
        Identity::read(&address(port), &server, &replication).unwrap()
    }

    #[test]
    fn names_read_back() {
        let name = identity(1, "r", "a", "0").name;
        assert_eq!(ServerName::parse(&name.to_text()), Some(name.clone()));
        assert_eq!(ServerName::parse(""), None);
        assert!(
            name.is(&identity(2, "r", "a", "0").name),
            "a name is no address"
        );
        assert!(!name.is(&identity(1, "r", "b", "0").name));
    }

    #[test]
    fn followers_are_told_from_strangers() {
        let before = identity(1, "r", "a", "0").name;
        assert!(identity(2, "s", "b", "a").follows(&before), "its replica");
        assert!(identity(1, "s", "b", "0").follows(&before), "started again");
        assert!(
            identity(2, "r", "b", "0").follows(&before),
            "the same process"
        );
        assert!(!identity(2, "s", "b", "0").follows(&before));
        // The replica that took over is not followed by the master that it took over from.
        let after = identity(2, "s", "b", "a").name;
        assert!(!identity(1, "r", "a", "0").follows(&after));
    }
}
