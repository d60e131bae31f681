//! The endpoints of webhooks: where notifications are delivered, and how each endpoint stands.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::address::is_public;
use super::keys::GroupKey;
use super::record::{decode, encode};
use super::settings::WebhookLimits;
use crate::error::ReadError;
use crate::rev::Rev;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// Kinds, and target types, that an endpoint can name.
pub const MAX_FILTERS: usize = 64;
/// Characters of a failure that are kept.
const MAX_ERROR_CHARS: usize = 300;

/// Where notifications are delivered, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: CompactString,
    /// Where to.
    pub url: String,
    /// Of which kinds; none named means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<CompactString>>,
    /// About targets of which types; none named means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_types: Option<Vec<CompactString>>,
    /// What deliveries are signed with.
    pub secret: String,
    /// When it was made.
    pub created: Rev,
}

/// Why an endpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// A name outside its grammar.
    #[error("the name of a webhook is 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ -")]
    Name,
    /// Not a URL of ours.
    #[error("{0}")]
    Url(String),
    /// An address that deliveries may not go to.
    #[error(
        "{0} is not a public address; deliveries go there only where \
         webhooks.allow_private_addresses is true"
    )]
    Private(IpAddr),
    /// A kind that there is not.
    #[error("{0}")]
    Kind(String),
    /// A list that is empty or too long.
    #[error("{0} has 1 to {MAX_FILTERS} entries; leave it out to take all")]
    Filter(&'static str),
}

impl BadEndpoint {
    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Url(_) | Self::Private(_) => "url",
            Self::Kind(_) => "kinds",
            Self::Filter(name) => name,
        }
    }
}

/// Checks the name of an endpoint.
///
/// # Errors
/// [`BadEndpoint::Name`].
pub fn check_name(name: &str) -> Result<(), BadEndpoint> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        return Err(BadEndpoint::Name);
    }
    Ok(())
}

/// Reads the URL of an endpoint. Where it names an address, that must be one that may be reached;
/// what a name stands for is looked at when something is sent.
///
/// # Errors
/// [`BadEndpoint`].
pub fn read_url(text: &str, allow_private: bool) -> Result<Url, BadEndpoint> {
    let bad = |reason: &str| BadEndpoint::Url(format!("the URL {reason}"));
    if text.len() > MAX_URL_BYTES {
        return Err(bad("is longer than 2048 bytes"));
    }
    let url = Url::parse(text).map_err(|error| bad(&format!("cannot be read: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold a user name or a password"));
    }
    if url.fragment().is_some() {
        return Err(bad("must not hold a fragment (#)"));
    }
    let address = match url.host() {
        None => return Err(bad("names no host")),
        Some(Host::Domain(_)) => None,
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
    };
    match address {
        Some(address) if !allow_private && !is_public(address) => {
            Err(BadEndpoint::Private(address))
        }
        _ => Ok(url),
    }
}

impl Endpoint {
    /// An endpoint out of its record.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(record: &[u8]) -> Result<Self, ReadError> {
        decode(record)
    }

    /// Whether it wants to hear of this group.
    #[must_use]
    pub fn takes(&self, group: &GroupKey) -> bool {
        let named = |names: &Option<Vec<CompactString>>, name: &str| {
            names
                .as_ref()
                .is_none_or(|names| names.iter().any(|known| known == name))
        };
        named(&self.kinds, &group.kind)
            && named(&self.target_types, group.target.target_type.as_str())
    }
}

/// The last try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When.
    pub at: Rev,
    /// The status that was answered, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What was wrong, where something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How an endpoint stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Failures in a row.
    pub failures: u32,
    /// Pauses in a row.
    pub pauses: u32,
    /// Until when nothing is sent. There from the first pause until a delivery is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Rev>,
    /// Whether it said that it is gone (410). Nothing is sent until it is put again.
    #[serde(default)]
    pub disabled: bool,
    /// The last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Attempt>,
}

/// What an endpoint is in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Deliveries go to it.
    Active,
    /// It failed too often in a row; one delivery is tried when the pause is over.
    Paused,
    /// It answered 410.
    Disabled,
}

impl State {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

impl Standing {
    /// A standing out of its record.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(record: &[u8]) -> Result<Self, ReadError> {
        decode(record)
    }

    /// Its record.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        encode(self)
    }

    /// What it is in a word.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.disabled, self.paused_until) {
            (true, _) => State::Disabled,
            (false, Some(_)) => State::Paused,
            (false, None) => State::Active,
        }
    }

    /// A delivery was taken.
    pub fn succeeded(&mut self, now: Rev, status: u16) {
        *self = Self {
            last: Some(Attempt {
                at: now,
                status: Some(status),
                error: None,
            }),
            ..Self::default()
        };
    }

    /// A delivery was not taken.
    pub fn failed(&mut self, now: Rev, status: Option<u16>, error: &str, limits: &WebhookLimits) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Attempt {
            at: now,
            status,
            error: Some(error.chars().take(MAX_ERROR_CHARS).collect()),
        });
        if self.failures >= limits.pause_after_failures {
            let doubled = 1u64.checked_shl(self.pauses).unwrap_or(u64::MAX);
            let seconds = limits
                .pause_seconds
                .saturating_mul(doubled)
                .min(limits.retry_max_seconds);
            self.pauses = self.pauses.saturating_add(1);
            self.paused_until = Some(Rev(now.0.saturating_add(seconds.saturating_mul(1_000_000))));
        }
    }

    /// It said that it is gone.
    pub fn gone(&mut self, now: Rev) {
        self.disabled = true;
        self.last = Some(Attempt {
            at: now,
            status: Some(410),
            error: Some("it answered 410: it is gone".to_owned()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_grammar() {
        for name in ["a", "A.b_c-9", &"a".repeat(64)] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", &"a".repeat(65), "a b", "a/b", "ä", "a\0"] {
            assert_eq!(check_name(name), Err(BadEndpoint::Name), "{name:?}");
        }
    }

    #[test]
    fn urls_lead_to_public_addresses_only() {
        for url in [
            "https://example.org/hook?a=b",
            "http://1.1.1.1:8080/",
            "https://[2606:4700::1]/",
        ] {
            assert!(read_url(url, false).is_ok(), "{url}");
        }
        let private = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0/",
            "https://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://[fe80::1]/",
        ];
        for url in private {
            assert!(
                matches!(read_url(url, false), Err(BadEndpoint::Private(_))),
                "{url}"
            );
            assert!(read_url(url, true).is_ok(), "{url}");
        }
        let long = format!("https://example.org/{}", "a".repeat(2_048));
        let bad = [
            "",
            "example.org",
            "ftp://example.org/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://user@example.org/",
            "https://user:pass@example.org/",
            "https://",
            "https://example.org/#a",
            "gopher://a/",
            &long,
        ];
        for url in bad {
            assert!(
                matches!(read_url(url, true), Err(BadEndpoint::Url(_))),
                "{url}"
            );
        }
    }

    #[test]
    fn an_endpoint_that_keeps_failing_is_paused_for_longer_and_longer() {
        let limits = WebhookLimits::default();
        let mut standing = Standing::default();
        for _ in 1..limits.pause_after_failures {
            standing.failed(Rev(0), None, "no", &limits);
            assert_eq!(standing.state(), State::Active);
        }
        let mut pauses = Vec::new();
        for _ in 0..10 {
            standing.failed(Rev(0), Some(500), "no", &limits);
            pauses.push(standing.paused_until.unwrap().0 / 1_000_000);
        }
        assert_eq!(
            pauses,
            [60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 14_400, 14_400]
        );
        assert_eq!(standing.state(), State::Paused);
        standing.succeeded(Rev(1), 204);
        assert_eq!(standing.state(), State::Active);
        standing.gone(Rev(2));
        assert_eq!(standing.state(), State::Disabled);
    }
}
