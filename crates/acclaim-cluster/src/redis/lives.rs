//! Removing what earlier lives of partitions left behind.
//!
//! Nobody looks at it any more, and most of it carries a TTL. What had events that the ledger did
//! not have, as far as that Redis knew, carries none and would stay. A life that follows another
//! carries a mark until this is done, so it is done once, and by another worker where the first one
//! ends.

use std::collections::BTreeMap;

use redis::Value;

use super::address::Address;
use super::connection::Redis;
use super::error::RedisError;
use super::keys::Partition;
use super::script::texts_of;

/// Keys that one call looks at.
const SCAN_KEYS: usize = 1_000;
/// Keys that one call removes.
const MAX_UNLINK_KEYS: usize = 200;

impl Redis {
    /// Removes the keys of earlier lives of these partitions, where there may be any. Answers how
    /// many there were.
    ///
    /// # Errors
    /// The first [`RedisError`]; then some may be left, and the next call goes on.
    pub async fn sweep_lives(&self, partitions: &[Partition]) -> Result<u64, RedisError> {
        let mut servers: BTreeMap<Address, Vec<Partition>> = BTreeMap::new();
        for partition in partitions.iter().filter(|one| one.life > 0) {
            let mut get = redis::cmd("GET");
            get.arg(format!("{partition}:o"));
            if self.command(*partition, &get).await? != Value::Nil {
                let address = self.address_of(*partition)?;
                servers.entry(address).or_default().push(*partition);
            }
        }
        let mut removed = 0;
        for marked in servers.into_values() {
            removed += self.sweep_server(&marked).await?;
            for partition in marked {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(format!("{partition}:o"));
                self.command(partition, &unlink).await?;
            }
        }
        Ok(removed)
    }

    /// Goes through all keys of the server that has these partitions.
    async fn sweep_server(&self, marked: &[Partition]) -> Result<u64, RedisError> {
        let Some(first) = marked.first() else {
            return Ok(0);
        };
        let (mut cursor, mut removed) = ("0".to_owned(), 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH");
            scan.arg(format!("{{p{}.*", first.epoch));
            scan.arg("COUNT").arg(SCAN_KEYS);
            let reply = self.command(*first, &scan).await?;
            let unexpected = || RedisError::Reply {
                script: "SCAN",
                reply: format!("{reply:?}").chars().take(200).collect(),
            };
            let Value::Array(parts) = &reply else {
                return Err(unexpected());
            };
            let [Value::BulkString(next), keys] = parts.as_slice() else {
                return Err(unexpected());
            };
            let keys = texts_of(keys).ok_or_else(unexpected)?;
            for partition in marked {
                let old: Vec<&[u8]> = keys
                    .iter()
                    .copied()
                    .filter(|key| is_older(key, *partition))
                    .collect();
                for part in old.chunks(MAX_UNLINK_KEYS) {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(part);
                    self.command(*partition, &unlink).await?;
                    removed += part.len() as u64;
                }
            }
            cursor = String::from_utf8_lossy(next).into_owned();
            if cursor == "0" {
                return Ok(removed);
            }
        }
    }
}

/// Whether a key belongs to an earlier life of a partition.
fn is_older(key: &[u8], partition: Partition) -> bool {
    let first = Partition {
        life: 0,
        ..partition
    };
    let Some(rest) = key.strip_prefix(first.to_string().as_bytes()) else {
        return false;
    };
    let life = match rest.strip_prefix(b"~") {
        None => Some(0),
        Some(rest) => {
            let digits = rest.split(|byte| *byte == b':').next().unwrap_or_default();
            let text = std::str::from_utf8(digits).ok();
            text.and_then(|text| text.parse::<u32>().ok())
        }
    };
    life.is_some_and(|life| life < partition.life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_lives_of_the_same_partition_go() {
        let partition = Partition {
            epoch: 1,
            life: 3,
            number: 7,
        };
        for (key, is_old) in [
            ("{p1.7}:t:1:1:5", true),
            ("{p1.7}~2:l", true),
            ("{p1.7}~3:l", false),
            ("{p1.7}~4:l", false),
            ("{p1.7}~20:l", false),
            ("{p1.70}:l", false),
            ("{p2.7}:l", false),
            ("{p1.7}~x:l", false),
        ] {
            assert_eq!(is_older(key.as_bytes(), partition), is_old, "{key}");
        }
    }
}
