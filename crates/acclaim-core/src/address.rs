//! Where a server is: a host and a port, as URLs and servers write them.
//!
//! An error says which host of a list is wrong and shows none of its text: in a URL that is written
//! wrong it may be a piece of a password.

use std::fmt;

/// A host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is wrong with a list of hosts. They are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A host is missing.
    #[error("host {0} of the list is empty")]
    Host(usize),
    /// A port is none.
    #[error("the port of host {0} is not a number from 1 to 65535")]
    Port(usize),
}

impl Address {
    /// Reads `host:port`, as a server writes it: what is behind the last colon is the port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// Reads `host[:port],host[:port]…`, as a URL has it. An IPv6 address stands in brackets.
    ///
    /// # Errors
    /// [`AddressError`] says which host is wrong.
    pub fn read_list(text: &str, default_port: u16) -> Result<Vec<Self>, AddressError> {
        let hosts = text.split(',').zip(1..);
        hosts
            .map(|(text, place)| read(place, text, default_port))
            .collect()
    }
}

fn read(place: usize, text: &str, default_port: u16) -> Result<Address, AddressError> {
    // An IPv6 address has colons of its own.
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(AddressError::Host(place));
    }
    let port = match port {
        None => default_port,
        Some(text) => match text.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(AddressError::Port(place)),
        },
    };
    let host = host.to_owned();
    Ok(Address { host, port })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            return write!(f, "[{host}]:{port}");
        }
        write!(f, "{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        let list = Address::read_list("a:1,b,[fe80::1]:3,[::1],10.0.0.1:65535", 9).unwrap();
        let written: Vec<_> = list.iter().map(Address::to_string).collect();
        assert_eq!(
            written,
            ["a:1", "b:9", "[fe80::1]:3", "[::1]:9", "10.0.0.1:65535"]
        );
        for address in list {
            assert_eq!(Address::parse(&address.to_string()), Some(address));
        }
    }

    #[test]
    fn an_error_says_which_host() {
        for (text, wrong) in [
            ("", AddressError::Host(1)),
            ("a,,b", AddressError::Host(2)),
            (":1", AddressError::Host(1)),
            ("[]:1", AddressError::Host(1)),
            ("a:", AddressError::Port(1)),
            ("a,b:0", AddressError::Port(2)),
            ("a:65536", AddressError::Port(1)),
            ("[::1]x", AddressError::Port(1)),
            ("::1", AddressError::Host(1)),
        ] {
            assert_eq!(Address::read_list(text, 9), Err(wrong), "{text}");
        }
        assert_eq!(Address::parse("a"), None);
        assert_eq!(Address::parse("a:x"), None);
    }
}
