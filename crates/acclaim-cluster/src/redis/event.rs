//! What an entry of a partition's journal says, as `decide.lua` writes it:
//! `<target> <user> <+ or -><rev of an import> <count>[ <origin>]`.
//!
//! Ids have no spaces, so a space parts the fields; the origin is last and may hold anything. The
//! rev is written for imports alone: otherwise it is the entry's own place.

use std::net::IpAddr;

use acclaim_core::{Id, Origin, Rev};

use super::keys::TargetName;

/// A transition as it stands in the journal, by the ledger's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEvent {
    /// Its place, strictly increasing in its partition.
    pub seq: Rev,
    /// The target and kind.
    pub target: TargetName,
    /// Who acted.
    pub user: Id,
    /// Whether the edge is active now.
    pub active: bool,
    /// The edge's rev now. Differs from `seq` for imports only.
    pub rev: Rev,
    /// The target's count after it.
    pub count: u64,
    /// Where it came from.
    pub origin: Option<Origin>,
}

/// An entry that no version of this program wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal entry {id}: {text:?} is not a transition")]
pub struct Unreadable {
    /// The entry's id.
    pub id: String,
    /// What it holds.
    pub text: String,
}

impl JournalEvent {
    /// Reads an entry with its id, `<seq>-0`.
    ///
    /// # Errors
    /// [`Unreadable`] when it is none.
    pub fn parse(id: &str, text: &[u8]) -> Result<Self, Unreadable> {
        read(id, text).ok_or_else(|| Unreadable {
            id: id.to_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }
}

fn read(id: &str, text: &[u8]) -> Option<JournalEvent> {
    let seq = Rev(id.strip_suffix("-0")?.parse().ok()?);
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.splitn(5, ' ');
    let target = TargetName::parse(fields.next()?)?;
    let user = Id::parse(fields.next()?).ok()?;
    let state = fields.next()?;
    let (active, at) = match state.split_at_checked(1)? {
        ("+", at) => (true, at),
        ("-", at) => (false, at),
        _ => return None,
    };
    let rev = if at.is_empty() {
        seq
    } else {
        Rev(at.parse().ok()?)
    };
    let count = fields.next()?.parse().ok()?;
    let origin = match fields.next() {
        Some(text) => Some(read_origin(text)?),
        None => None,
    };
    Some(JournalEvent {
        seq,
        target,
        user,
        active,
        rev,
        count,
        origin,
    })
}

/// `<address or nothing> <device or nothing>`; the device may have spaces.
#[must_use]
pub fn origin_text(origin: &Origin) -> String {
    let address = origin.ip_address.map(|ip| ip.to_string());
    let device = origin.device_type.as_deref();
    format!(
        "{} {}",
        address.unwrap_or_default(),
        device.unwrap_or_default()
    )
}

fn read_origin(text: &str) -> Option<Origin> {
    let (address, device) = text.split_once(' ')?;
    let ip_address: Option<IpAddr> = match address {
        "" => None,
        address => Some(address.parse().ok()?),
    };
    let device_type = (!device.is_empty()).then(|| device.into());
    Some(Origin {
        device_type,
        ip_address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Option<JournalEvent> {
        JournalEvent::parse("17-0", text.as_bytes()).ok()
    }

    #[test]
    fn a_plain_transition_has_the_rev_of_its_place() {
        let event = event("0:3:a:b 77 + 5").unwrap();
        assert_eq!((event.seq, event.rev, event.count), (Rev(17), Rev(17), 5));
        assert_eq!((event.active, event.user), (true, Id::Number(77)));
        assert_eq!(event.target.to_string(), "0:3:a:b");
    }

    #[test]
    fn an_import_has_its_own() {
        let event = event("0:3:1 u -9 0").unwrap();
        assert_eq!((event.active, event.rev), (false, Rev(9)));
    }

    #[test]
    fn origins_read_back() {
        for (ip_address, device_type) in [
            (None, None),
            (Some("::1".parse().unwrap()), None),
            (None, Some("my old  phone ".into())),
            (Some("10.0.0.1".parse().unwrap()), Some("ios".into())),
        ] {
            let origin = Origin {
                device_type,
                ip_address,
            };
            let text = format!("0:3:1 u + 1 {}", origin_text(&origin));
            assert_eq!(event(&text).unwrap().origin, Some(origin));
        }
    }

    #[test]
    fn what_is_no_transition_is_refused() {
        for text in [
            "",
            "0:3:1 u",
            "0:3:1 u * 1",
            "0:3:1 u + x",
            "0:3 u + 1",
            "0:3:1 u + 1 nowhere",
        ] {
            assert_eq!(event(text), None, "{text:?}");
        }
        assert!(JournalEvent::parse("17-1", b"0:3:1 u + 1").is_err());
        assert!(JournalEvent::parse("17-0", &[0xff]).is_err());
    }
}
