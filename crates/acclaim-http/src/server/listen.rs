//! Which addresses a server without authentication may listen on.

use std::net::SocketAddr;

/// A listen address that others could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} can be reached from other machines, and there is no authentication: anybody could write as any user. Listen on a loopback address such as 127.0.0.1:7700, and put whatever authenticates in front of it"
)]
pub struct RefusedAddress(pub SocketAddr);

/// Allows loopback addresses only, as long as there is no authentication.
///
/// # Errors
/// [`RefusedAddress`], which says why.
pub fn allowed_without_auth(address: SocketAddr) -> Result<SocketAddr, RefusedAddress> {
    if address.ip().to_canonical().is_loopback() {
        Ok(address)
    } else {
        Err(RefusedAddress(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_allowed() {
        let allowed = |text: &str| allowed_without_auth(text.parse().unwrap()).is_ok();
        assert!(allowed("127.0.0.1:0"));
        assert!(allowed("127.3.2.1:7700"));
        assert!(allowed("[::1]:7700"));
        assert!(allowed("[::ffff:127.0.0.1]:7700"));
        for text in [
            "0.0.0.0:7700",
            "[::]:7700",
            "192.168.0.1:80",
            "[2001:db8::1]:1",
        ] {
            assert!(!allowed(text), "{text}");
        }
    }
}
