//! Request ids: the caller's where it is one, else one of our own.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderValue;

/// The longest id taken from a caller, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Makes ids that differ within this process and, by a random start, between processes.
#[derive(Debug)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(rand::random()))
    }

    /// The caller's id if it is 1–64 bytes of `[A-Za-z0-9._:-]`, else a new one.
    pub(crate) fn take(&self, given: Option<&HeaderValue>) -> HeaderValue {
        match given {
            Some(value) if is_request_id(value.as_bytes()) => value.clone(),
            _ => self.make(),
        }
    }

    fn make(&self) -> HeaderValue {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let mut text = [0u8; 16];
        for (place, digit) in text.iter_mut().enumerate() {
            let nibble = (number >> (60 - 4 * place)) & 0xf;
            // Below 16, so inside the table.
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        // Hexadecimal digits are a header value; the other arm cannot occur.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
    }
}

fn is_request_id(bytes: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    (1..=MAX_REQUEST_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_kept_inside_the_grammar() {
        let ids = RequestIds::new();
        let take = |text: &str| {
            let given = HeaderValue::from_str(text).unwrap();
            ids.take(Some(&given)) == given
        };
        assert!(take("a.B_9:-"));
        assert!(take(&"a".repeat(64)));
        assert!(!take(&"a".repeat(65)));
        assert!(!take("a b"));
        assert!(!take(""));
        assert_ne!(ids.take(None), ids.take(None));
        assert_eq!(ids.take(None).len(), 16);
    }
}
