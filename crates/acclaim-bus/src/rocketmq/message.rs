//! How messages are written, many in one request, and read.

use bytes::{Buf, BufMut, Bytes};

use crate::parts::Single;
use crate::port::Received;

/// The property that has what a message is ordered by.
const KEYS: &str = "KEYS";
/// What parts the properties, and name and value.
const PROPERTY_END: char = '\u{2}';
const NAME_END: char = '\u{1}';
/// The longest properties that a message has: their length is told by two bytes, with a sign.
const MAX_PROPERTY_BYTES: usize = i16::MAX as usize;
/// The first four bytes behind the length of a stored message, and of one with a long topic.
const MAGIC: u32 = 0xDAA3_20A7;
const MAGIC_LONG_TOPIC: u32 = 0xDAA3_20AB;
/// The bits of a message whose hosts have IPv6 addresses.
const BORN_HOST_V6: u32 = 0x10;
const STORE_HOST_V6: u32 = 0x20;

/// Writes messages as the body of one request.
pub fn write(messages: &[Single]) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        let properties = properties(message);
        let length = 22 + message.payload.len() + properties.len();
        // Limits keep all of it far below.
        let short = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        body.put_u32(short(length));
        // Magic, checksum and flag are the broker's to write.
        body.put_bytes(0, 12);
        body.put_u32(short(message.payload.len()));
        body.put_slice(&message.payload);
        body.put_u16(u16::try_from(properties.len()).unwrap_or(0));
        body.put_slice(properties.as_bytes());
    }
    body
}

fn properties(message: &Single) -> String {
    let mut text = String::new();
    let key = [(KEYS, message.key_text())];
    for (name, value) in key.iter().chain(&message.properties) {
        let plain = |c: &char| !matches!(*c, NAME_END | PROPERTY_END);
        let value: String = value.chars().filter(plain).collect();
        if text.len() + name.len() + value.len() + 2 <= MAX_PROPERTY_BYTES {
            text.extend([name, &*String::from(NAME_END), &value]);
            text.push(PROPERTY_END);
        }
    }
    text
}

/// Reads stored messages; nothing where they are none.
pub fn read(bus_partition: u32, mut bytes: Bytes) -> Option<Vec<Received>> {
    let mut received = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.try_get_u32().ok()? as usize;
        let rest = length.checked_sub(4).filter(|rest| *rest <= bytes.len())?;
        received.push(read_one(bus_partition, bytes.split_to(rest))?);
    }
    Some(received)
}

fn read_one(bus_partition: u32, mut bytes: Bytes) -> Option<Received> {
    let magic = bytes.try_get_u32().ok()?;
    if magic != MAGIC && magic != MAGIC_LONG_TOPIC {
        return None;
    }
    // Checksum, queue, flag.
    skip(&mut bytes, 12)?;
    let position = bytes.try_get_u64().ok()?;
    // Where it stands in the log.
    skip(&mut bytes, 8)?;
    let flags = bytes.try_get_u32().ok()?;
    let host = |bit: u32| if flags & bit == 0 { 8 } else { 20 };
    // When and where it was born.
    skip(&mut bytes, 8 + host(BORN_HOST_V6))?;
    let stored_at = bytes.try_get_u64().ok()?;
    // Where it is stored, how often it was tried, its transaction.
    skip(&mut bytes, host(STORE_HOST_V6) + 4 + 8)?;
    let length = bytes.try_get_u32().ok()? as usize;
    let payload = split(&mut bytes, length)?;
    let topic = match magic {
        MAGIC => usize::from(bytes.try_get_u8().ok()?),
        _ => usize::from(bytes.try_get_u16().ok()?),
    };
    skip(&mut bytes, topic)?;
    let length = usize::from(bytes.try_get_u16().ok()?);
    let properties = split(&mut bytes, length)?;
    Some(Received {
        bus_partition,
        position,
        published_at_millis: stored_at,
        key: key(&properties),
        payload,
        attempt: 0,
        delivery: 0,
    })
}

fn key(properties: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(properties);
    let mut pairs = text
        .split(PROPERTY_END)
        .filter_map(|pair| pair.split_once(NAME_END));
    let key = pairs
        .find(|(name, _)| *name == KEYS)
        .map(|(_, key)| key.to_owned());
    key.unwrap_or_default().into()
}

fn skip(bytes: &mut Bytes, count: usize) -> Option<()> {
    split(bytes, count).map(|_| ())
}

fn split(bytes: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= bytes.len()).then(|| bytes.split_to(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as a broker stores it.
    fn stored(position: u64, payload: &[u8], v6: bool, long_topic: bool) -> Vec<u8> {
        let mut one = Vec::new();
        one.put_u32(if long_topic { MAGIC_LONG_TOPIC } else { MAGIC });
        one.put_bytes(0, 12);
        one.put_u64(position);
        one.put_u64(77);
        one.put_u32(if v6 { BORN_HOST_V6 | STORE_HOST_V6 } else { 0 });
        let host = if v6 { 20 } else { 8 };
        one.put_bytes(1, 8 + host);
        one.put_u64(1_234);
        one.put_bytes(1, host + 12);
        one.put_u32(payload.len() as u32);
        one.put_slice(payload);
        if long_topic {
            one.put_u16(1)
        } else {
            one.put_u8(1)
        }
        one.put_slice(b"t");
        let properties = "A\u{1}b\u{2}KEYS\u{1}17\u{2}";
        one.put_u16(properties.len() as u16);
        one.put_slice(properties.as_bytes());
        let mut all = (one.len() as u32 + 4).to_be_bytes().to_vec();
        all.extend(one);
        all
    }

    #[test]
    fn stored_messages_are_read() {
        let mut bytes = stored(3, b"one", false, false);
        bytes.extend(stored(4, b"", true, true));
        let received = read(2, bytes.clone().into()).unwrap();
        let read_back: Vec<_> = received
            .iter()
            .map(|e| (e.position, &e.payload[..]))
            .collect();
        assert_eq!(read_back, [(3, &b"one"[..]), (4, &b""[..])]);
        for event in &received {
            assert_eq!((event.bus_partition, &event.key[..]), (2, &b"17"[..]));
            assert_eq!(event.published_at_millis, 1_234);
        }
        let first = stored(3, b"one", false, false).len();
        for cut in (1..bytes.len()).filter(|cut| *cut != first) {
            assert_eq!(read(2, bytes.slice_to(cut)), None, "{cut}");
        }
        assert_eq!(read(0, vec![0xFF; 100].into()), None);
    }

    trait SliceTo {
        fn slice_to(&self, end: usize) -> Bytes;
    }

    impl SliceTo for Vec<u8> {
        fn slice_to(&self, end: usize) -> Bytes {
            self[..end].to_vec().into()
        }
    }

    #[test]
    fn what_is_written_says_its_lengths() {
        let single = Single {
            key: "17".into(),
            payload: Bytes::from_static(b"body"),
            properties: vec![("reason", "a\u{1}b\u{2}c".to_owned())],
        };
        let written = write(&[single.clone(), single]);
        let length = u32::from_be_bytes(*written.first_chunk().unwrap()) as usize;
        assert_eq!(written.len(), 2 * length);
        assert!(written[..length].ends_with("KEYS\u{1}17\u{2}reason\u{1}abc\u{2}".as_bytes()));
    }

    #[test]
    fn properties_that_do_not_fit_are_left_out() {
        let single = |bytes: usize| Single {
            key: "1".into(),
            payload: Bytes::new(),
            properties: vec![("r", "x".repeat(bytes))],
        };
        let room = MAX_PROPERTY_BYTES - "KEYS11".len() - 1 - "r".len() - 2;
        assert!(properties(&single(room)).contains('x'));
        assert!(!properties(&single(room + 1)).contains('x'));
    }
}
