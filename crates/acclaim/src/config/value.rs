//! Values as they stand in the file, the environment and on the command line.

use std::fmt;
use std::ops::RangeInclusive;

/// A value of a key, whatever the key's Rust type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(u64),
    /// A text: an address, a path, a word.
    Text(String),
    /// True or false.
    Switch(bool),
    /// Texts.
    List(Vec<String>),
}

/// As TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Self::Switch(on) => write!(f, "{on}"),
            Self::List(items) => {
                let items = items.iter().map(|item| toml::Value::from(item.as_str()));
                write!(f, "{}", toml::Value::Array(items.collect()))
            }
        }
    }
}

/// What values a key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A whole number of this range.
    Integer(RangeInclusive<u64>),
    /// A whole number of bytes; the text `64MiB` is one too.
    Bytes(RangeInclusive<u64>),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text, in these words.
    Text(&'static str),
    /// True or false.
    Switch,
    /// Texts of this kind; joined by commas where there are no lists.
    List(&'static str),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(range) => {
                write!(
                    f,
                    "a whole number from {} to {}",
                    range.start(),
                    range.end()
                )
            }
            Self::Bytes(range) => write!(
                f,
                "a number of bytes from {} to {}, or a text such as \"64MiB\"",
                range.start(),
                range.end()
            ),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text(what) => f.write_str(what),
            Self::Switch => f.write_str("true or false"),
            Self::List(what) => write!(f, "a list of {what}"),
        }
    }
}

impl Allowed {
    /// The value in the file, if it is of the right type and range.
    pub fn read_toml(&self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Self::Integer(range) | Self::Bytes(range), toml::Value::Integer(number)) => {
                in_range(u64::try_from(*number).ok()?, range)
            }
            (Self::Bytes(range), toml::Value::String(text)) => in_range(bytes(text)?, range),
            (Self::Word(_) | Self::Text(_), toml::Value::String(text)) => self.read_text(text),
            (Self::Switch, toml::Value::Boolean(on)) => Some(Value::Switch(*on)),
            (Self::List(_), toml::Value::Array(items)) => {
                let items = items.iter().map(|item| item.as_str().map(str::to_owned));
                items.collect::<Option<_>>().map(Value::List)
            }
            _ => None,
        }
    }

    /// The value of an environment variable or a flag, if it is of the right type and range.
    pub fn read_text(&self, text: &str) -> Option<Value> {
        match self {
            Self::Integer(range) => in_range(text.parse().ok()?, range),
            Self::Bytes(range) => in_range(bytes(text)?, range),
            Self::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            // Some keys are empty by default; which may be, they say themselves.
            Self::Text(_) => Some(Value::Text(text.to_owned())),
            Self::Switch => text.parse().ok().map(Value::Switch),
            Self::List(_) => {
                let items = text.split(',').map(str::trim);
                let items = items.filter(|item| !item.is_empty()).map(str::to_owned);
                Some(Value::List(items.collect()))
            }
        }
    }
}

fn in_range(number: u64, range: &RangeInclusive<u64>) -> Option<Value> {
    range.contains(&number).then_some(Value::Integer(number))
}

/// A number of bytes, with or without a binary unit.
fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    for (unit, shift) in units {
        if let Some(number) = text.strip_suffix(unit) {
            let number: u64 = number.trim_end().parse().ok()?;
            return number.checked_mul(1 << shift);
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_edges() {
        let port = Allowed::Integer(1..=65_535);
        assert_eq!(port.read_text("1"), Some(Value::Integer(1)));
        assert_eq!(port.read_text("65535"), Some(Value::Integer(65_535)));
        for text in ["0", "65536", "-1", "1.5", "", "one"] {
            assert_eq!(port.read_text(text), None, "{text}");
        }
        assert_eq!(port.read_toml(&toml::Value::from("1")), None);
        assert_eq!(port.read_toml(&toml::Value::from(-1)), None);
    }

    #[test]
    fn lists_are_joined_by_commas_where_there_are_none() {
        let urls = Allowed::List("URLs");
        let both = Value::List(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(urls.read_text("a, b"), Some(both.clone()));
        assert_eq!(
            urls.read_toml(&toml::Value::from(vec!["a", "b"])),
            Some(both.clone())
        );
        assert_eq!(both.to_string(), "[\"a\", \"b\"]");
        assert_eq!(urls.read_text(""), Some(Value::List(Vec::new())));
        assert_eq!(urls.read_toml(&toml::Value::from(vec![1])), None);
        assert_eq!(urls.read_toml(&toml::Value::from("a")), None);
    }

    #[test]
    fn bytes_may_have_a_unit() {
        let cache = Allowed::Bytes(0..=1 << 40);
        assert_eq!(cache.read_text("64MiB"), Some(Value::Integer(64 << 20)));
        assert_eq!(cache.read_text("1 GiB"), Some(Value::Integer(1 << 30)));
        let text = toml::Value::from("2KiB");
        assert_eq!(cache.read_toml(&text), Some(Value::Integer(2048)));
        for text in ["64MB", "MiB", "2TiB", "99999999999TiB"] {
            assert_eq!(cache.read_text(text), None, "{text}");
        }
    }
}
