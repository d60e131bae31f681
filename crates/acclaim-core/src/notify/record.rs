//! Records as JSON: what every record of this module has in common.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ReadError;
use crate::id::Id;
use crate::port::Place;

/// A record's bytes.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    // Records are structs of strings and numbers, which always serialize.
    serde_json::to_vec(record).unwrap_or_default()
}

/// A record out of its bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ReadError::Store(format!("a record of notifications: {error}")))
}

/// A record that may not be there.
pub(super) fn decode_found<T: DeserializeOwned>(
    found: Option<&Vec<u8>>,
) -> Result<Option<T>, ReadError> {
    found.map(|bytes| decode(bytes)).transpose()
}

/// Ids as text.
pub(super) mod id_text {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(id: &Id, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Id, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Places as text.
pub(super) mod place_text {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        place: &Place,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(place)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Place, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
