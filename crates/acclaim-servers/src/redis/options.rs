//! How a Redis is to be configured.

use crate::certificate::Certificates;

/// When Redis flushes its append-only file to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFsync {
    /// Before it answers.
    Always,
    /// Every second.
    EverySec,
    /// When the system feels like it.
    No,
}

/// How a Redis is to be configured. By default it keeps nothing on disk, has no limit of memory, no
/// password and no TLS.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) credentials: Credentials,
    pub(crate) tls: bool,
}

/// Who may talk to it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Credentials {
    #[default]
    Anybody,
    Password(String),
    User {
        name: String,
        password: String,
    },
}

impl RedisOptions {
    /// Keeps an append-only file, so that its data outlive a restart.
    pub fn append_only(self, fsync: AppendFsync) -> Self {
        let fsync = match fsync {
            AppendFsync::Always => "always",
            AppendFsync::EverySec => "everysec",
            AppendFsync::No => "no",
        };
        self.set("appendonly", "yes").set("appendfsync", fsync)
    }

    /// At most so many bytes of memory, and what happens there: `noeviction`, `volatile-lru`, …
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.set("maxmemory", &bytes.to_string())
            .set("maxmemory-policy", policy)
    }

    /// Asks for this password (`requirepass`), of letters and digits.
    pub fn password(mut self, password: &str) -> Self {
        self.credentials = Credentials::Password(password.to_owned());
        self
    }

    /// Takes only this user, who may do everything; the default user is off. Name and password are
    /// of letters and digits.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.credentials = Credentials::User {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        self
    }

    /// Speaks TLS only, with certificates made for it: [`super::Redis::certificates`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Any other line of `redis.conf`.
    pub fn set(mut self, setting: &str, value: &str) -> Self {
        self.settings.push((setting.to_owned(), value.to_owned()));
        self
    }

    /// The text of `redis.conf`.
    pub(crate) fn configuration(&self, port: u16) -> String {
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        if self.tls {
            lines.extend([
                "port 0".to_owned(),
                format!("tls-port {port}"),
                format!("tls-ca-cert-file {}", Certificates::AUTHORITY_FILE),
                format!("tls-cert-file {}", Certificates::CERTIFICATE_FILE),
                format!("tls-key-file {}", Certificates::KEY_FILE),
                "tls-auth-clients no".to_owned(),
            ]);
        } else {
            lines.push(format!("port {port}"));
        }
        match &self.credentials {
            Credentials::Anybody => {}
            Credentials::Password(password) => lines.push(format!("requirepass {password}")),
            Credentials::User { name, password } => lines.extend([
                "user default off".to_owned(),
                format!("user {name} on >{password} ~* &* +@all"),
            ]),
        }
        let further = self.settings.iter();
        lines.extend(further.map(|(setting, value)| format!("{setting} {value}")));
        lines.join("\n") + "\n"
    }
}
