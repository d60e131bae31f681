//! What is published at once, as it travels: by bus partition, and there in parts of a bounded size.

use std::collections::BTreeMap;

/// What goes to each bus partition, in order.
pub fn by_line<T>(messages: impl Iterator<Item = (u32, T)>) -> BTreeMap<u32, Vec<T>> {
    let mut lines = BTreeMap::<u32, Vec<T>>::new();
    for (bus_partition, message) in messages {
        lines.entry(bus_partition).or_default().push(message);
    }
    lines
}

/// Parts of at most so many messages and bytes, in order. A message that is longer alone is a part
/// of its own.
pub fn parts<T>(
    messages: &[T],
    max_messages: usize,
    max_bytes: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Vec<&[T]> {
    let mut parts = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, message) in messages.iter().enumerate() {
        let is_long = bytes + bytes_of(message) > max_bytes;
        if at > begin && (is_long || at - begin >= max_messages) {
            parts.push(&messages[begin..at]);
            (begin, bytes) = (at, 0);
        }
        bytes += bytes_of(message);
    }
    parts.push(&messages[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: usize = 1_024;
    const BYTES: usize = 256 << 10;

    /// The lengths of the parts of so many messages of so many bytes.
    fn lengths(messages: &[(usize, usize)]) -> Vec<usize> {
        let messages: Vec<usize> = messages
            .iter()
            .flat_map(|(count, bytes)| std::iter::repeat_n(*bytes, *count))
            .collect();
        let parts = parts(&messages, MESSAGES, BYTES, |bytes| *bytes);
        parts.iter().map(|part| part.len()).collect()
    }

    #[test]
    fn parts_end_at_their_limits() {
        assert_eq!(lengths(&[(1, 0)]), [1]);
        assert_eq!(lengths(&[(1_024, 10)]), [1_024]);
        assert_eq!(lengths(&[(1_025, 10)]), [1_024, 1]);
        let half = BYTES / 2;
        assert_eq!(lengths(&[(4, half)]), [2, 2]);
        assert_eq!(lengths(&[(1, half), (1, half + 1), (1, 1)]), [1, 2]);
        assert_eq!(lengths(&[(1, 1), (1, BYTES + 1), (1, 1)]), [1, 1, 1]);
    }

    #[test]
    fn lines_keep_their_order() {
        let lines = by_line([(2, 'a'), (0, 'b'), (2, 'c')].into_iter());
        assert_eq!(lines[&2], ['a', 'c']);
        assert_eq!(lines[&0], ['b']);
    }
}
