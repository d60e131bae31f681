//! Tokens of users: JSON Web Tokens signed with a secret that server and tests share (RFC 7519,
//! HS256).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// At least as long as the hash.
const SECRET: &[u8] = b"known to every test and to nobody else";

/// The secret as a server is told of it.
pub(super) fn secret_url() -> String {
    format!("data:;base64,{}", STANDARD.encode(SECRET))
}

/// The token of a user.
pub(super) fn of(user: &str) -> String {
    signed(user, SECRET)
}

/// A token of the user that another secret signed.
pub(super) fn forged(user: &str) -> String {
    signed(user, b"another secret, which is as long as it has to be")
}

fn signed(user: &str, secret: &[u8]) -> String {
    let claims = serde_json::json!({ "sub": user }).to_string();
    let parts = [r#"{"alg":"HS256"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = parts.join(".");
    let mut mac = match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(error) => panic!("HMAC takes keys of any length: {error}"),
    };
    mac.update(text.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{text}.{signature}")
}
