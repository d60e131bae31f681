//! How servers are connected to: users, passwords, TLS, and what must hold of them.

use std::sync::Arc;

use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    TlsCertificates,
};

use super::address::{Address, RedisUrl};
use super::seat::Seats;

/// How a server is connected to.
#[derive(Clone)]
pub struct Access {
    settings: RedisConnectionInfo,
    /// Where TLS is spoken: the certificates to trust instead of the system's.
    tls: Option<Option<Arc<[u8]>>>,
    /// Only a master will do. Sentinels may name a server that is none yet, or no longer.
    pub(super) must_be_master: bool,
    /// Whether a server has everything of a partition is found out first.
    pub(super) seats: Option<Arc<Seats>>,
}

impl Access {
    /// As the URL says.
    pub fn new(url: &RedisUrl, trusted_pem: Option<&[u8]>) -> Self {
        let mut settings = RedisConnectionInfo::default()
            .set_db(url.database.into())
            .set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &url.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &url.password {
            settings = settings.set_password(password);
        }
        Self {
            settings,
            tls: url.tls.then(|| trusted_pem.map(Arc::from)),
            must_be_master: false,
            seats: None,
        }
    }

    /// The same where seats are kept.
    pub fn with_seats(mut self, seats: Option<Arc<Seats>>) -> Self {
        self.seats = seats;
        self
    }

    /// The same for masters alone.
    pub fn for_master(mut self) -> Self {
        self.must_be_master = true;
        self
    }

    /// The same for a Sentinel, which has no databases, and often no password.
    pub fn to_sentinel(&self, with_password: bool) -> Self {
        let mut sentinel = self.clone();
        sentinel.settings = if with_password {
            sentinel.settings.set_db(0)
        } else {
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3)
        };
        sentinel.must_be_master = false;
        sentinel.seats = None;
        sentinel
    }

    /// Whether there is a password.
    pub fn has_password(&self) -> bool {
        self.settings.password().is_some()
    }

    /// A client of the server at an address.
    pub(super) fn client(&self, address: &Address) -> redis::RedisResult<Client> {
        let Address { host, port } = address.clone();
        let place = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = place.into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info
            .set_tcp_settings(tcp)
            .set_redis_settings(self.settings.clone());
        match &self.tls {
            Some(Some(trusted)) => Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(trusted.to_vec()),
                },
            ),
            _ => Client::open(info),
        }
    }
}
