//! Reading the configuration from the file, the environment and the flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Config;
use super::keys::{Key, keys};
use super::kinds::{self, KindKey};
use super::value::Value;

/// Variables of the environment that are keys begin with this and hold a `__`.
const PREFIX: &str = "ACCLAIM_";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A flag that sets a key.
#[derive(Clone, Debug)]
pub struct Override {
    /// The key, `server.listen`.
    pub key: &'static str,
    /// The flag, `--listen`.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
}

/// Why a configuration cannot be used. Every text names the key and where it stands.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration {path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A key that there is not.
    #[error("{place}: there is no key {key}{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        place: Source,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// A value of the wrong type or outside its range.
    #[error("{place}: {key} is {given}, which is not {allowed}")]
    BadValue {
        /// The key.
        key: String,
        /// Where it stands.
        place: Source,
        /// The value.
        given: String,
        /// What would do.
        allowed: String,
    },
    /// Kinds that contradict each other.
    #[error("the kinds cannot be used: {0}")]
    Kinds(String),
    /// Limits that contradict each other.
    #[error("the limits of [http] cannot be used: {0}")]
    Http(String),
}

fn did_you_mean(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}

/// A configuration and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values in force.
    pub config: Config,
    /// Where those came from that are no defaults, by key.
    sources: BTreeMap<String, Source>,
}

impl Loaded {
    /// Every key with its value as TOML and where that came from.
    pub fn listing(&self) -> Vec<(String, String, Source)> {
        let of_table = keys().map(|key| (key.name.to_owned(), (key.get)(&self.config).to_string()));
        let of_kinds = kinds::listing(&self.config.kinds);
        let all = of_table.chain(of_kinds);
        all.map(|(key, value)| {
            let source = self.sources.get(&key).cloned();
            (key, value, source.unwrap_or(Source::Default))
        })
        .collect()
    }
}

/// Loads the configuration. `environment` is the process's own, `flags` come from the command line.
///
/// # Errors
/// [`ConfigError`] for the first thing that is wrong.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[Override],
) -> Result<Loaded, ConfigError> {
    let mut loading = Loading::default();
    if let Some(path) = file {
        loading.file(path)?;
    }
    let mut variables: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, _)| is_key(name))
        .collect();
    variables.sort();
    for (name, value) in variables {
        loading.variable(&name, &value)?;
    }
    for flag in flags {
        loading.set_text(flag.key, &flag.value, Source::Flag(flag.flag))?;
    }
    loading.end()
}

/// Other variables, such as `ACCLAIM_CONFIG`, are no keys.
fn is_key(variable: &str) -> bool {
    variable
        .strip_prefix(PREFIX)
        .is_some_and(|rest| rest.contains("__"))
}

/// The variable of a key: `ACCLAIM_SERVER__LISTEN`.
pub(super) fn variable_of(key: &str) -> String {
    let name = key.replace('.', "__").replace('-', "_");
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

#[derive(Default)]
struct Loading {
    config: Config,
    kinds: kinds::Loading,
    sources: BTreeMap<String, Source>,
}

impl Loading {
    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let owned = || path.to_owned();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: owned(),
            source,
        })?;
        let table: toml::Table =
            text.parse()
                .map_err(|e: toml::de::Error| ConfigError::Syntax {
                    path: owned(),
                    message: e.to_string(),
                })?;
        for (section, value) in table {
            match (section.as_str(), value) {
                ("kinds", toml::Value::Table(kinds)) => {
                    for (name, value) in kinds {
                        self.kind_table(&name, value, path)?;
                    }
                }
                (_, toml::Value::Table(values)) => {
                    for (name, value) in values {
                        self.set_toml(&format!("{section}.{name}"), &value, path)?;
                    }
                }
                _ => return Err(unknown(section, Source::File(owned()))),
            }
        }
        Ok(())
    }

    fn kind_table(
        &mut self,
        kind: &str,
        value: toml::Value,
        path: &Path,
    ) -> Result<(), ConfigError> {
        let toml::Value::Table(values) = value else {
            let key = format!("kinds.{kind}");
            return Err(bad(&key, Source::File(path.to_owned()), &value, "a table"));
        };
        self.kinds.name(kind);
        for (name, value) in values {
            let key = format!("kinds.{kind}.{name}");
            let source = Source::File(path.to_owned());
            let Some(kind_key) = KindKey::find(&name) else {
                return Err(unknown(key, source));
            };
            if !self.kinds.set_toml(kind, kind_key, &value) {
                return Err(bad(&key, source, &value, kind_key.allowed()));
            }
            self.sources.insert(key, source);
        }
        Ok(())
    }

    fn set_toml(
        &mut self,
        name: &str,
        value: &toml::Value,
        path: &Path,
    ) -> Result<(), ConfigError> {
        let source = Source::File(path.to_owned());
        let key = find(name).ok_or_else(|| unknown(name.to_owned(), source.clone()))?;
        let read = key.allowed.read_toml(value);
        self.set(&key, read, value, source)
    }

    fn variable(&mut self, variable: &str, value: &str) -> Result<(), ConfigError> {
        let source = Source::Environment(variable.to_owned());
        if let Some(key) = keys().find(|key| variable_of(key.name) == variable) {
            return self.set_text(key.name, value, source);
        }
        let name = variable.trim_start_matches(PREFIX).to_ascii_lowercase();
        let parts: Vec<&str> = name.split("__").collect();
        let ["kinds", kind, key] = parts[..] else {
            return Err(unknown(parts.join("."), source));
        };
        // A kind's name has dashes where a variable can only have underscores.
        let kind = kind.replace('_', "-");
        let name = format!("kinds.{kind}.{key}");
        let Some(kind_key) = KindKey::find(key) else {
            return Err(unknown(name, source));
        };
        if !self.kinds.set_text(&kind, kind_key, value) {
            return Err(bad(&name, source, value, kind_key.allowed()));
        }
        self.sources.insert(name, source);
        Ok(())
    }

    fn set_text(&mut self, name: &str, value: &str, source: Source) -> Result<(), ConfigError> {
        let key = find(name).ok_or_else(|| unknown(name.to_owned(), source.clone()))?;
        let read = key.allowed.read_text(value);
        self.set(&key, read, value, source)
    }

    fn set(
        &mut self,
        key: &Key,
        read: Option<Value>,
        given: impl fmt::Display,
        source: Source,
    ) -> Result<(), ConfigError> {
        if !read.is_some_and(|value| (key.set)(&mut self.config, value)) {
            return Err(bad(key.name, source, given, &key.allowed));
        }
        self.sources.insert(key.name.to_owned(), source);
        Ok(())
    }

    fn end(mut self) -> Result<Loaded, ConfigError> {
        self.config.kinds = self.kinds.end();
        self.config.kinds()?;
        let limits = self.config.http.check();
        limits.map_err(|e| ConfigError::Http(e.to_string()))?;
        Ok(Loaded {
            config: self.config,
            sources: self.sources,
        })
    }
}

fn find(name: &str) -> Option<Key> {
    keys().find(|key| key.name == name)
}

fn unknown(key: String, source: Source) -> ConfigError {
    let known = keys().map(|key| key.name.to_owned());
    let of_kind = key
        .strip_prefix("kinds.")
        .and_then(|rest| rest.split_once('.'));
    let of_kind =
        of_kind.map(|(kind, _)| KindKey::ALL.map(|k| format!("kinds.{kind}.{}", k.name())));
    let all = known.chain(of_kind.into_iter().flatten());
    let near = all
        .map(|name| (strsim::normalized_damerau_levenshtein(&name, &key), name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    ConfigError::UnknownKey {
        key,
        place: source,
        nearest: near.map(|(_, name)| name),
    }
}

fn bad(
    key: &str,
    source: Source,
    given: impl fmt::Display,
    allowed: impl fmt::Display,
) -> ConfigError {
    ConfigError::BadValue {
        key: key.to_owned(),
        place: source,
        given: given.to_string(),
        allowed: allowed.to_string(),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
