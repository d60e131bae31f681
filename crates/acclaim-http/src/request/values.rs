//! Single values of bodies: how they are sent, and how they become the words of the core. Each
//! refusal names the value.

use std::fmt;
use std::net::IpAddr;

use acclaim_core::edge::MAX_DEVICE_BYTES;
use acclaim_core::port::Place;
use acclaim_core::{Id, TargetType};
use compact_str::CompactString;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An id in a body: a JSON number that is a `u64`, or a string of the id grammar.
pub(super) struct WireId(pub(super) Id);

impl<'de> Deserialize<'de> for WireId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = WireId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: a whole number from 0 to 18446744073709551615 or a string")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WireId, E> {
                Ok(WireId(Id::Number(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WireId, E> {
                let id = Id::parse(text);
                id.map(WireId)
                    .map_err(|error| E::custom(format_args!("the id {error}")))
            }
        }

        deserializer.deserialize_any(IdVisitor)
    }
}

/// A target type in a body.
pub(super) struct WireType(pub(super) TargetType);

impl<'de> Deserialize<'de> for WireType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TypeVisitor;

        impl Visitor<'_> for TypeVisitor {
            type Value = WireType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target type: a string of A-Z 0-9 _")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WireType, E> {
                let read = TargetType::parse(text);
                read.map(WireType)
                    .map_err(|error| E::custom(format_args!("the target type {error}")))
            }
        }

        deserializer.deserialize_str(TypeVisitor)
    }
}

/// What the client calls itself: at most [`MAX_DEVICE_BYTES`] of printable text.
pub(super) struct WireDevice(pub(super) CompactString);

impl<'de> Deserialize<'de> for WireDevice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        if text.is_empty() || text.len() > MAX_DEVICE_BYTES {
            let length = text.len();
            return Err(D::Error::custom(format_args!(
                "the device type has {length} bytes; it has 1 to {MAX_DEVICE_BYTES}"
            )));
        }
        match text.chars().find(|c| !is_printable(*c)) {
            Some(c) => Err(D::Error::custom(format_args!(
                "the device type has the character {c:?}, which cannot be printed"
            ))),
            None => Ok(Self(text)),
        }
    }
}

/// Not a control character, and not one that changes the direction or the look of other text.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An IPv4 or IPv6 address.
pub(super) struct WireAddress(pub(super) IpAddr);

impl<'de> Deserialize<'de> for WireAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        text.parse()
            .map(Self)
            .map_err(|_| D::Error::custom(format_args!("{text:?} is not an IP address")))
    }
}

/// An id as it is documented.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
#[schema(as = UserId, example = 42)]
#[allow(
    dead_code,
    reason = "it stands in the OpenAPI document for ids, which have their own code"
)]
pub(crate) enum UserIdSchema {
    /// A number up to 2^53 − 1.
    Number(u64),
    /// Anything else: 1–64 of `A-Z a-z 0-9 . _ : -`.
    Text(String),
}

/// Reads an optional field that, where it is there, must not be `null`.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The id of a notification in a body: as it came, or as a number.
pub(super) struct WirePlace(pub(super) Place);

impl<'de> Deserialize<'de> for WirePlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlaceVisitor;

        impl Visitor<'_> for PlaceVisitor {
            type Value = WirePlace;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a notification, as it came")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WirePlace, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WirePlace, E> {
                text.parse().map(WirePlace).map_err(|_| {
                    let shown: String = text.chars().take(40).collect();
                    E::custom(format_args!(
                        "{shown:?} is not the id of a notification; send one as it came"
                    ))
                })
            }
        }

        deserializer.deserialize_any(PlaceVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_cannot_be_printed_is_told_from_the_rest() {
        assert!("Android 15 (Pixel) – é".chars().all(is_printable));
        for c in ['\0', '\n', '\u{7f}', '\u{202e}', '\u{200b}', '\u{feff}'] {
            assert!(!is_printable(c), "{c:?}");
        }
    }
}
