//! Where an event stands: ids of a stream as the positions of the port, which are one number.

/// How many bits of a position are the number inside the millisecond; the rest is the time, which is
/// enough until the year 2109.
const NUMBER_BITS: u32 = 22;
/// The highest number inside a millisecond. Publishers go on in the next one behind it.
pub const MAX_NUMBER: u64 = (1 << NUMBER_BITS) - 1;
const MAX_MILLIS: u64 = u64::MAX >> NUMBER_BITS;

/// The position of an id, `millis-number`; nothing where one of the two does not fit.
pub fn position(id: &str) -> Option<u64> {
    let (millis, number) = id.split_once('-')?;
    let (millis, number): (u64, u64) = (millis.parse().ok()?, number.parse().ok()?);
    let fits = millis <= MAX_MILLIS && number <= MAX_NUMBER;
    fits.then_some(millis << NUMBER_BITS | number)
}

/// The id of a position.
pub fn id(position: u64) -> String {
    format!("{}-{}", millis(position), position & MAX_NUMBER)
}

/// The time of a position, in milliseconds since the epoch.
pub fn millis(position: u64) -> u64 {
    position >> NUMBER_BITS
}

/// The first position of a time; the last one that there is for times behind all.
pub fn of_time(millis: u64) -> u64 {
    match millis <= MAX_MILLIS {
        true => millis << NUMBER_BITS,
        false => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_hold_both_parts_up_to_their_ends() {
        for text in [
            "0-0",
            "0-1",
            "1795168800000-4194303",
            "4398046511103-4194303",
        ] {
            let position = position(text).unwrap();
            assert_eq!(id(position), text);
        }
        assert_eq!(position("4398046511103-4194303"), Some(u64::MAX));
        for text in ["", "1", "1-", "a-1", "1-4194304", "4398046511104-0"] {
            assert_eq!(position(text), None, "{text}");
        }
        let in_order = ["1-0", "1-1", "1-4194303", "2-0"].map(position);
        assert!(in_order.is_sorted());
    }

    #[test]
    fn times_are_positions() {
        assert_eq!(position("7-0"), Some(of_time(7)));
        assert_eq!(millis(of_time(7)), 7);
        assert_eq!(of_time(4_398_046_511_104), u64::MAX);
        assert_eq!(of_time(u64::MAX), u64::MAX);
    }
}
