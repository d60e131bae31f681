//! Many messages as one: how a batch is written and read.
//!
//! What is written is a batch, compressed with LZ4 where that makes it shorter. What is read may be
//! anybody's: whatever is not understood comes out as one message with the bytes as they are, and is
//! refused as an event.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use pulsar::message::Payload;
use pulsar::message::proto::{
    CommandMessage, CompressionType, KeyValue, MessageMetadata, SingleMessageMetadata,
};

use super::place::{Entry, MAX_BATCH_MESSAGES, is_left};
use crate::parts::Single;
use crate::port::Received;

/// The longest batch that is unpacked, in bytes. Nobody sends longer ones: brokers take 5 MB, and a
/// hundredfold of what comes is not of this world.
const MAX_UNPACKED_BYTES: usize = 64 << 20;

/// Writes messages as one. They are at most [`MAX_BATCH_MESSAGES`].
pub fn write(messages: &[Single], producer_name: &str, sequence_id: u64) -> Payload {
    let mut plain = Vec::new();
    for message in messages {
        let property = |(key, value): &(&str, String)| KeyValue {
            key: (*key).to_owned(),
            value: value.clone(),
        };
        let metadata = SingleMessageMetadata {
            properties: message.properties.iter().map(property).collect(),
            partition_key: Some(message.key_text()),
            // Limits keep it far below.
            payload_size: i32::try_from(message.payload.len()).unwrap_or(i32::MAX),
            ..SingleMessageMetadata::default()
        };
        plain.put_u32(u32::try_from(metadata.encoded_len()).unwrap_or(u32::MAX));
        plain.extend_from_slice(&metadata.encode_to_vec());
        plain.extend_from_slice(&message.payload);
    }
    // A clock before 1970 is none.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut metadata = MessageMetadata {
        producer_name: producer_name.to_owned(),
        sequence_id,
        publish_time: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        num_messages_in_batch: i32::try_from(messages.len()).ok(),
        partition_key: messages.first().map(Single::key_text),
        ..MessageMetadata::default()
    };
    let packed = lz4_flex::block::compress(&plain);
    let data = if packed.len() < plain.len() {
        metadata.compression = Some(CompressionType::Lz4.into());
        metadata.uncompressed_size = u32::try_from(plain.len()).ok();
        packed
    } else {
        plain
    };
    Payload { metadata, data }
}

/// A message that was read: its place in the batch, and itself.
type Read = (u32, Bytes, Bytes);

/// How many of a consumer's permits an entry costs. Brokers count what it says of itself, also where
/// it is not understood here; whoever counts less waits for what they do not owe.
pub fn cost(payload: &Payload) -> u32 {
    let said = payload.metadata.num_messages_in_batch.unwrap_or(1);
    u32::try_from(said).unwrap_or(1).max(1)
}

/// Reads an entry: how many messages it has, and those that are left of it. Nothing where its place
/// does not fit a position.
pub fn read(
    bus_partition: u32,
    command: &CommandMessage,
    payload: Payload,
) -> Option<(u32, Vec<Received>)> {
    let entry = Entry::of(&command.message_id);
    let published_at_millis = payload.metadata.publish_time;
    let messages = unpack(&payload).unwrap_or_else(|| {
        let key = payload.metadata.partition_key.clone().unwrap_or_default();
        vec![(0, key.into(), payload.data.into())]
    });
    let size = u32::try_from(messages.len()).ok()?;
    let left = messages.into_iter();
    let left = left.filter(|(at, ..)| is_left(&command.ack_set, *at));
    let received = left.map(|(at, key, payload)| {
        Some(Received {
            bus_partition,
            position: entry.position(at)?,
            published_at_millis,
            key,
            payload,
            attempt: 0,
            delivery: 0,
        })
    });
    Some((size, received.collect::<Option<_>>()?))
}

/// The messages of a batch, if it is one that is understood.
fn unpack(payload: &Payload) -> Option<Vec<Read>> {
    let metadata = &payload.metadata;
    let count = u32::try_from(metadata.num_messages_in_batch?).ok()?;
    if count == 0 || count > MAX_BATCH_MESSAGES || !metadata.encryption_keys.is_empty() {
        return None;
    }
    let compression = CompressionType::try_from(metadata.compression.unwrap_or_default());
    let mut rest: Bytes = match compression.ok()? {
        CompressionType::None => payload.data.clone().into(),
        CompressionType::Lz4 => {
            let bytes = usize::try_from(metadata.uncompressed_size?).ok()?;
            let bytes = Some(bytes).filter(|bytes| *bytes <= MAX_UNPACKED_BYTES)?;
            lz4_flex::block::decompress(&payload.data, bytes)
                .ok()?
                .into()
        }
        _ => return None,
    };
    let mut messages = Vec::with_capacity(count as usize);
    for at in 0..count {
        let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let metadata = split(&mut rest, length)?;
        let metadata = SingleMessageMetadata::decode(metadata).ok()?;
        let length = usize::try_from(metadata.payload_size).ok()?;
        let message = split(&mut rest, length)?;
        let key = metadata.partition_key.unwrap_or_default();
        messages.push((at, key.into(), message));
    }
    Some(messages)
}

fn split(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use pulsar::message::proto::MessageIdData;

    use super::*;

    fn single(number: usize, payload: &str) -> Single {
        Single {
            key: number.to_string().into(),
            payload: payload.to_owned().into(),
            properties: vec![("reason", "none".to_owned())],
        }
    }

    fn command(ack_set: &[i64]) -> CommandMessage {
        CommandMessage {
            message_id: MessageIdData {
                ledger_id: 5,
                entry_id: 6,
                ..MessageIdData::default()
            },
            ack_set: ack_set.to_vec(),
            ..CommandMessage::default()
        }
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        for payload in ["", "x", &"long ".repeat(1_000)] {
            let messages: Vec<_> = (0..MAX_BATCH_MESSAGES as usize)
                .map(|number| single(number, payload))
                .collect();
            let written = write(&messages, "producer", 7);
            let (size, received) = read(3, &command(&[]), written).unwrap();
            assert_eq!(
                (size as usize, received.len()),
                (messages.len(), messages.len())
            );
            for (number, event) in received.iter().enumerate() {
                assert_eq!(
                    (event.bus_partition, &event.payload[..]),
                    (3, payload.as_bytes())
                );
                assert_eq!(event.key, number.to_string());
                assert_eq!(
                    Entry::at(event.position),
                    (
                        Entry {
                            ledger: 5,
                            entry: 6
                        },
                        number as u32
                    )
                );
            }
        }
    }

    #[test]
    fn what_is_done_of_a_batch_does_not_come_again() {
        let messages: Vec<_> = (0..4).map(|number| single(number, "x")).collect();
        let (size, received) = read(0, &command(&[0b1010]), write(&messages, "p", 0)).unwrap();
        let keys: Vec<_> = received.iter().map(|event| &event.key[..]).collect();
        assert_eq!((size, keys), (4, vec![&b"1"[..], &b"3"[..]]));
    }

    #[test]
    fn what_is_not_understood_comes_as_it_is() {
        let good = write(&[single(0, &"long ".repeat(1_000))], "p", 0);
        let with = |change: &dyn Fn(&mut Payload)| {
            let mut payload = good.clone();
            change(&mut payload);
            payload
        };
        let bad = [
            with(&|p| p.metadata.num_messages_in_batch = None),
            with(&|p| p.metadata.num_messages_in_batch = Some(0)),
            with(&|p| p.metadata.num_messages_in_batch = Some(-1)),
            with(&|p| p.metadata.num_messages_in_batch = Some(2)),
            with(&|p| p.metadata.num_messages_in_batch = Some(1_025)),
            with(&|p| p.metadata.uncompressed_size = Some(u32::MAX)),
            with(&|p| p.metadata.uncompressed_size = Some(3)),
            with(&|p| p.metadata.compression = Some(CompressionType::Snappy.into())),
            with(&|p| p.metadata.compression = None),
            with(&|p| p.data.truncate(10)),
            with(&|p| p.data.clear()),
        ];
        for payload in bad {
            let said = payload.metadata.num_messages_in_batch;
            assert_eq!(cost(&payload), said.map_or(1, |said| said.max(1) as u32));
            let (size, received) = read(0, &command(&[]), payload.clone()).unwrap();
            assert_eq!(
                (size, &received[0].payload[..]),
                (1, &payload.data[..]),
                "{payload:?}"
            );
        }
    }

    #[test]
    fn a_batch_is_unpacked_up_to_its_longest() {
        let mut payload = write(&[single(0, &"long ".repeat(1_000))], "p", 0);
        for (bytes, is_read) in [(MAX_UNPACKED_BYTES, true), (MAX_UNPACKED_BYTES + 1, false)] {
            // What it says; it may be less.
            payload.metadata.uncompressed_size = u32::try_from(bytes).ok();
            assert_eq!(unpack(&payload).is_some(), is_read, "{bytes}");
        }
    }
}
