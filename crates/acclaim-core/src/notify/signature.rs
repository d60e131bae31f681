//! Signatures of the Standard Webhooks specification.
//!
//! A secret is 32 random bytes, shown as `whsec_` and base64. What is signed is the id, the time
//! in seconds and the body, joined by dots; the header is `v1,` and base64 of HMAC-SHA256.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// The secret as it is shown.
#[must_use]
pub fn secret(random: &[u8; SECRET_BYTES]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(random))
}

/// The value of `webhook-signature`. `None` for what is no secret.
#[must_use]
pub fn sign(secret: &str, id: &str, seconds: u64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    Some(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let signed = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed.as_deref(), Some(expected));
    }

    #[test]
    fn a_secret_of_ours_signs_and_nonsense_does_not() {
        let secret = secret(&[7; SECRET_BYTES]);
        assert!(sign(&secret, "a", 1, b"b").is_some());
        assert_eq!(sign("abc", "a", 1, b"b"), None);
        assert_eq!(sign("whsec_!", "a", 1, b"b"), None);
    }
}
