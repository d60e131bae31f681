//! Whether the topics are there, and making them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::ears::{Ears, is_distrust};
use super::settings;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::port::Checked;
use crate::url::BusUrl;

/// What a topic that is made gets where the URL says nothing: as the brokers are configured.
const REPLICAS_BY_BROKER: i32 = -1;
/// How long one question for metadata may take. Short, so that a refusal is noticed early: it is
/// told aside, while the question goes on waiting.
const QUESTION: Duration = Duration::from_millis(500);

/// Looks for both topics and makes what may be made.
pub async fn check(url: &BusUrl, limits: &Limits) -> Result<Checked, OpenError> {
    let question = Question {
        url: url.clone(),
        limits: limits.clone(),
        deadline: Instant::now() + limits.call_timeout(),
    };
    let at = TopicAt::events(url);
    // The end of a client may wait for a broker that hangs; its thread does that alone.
    let limit = limits.call_timeout() + QUESTION;
    let asked = tokio::task::spawn_blocking(move || question.ask_both());
    let Ok(asked) = tokio::time::timeout(limit, asked).await else {
        return Err(OpenError::Unreachable {
            at,
            after_millis: limits.call_timeout_millis,
            why: "a broker took the connection and does not answer".to_owned(),
        });
    };
    asked.unwrap_or_else(|error| {
        let why = error.to_string();
        Err(OpenError::Other { at, why })
    })
}

struct Question {
    url: BusUrl,
    limits: Limits,
    deadline: Instant,
}

impl Question {
    fn ask_both(self) -> Result<Checked, OpenError> {
        let events = TopicAt::events(&self.url);
        let config = settings::client(&self.url, &self.limits);
        let client = BaseConsumer::from_config_and_context(&config, Ears::default());
        let client = client.map_err(|error| OpenError::Settings {
            at: events.clone(),
            why: error.to_string(),
        })?;
        let (bus_partitions, made) = self.find_or_make(&client, &events)?;
        let dead = TopicAt::dead_letters(&self.url);
        let (_, dead_made) = self.find_or_make(&client, &dead)?;
        Ok(Checked {
            bus_partitions,
            made: made || dead_made,
        })
    }

    fn find_or_make(
        &self,
        client: &BaseConsumer<Ears>,
        at: &TopicAt,
    ) -> Result<(u32, bool), OpenError> {
        if let Some(partitions) = self.find(client, at)? {
            return Ok((partitions, false));
        }
        if !self.url.create {
            return Err(OpenError::NoTopic { at: at.clone() });
        }
        self.make(at)?;
        // A topic that was made takes a moment until every broker knows it.
        while Instant::now() < self.deadline {
            if let Some(partitions) = self.find(client, at)? {
                return Ok((partitions, true));
            }
            client.poll(Duration::from_millis(50));
        }
        Err(self.unreachable(at, "the topic was made and does not show".to_owned()))
    }

    /// The number of partitions, or none where there is no such topic.
    fn find(&self, client: &BaseConsumer<Ears>, at: &TopicAt) -> Result<Option<u32>, OpenError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = client.fetch_metadata(Some(&at.topic), left.min(QUESTION));
            // Errors that come aside are handed on by polls.
            while client.poll(Duration::ZERO).is_some() {}
            let error = match answer {
                Ok(metadata) => {
                    let topic = metadata.topics().iter().find(|t| t.name() == at.topic);
                    let error = topic.and_then(|topic| topic.error());
                    match (topic, error) {
                        (Some(topic), None) if !topic.partitions().is_empty() => {
                            // As many partitions as there are fit.
                            let partitions = u32::try_from(topic.partitions().len());
                            return Ok(Some(partitions.unwrap_or(u32::MAX)));
                        }
                        (None, _) | (_, Some(UNKNOWN_TOPIC)) => return Ok(None),
                        (Some(_), None) => RDKafkaErrorCode::LeaderNotAvailable,
                        (Some(_), Some(error)) => error.into(),
                    }
                }
                Err(error) => error
                    .rdkafka_error_code()
                    .unwrap_or(RDKafkaErrorCode::Unknown),
            };
            self.give_up_on(client.context(), at, error)?;
        }
    }

    /// Whether another question makes no sense.
    fn give_up_on(
        &self,
        ears: &Arc<Ears>,
        at: &TopicAt,
        error: RDKafkaErrorCode,
    ) -> Result<(), OpenError> {
        if is_distrust(error) {
            let (at, why) = (at.clone(), error.to_string());
            return Err(OpenError::Credentials { at, why });
        }
        if let Some((code, why)) = ears.last()
            && is_distrust(code)
        {
            let at = at.clone();
            return Err(OpenError::Credentials { at, why });
        }
        if Instant::now() < self.deadline {
            return Ok(());
        }
        let why = ears
            .last()
            .map_or_else(|| error.to_string(), |(_, text)| text);
        Err(self.unreachable(at, why))
    }

    fn unreachable(&self, at: &TopicAt, why: String) -> OpenError {
        OpenError::Unreachable {
            at: at.clone(),
            after_millis: self.limits.call_timeout_millis,
            why,
        }
    }

    fn make(&self, at: &TopicAt) -> Result<(), OpenError> {
        let cannot = |why: String| OpenError::CannotMake {
            at: at.clone(),
            why,
        };
        let config = settings::client(&self.url, &self.limits);
        let admin = AdminClient::from_config_and_context(&config, Ears::default());
        let admin = admin.map_err(|error| cannot(error.to_string()))?;
        let replicas = self.url.replicas.map_or(REPLICAS_BY_BROKER, i32::from);
        let partitions = i32::from(self.url.partitions);
        let topic = NewTopic::new(&at.topic, partitions, TopicReplication::Fixed(replicas));
        let left = self.deadline.saturating_duration_since(Instant::now());
        let options = AdminOptions::new()
            .request_timeout(Some(left))
            .operation_timeout(Some(left));
        let made = admin.create_topics([&topic], &options);
        // This runs on a thread that may wait, and the client has threads of its own.
        let made = tokio::runtime::Handle::current().block_on(made);
        match made {
            Ok(results) => match results.into_iter().next() {
                // Somebody else made it in the meantime.
                None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
                Some(Err((_, error))) => Err(cannot(error.to_string())),
            },
            Err(KafkaError::AdminOp(error)) if error == RDKafkaErrorCode::OperationTimedOut => {
                Err(self.unreachable(at, error.to_string()))
            }
            Err(error) => Err(cannot(error.to_string())),
        }
    }
}

const UNKNOWN_TOPIC: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
