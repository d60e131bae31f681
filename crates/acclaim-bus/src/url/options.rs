//! The options of a bus's URL, each taken out by what it has to be.

use std::path::PathBuf;

use super::{Address, BusKind, BusUrlError, OPTIONS, Sasl, Tls, decode, is_name, read_admin};

/// The options that were given, by name.
pub(super) struct Options(Vec<(&'static str, String)>);

impl Options {
    pub(super) fn read(query: &str) -> Result<Self, BusUrlError> {
        let mut options: Vec<(&'static str, String)> = Vec::new();
        for piece in query.split('&').filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let known = OPTIONS.iter().find(|known| **known == name);
            let option = *known.ok_or_else(|| BusUrlError::Option {
                given: name.to_owned(),
            })?;
            if options.iter().any(|(given, _)| *given == option) {
                return Err(BusUrlError::Twice(option));
            }
            let text = decode(value).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| BusUrlError::Value {
                option,
                given: value.to_owned(),
                expected: "not empty, and UTF-8 in percent-encoding",
            })?;
            options.push((option, text));
        }
        Ok(Self(options))
    }

    fn has(&self, option: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == option)
    }

    pub(super) fn refuse_of_others(
        &self,
        kind: BusKind,
        has_user: bool,
    ) -> Result<(), BusUrlError> {
        for option in ["sasl", "replicas"] {
            if kind != BusKind::Kafka && self.has(option) {
                return Err(BusUrlError::NotOfThisBus { option, kind });
            }
        }
        if kind != BusKind::Pulsar && self.has("admin") {
            return Err(BusUrlError::NotOfThisBus {
                option: "admin",
                kind,
            });
        }
        if self.has("sasl") && !has_user {
            return Err(BusUrlError::Needs("sasl", "a user and a password"));
        }
        Ok(())
    }

    fn take(&mut self, option: &'static str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| *name == option)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn name(&mut self, option: &'static str) -> Result<Option<String>, BusUrlError> {
        match self.take(option) {
            Some(given) if !is_name(&given) => Err(BusUrlError::Value {
                option,
                given,
                expected: "1 to 127 of A-Z a-z 0-9 - _",
            }),
            name => Ok(name),
        }
    }

    pub(super) fn number(
        &mut self,
        option: &'static str,
        max: u16,
        expected: &'static str,
    ) -> Result<Option<u16>, BusUrlError> {
        let Some(given) = self.take(option) else {
            return Ok(None);
        };
        match given.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
            _ => Err(BusUrlError::Value {
                option,
                given,
                expected,
            }),
        }
    }

    pub(super) fn address(
        &mut self,
        option: &'static str,
        speaks_tls: bool,
    ) -> Result<Option<Address>, BusUrlError> {
        let Some(given) = self.take(option) else {
            return Ok(None);
        };
        match read_admin(&given, speaks_tls) {
            Some(address) => Ok(Some(address)),
            None => Err(BusUrlError::Value {
                option,
                given,
                expected: "a host, or a host and a port: host:8080",
            }),
        }
    }

    pub(super) fn flag(&mut self, option: &'static str) -> Result<Option<bool>, BusUrlError> {
        match self.take(option) {
            None => Ok(None),
            Some(text) if text == "yes" => Ok(Some(true)),
            Some(text) if text == "no" => Ok(Some(false)),
            Some(given) => Err(BusUrlError::Value {
                option,
                given,
                expected: "yes or no",
            }),
        }
    }

    pub(super) fn sasl(&mut self) -> Result<Sasl, BusUrlError> {
        match self.take("sasl").as_deref() {
            None => Ok(Sasl::default()),
            Some("plain") => Ok(Sasl::Plain),
            Some("scram-sha-256") => Ok(Sasl::ScramSha256),
            Some("scram-sha-512") => Ok(Sasl::ScramSha512),
            Some(given) => Err(BusUrlError::Value {
                option: "sasl",
                given: given.to_owned(),
                expected: "plain, scram-sha-256 or scram-sha-512",
            }),
        }
    }

    /// `is_said` where the scheme says it already.
    pub(super) fn tls(&mut self, is_said: bool) -> Result<Option<Tls>, BusUrlError> {
        let speaks = match self.flag("tls")? {
            Some(false) if is_said => {
                return Err(BusUrlError::Value {
                    option: "tls",
                    given: "no".to_owned(),
                    expected: "yes or not there, as the scheme says TLS",
                });
            }
            given => given.unwrap_or(is_said),
        };
        for option in ["ca", "certificate", "key"] {
            if !speaks && self.has(option) {
                return Err(BusUrlError::Needs(option, "tls=yes"));
            }
        }
        let ca = self.take("ca").map(PathBuf::from);
        let certificate = match (self.take("certificate"), self.take("key")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) => return Err(BusUrlError::Needs("certificate", "key")),
            (None, Some(_)) => return Err(BusUrlError::Needs("key", "certificate")),
        };
        Ok(speaks.then_some(Tls { ca, certificate }))
    }
}
