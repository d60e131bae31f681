//! Which master of a Cluster has which slots. Pure.

use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

use super::address::Address;
use super::keys::Partition;

/// How many slots a Cluster has.
const SLOTS: u16 = 16_384;
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of everything in a partition.
#[must_use]
pub fn slot_of(partition: Partition) -> u16 {
    // Only what is between the braces counts, so a partition stays where it is in all its lives.
    let tag = format!("p{}.{}", partition.epoch, partition.number);
    CRC.checksum(tag.as_bytes()) % SLOTS
}

/// The slot of a key: where it has a part between braces, only that counts.
#[must_use]
pub fn slot_of_key(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    CRC.checksum(tag.unwrap_or(key)) % SLOTS
}

/// The masters by their slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// First and last slot and their master, by slots.
    ranges: Vec<(u16, u16, Address)>,
}

impl SlotMap {
    /// Reads the answer of a node to `CLUSTER SLOTS`. A node that does not know its own name leaves
    /// it out: it is reached as it was asked.
    #[must_use]
    pub fn read(reply: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(rows) = reply else {
            return None;
        };
        let ranges: Option<Vec<_>> = rows.iter().map(|row| read_row(row, asked)).collect();
        let mut ranges = ranges?;
        ranges.sort_unstable();
        Some(Self { ranges })
    }

    /// The master of a slot.
    #[must_use]
    pub fn master(&self, slot: u16) -> Option<&Address> {
        let next = self.ranges.partition_point(|(_, last, _)| *last < slot);
        let (first, _, master) = self.ranges.get(next)?;
        (*first <= slot).then_some(master)
    }

    /// All masters that have slots.
    pub fn masters(&self) -> impl Iterator<Item = &Address> {
        self.ranges.iter().map(|(_, _, master)| master)
    }

    /// How many slots have a master.
    #[must_use]
    pub fn covered(&self) -> u32 {
        let sizes = self.ranges.iter().map(|(first, last, _)| (*first, *last));
        sizes
            .map(|(first, last)| u32::from(last) - u32::from(first) + 1)
            .sum()
    }
}

/// First slot, last slot, the master, its replicas.
fn read_row(row: &Value, asked: &Address) -> Option<(u16, u16, Address)> {
    let Value::Array(row) = row else { return None };
    let [first, last, Value::Array(master), ..] = row.as_slice() else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    let host = match master.first()? {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let host = match host {
        "" | "?" => &asked.host,
        host => host,
    };
    let (first, last) = (number(first)?, number(last)?);
    let master = Address {
        host: host.to_owned(),
        port: number(master.get(1)?)?,
    };
    (first <= last && last < SLOTS).then_some((first, last, master))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Address {
        Address::parse("seed:7").unwrap()
    }

    fn row(first: i64, last: i64, host: &str, port: i64) -> Value {
        let host = Value::BulkString(host.as_bytes().to_vec());
        let node = Value::Array(vec![host, Value::Int(port), Value::Nil]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node])
    }

    /// As `CLUSTER KEYSLOT` answers.
    #[test]
    fn slots_are_those_of_redis() {
        let slot = |epoch, number| {
            slot_of(Partition {
                epoch,
                life: 3,
                number,
            })
        };
        assert_eq!(
            [slot(1, 0), slot(1, 63), slot(17, 1_000)],
            [9_050, 13_087, 7_439]
        );
    }

    #[test]
    fn a_slot_has_the_master_of_its_range() {
        let rows = vec![row(8_192, 16_383, "", 2), row(0, 8_190, "a", 1)];
        let map = SlotMap::read(&Value::Array(rows), &asked()).unwrap();
        let master = |slot| map.master(slot).map(Address::to_string);
        assert_eq!(master(0).as_deref(), Some("a:1"));
        assert_eq!(master(8_190).as_deref(), Some("a:1"));
        assert_eq!(master(8_191), None);
        assert_eq!(master(8_192).as_deref(), Some("seed:2"));
        assert_eq!(master(16_383).as_deref(), Some("seed:2"));
        assert_eq!(map.covered(), 16_383);
    }

    #[test]
    fn what_is_no_slot_map_is_refused() {
        for reply in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![row(5, 4, "a", 1)]),
            Value::Array(vec![row(0, 16_384, "a", 1)]),
            Value::Array(vec![row(0, 1, "a", 99_999)]),
        ] {
            assert_eq!(SlotMap::read(&reply, &asked()), None, "{reply:?}");
        }
    }
}
