//! RocketMQ: a name server, which clients come to, and the one broker that it sends them to.

mod options;
mod programs;
mod remoting;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use options::RocketMqOptions;
pub use programs::{BrokerProgram, NameServerProgram};
pub use remoting::Answer;

use crate::certificate::Certificates;
use crate::server::{Server, StartFailure};
use crate::topic;
use crate::wait::try_until;

static SHARED: OnceCell<RocketMq> = OnceCell::const_new();

/// How long a new topic may take until the name server sends clients to it.
const TOPIC_LIMIT: Duration = Duration::from_secs(30);

/// A name server and a broker. Its verbs do the same to both; each can be had by itself too.
#[derive(Debug)]
pub struct RocketMq {
    name_server: Server<NameServerProgram>,
    broker: Server<BrokerProgram>,
}

impl RocketMq {
    /// Starts a private one.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn start() -> Self {
        Self::start_with(RocketMqOptions::default()).await
    }

    /// Starts a private one.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn start_with(options: RocketMqOptions) -> Self {
        match Self::try_start(options).await {
            Ok(server) => server,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Starts a private one, with failure as an answer.
    pub async fn try_start(options: RocketMqOptions) -> Result<Self, StartFailure> {
        let certificates = Certificates::wanted(options.tls);
        let name_server = Server::launch(NameServerProgram {
            certificates: certificates.clone(),
        })
        .await?;
        let broker = Server::launch(BrokerProgram {
            name_server_port: name_server.address().port(),
            settings: options.settings,
            certificates,
        })
        .await?;
        Ok(Self {
            name_server,
            broker,
        })
    }

    /// The one that all tests of this process share. Do it no harm: use a [`topic`](Self::topic)
    /// of your own.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// Where the name server listens; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        self.name_server.address()
    }

    /// `rocketmq://127.0.0.1:port`, the name server's.
    pub fn url(&self) -> String {
        format!("rocketmq://{}", self.address())
    }

    /// What a client has to trust, where both speak TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.broker.program.certificates.as_ref()
    }

    /// The process that says where topics are.
    pub fn name_server(&self) -> &Server<NameServerProgram> {
        &self.name_server
    }

    /// The process that has the messages.
    pub fn broker(&self) -> &Server<BrokerProgram> {
        &self.broker
    }

    /// `kill -9`. The processes are gone when this returns.
    pub fn kill(&self) {
        self.broker.kill();
        self.name_server.kill();
    }

    /// SIGSTOP: connections stay, nothing is answered any more, until [`RocketMq::resume`].
    ///
    /// # Panics
    /// If a process is not there.
    pub async fn pause(&self) {
        self.broker.pause().await;
        self.name_server.pause().await;
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// If a process is not there.
    pub fn resume(&self) {
        self.name_server.resume();
        self.broker.resume();
    }

    /// SIGTERM, and waits for the end. The broker takes its leave of the name server, so it goes
    /// first.
    ///
    /// # Panics
    /// If a process is not there, or does not end.
    pub async fn shut_down(&self) {
        self.broker.shut_down().await;
        self.name_server.shut_down().await;
    }

    /// Starts it again on the same ports and data, and waits until the name server sends clients to
    /// the broker. What still runs is shut down before.
    ///
    /// # Panics
    /// If it does not come back, with what was tried and its logs.
    pub async fn restart(&self) {
        if self.broker.is_running() {
            self.broker.shut_down().await;
        }
        self.name_server.restart().await;
        self.broker.restart().await;
    }

    /// The ends of the logs of both.
    pub fn logs(&self) -> String {
        self.name_server.logs() + &self.broker.logs()
    }

    /// The name of a topic that nobody else uses. It is not made yet.
    pub fn topic(&self) -> String {
        topic::name()
    }

    /// Makes a topic with so many queues, and waits until the name server sends clients to it.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_topic(&self, name: &str, queues: u16) {
        let broker = self.broker.address().port();
        let made = async {
            remoting::create_topic(broker, name, queues).await?;
            try_until(TOPIC_LIMIT, || async {
                match self.queues(name).await? {
                    made if made == Some(queues) => Ok(()),
                    other => Err(format!("the name server knows of queues: {other:?}")),
                }
            })
            .await
        };
        if let Err(why) = made.await {
            panic!("no topic {name} on {}: {why}\n{}", self.url(), self.logs());
        }
    }

    /// How many queues of this topic the name server sends clients to; nothing where it does not
    /// know the topic.
    pub async fn queues(&self, topic: &str) -> Result<Option<u16>, String> {
        let name_server = self.address().port();
        remoting::queues(name_server, self.broker.address().port(), topic).await
    }

    /// One request of RocketMQ's protocol to the broker.
    pub async fn try_request(
        &self,
        code: i32,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        remoting::request(self.broker.address().port(), code, fields, body).await
    }
}
