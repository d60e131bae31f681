//! Writing an event. The order of the fields is fixed, so that one event has one text.

use std::net::IpAddr;

use acclaim_core::{Id, Rev};
use serde::{Serialize, Serializer};

use super::{DATA_SCHEMA, Event, Numbers, SEQUENCE_DIGITS, SOURCE_PREFIX, TYPE_PREFIX, VERSION};

/// The attributes of CloudEvents, then the extensions, then the data.
#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: Shown<acclaim_core::port::Place>,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    time: String,
    subject: String,
    datacontenttype: &'static str,
    dataschema: &'static str,
    partitionkey: Shown<u16>,
    sequence: Sequence,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Sequence>,
    epoch: u32,
    life: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numbers: Option<Shown<Numbers>>,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    kind: &'a str,
    user_id: &'a Id,
    target_type: &'a str,
    target_id: Shown<&'a Id>,
    active: bool,
    rev: u64,
    count: u64,
    partition: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
}

/// A value as its text.
pub(super) struct Shown<T>(pub T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A seq with leading zeros.
struct Sequence(Rev);

impl Serialize for Sequence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = self.0.0;
        serializer.collect_str(&format_args!("{number:0SEQUENCE_DIGITS$}"))
    }
}

impl Event {
    /// Its JSON.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let origin = self.origin.as_ref();
        let target_type = self.target.target_type.as_str();
        let envelope = Envelope {
            specversion: "1.0",
            id: Shown(self.place),
            source: format!("{SOURCE_PREFIX}{}", self.store),
            event_type: format!("{TYPE_PREFIX}{VERSION}"),
            time: self.rev.time().to_string(),
            subject: format!("{}/{}", self.kind, self.target),
            datacontenttype: "application/json",
            dataschema: DATA_SCHEMA,
            partitionkey: Shown(self.place.partition),
            sequence: Sequence(self.place.seq),
            previous: self.previous.map(Sequence),
            epoch: self.epoch,
            life: self.life,
            turn: self.turn,
            numbers: self.numbers.map(Shown),
            data: Data {
                kind: &self.kind,
                user_id: &self.user,
                target_type,
                target_id: Shown(&self.target.id),
                active: self.active,
                rev: self.rev.0,
                count: self.count,
                partition: self.place.partition,
                device_type: origin.and_then(|origin| origin.device_type.as_deref()),
                ip_address: origin.and_then(|origin| origin.ip_address),
            },
        };
        // Texts and numbers always serialize.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}
