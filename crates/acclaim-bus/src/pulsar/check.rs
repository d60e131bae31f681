//! Whether the topics are there, and making them with the subscriptions that keep what is published.

use std::time::Instant;

use super::admin::{self, Made};
use super::client::{Client, partition_topic};
use super::command;
use super::connection::Whom;
use super::failure::Failure;
use super::producer::Producer;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::persist::persist;
use crate::port::{Checked, DEAD_LETTERS_GROUP};
use crate::url::BusUrl;

/// Looks for both topics and makes what may be made.
pub async fn check(url: &BusUrl, limits: &Limits) -> Result<Checked, OpenError> {
    let question = Question::new(url, limits)?;
    let (bus_partitions, made) = question.find_or_make(&TopicAt::events(url)).await?;
    let dead = TopicAt::dead_letters(url);
    let (dead_partitions, dead_made) = question.find_or_make(&dead).await?;
    question
        .keep(&dead, dead_partitions, DEAD_LETTERS_GROUP)
        .await?;
    Ok(Checked {
        bus_partitions,
        made: made || dead_made,
    })
}

/// Has what is published kept for a group.
pub async fn keep_for(url: &BusUrl, limits: &Limits, group: &str) -> Result<(), OpenError> {
    let question = Question::new(url, limits)?;
    let at = TopicAt::events(url);
    let partitions = question.find(&at).await?;
    if partitions == 0 {
        return Err(OpenError::NoTopic { at });
    }
    question.keep(&at, partitions, group).await
}

/// Ends the subscription of a group on each partition.
pub async fn forget_group(url: &BusUrl, limits: &Limits, group: &str) -> Result<(), OpenError> {
    let question = Question::new(url, limits)?;
    let at = TopicAt::events(url);
    let partitions = question.find(&at).await?;
    let forget = |partition| question.unsubscribe(partition_topic(&at.topic, partition), group);
    let forgotten = futures::future::try_join_all((0..partitions).map(forget)).await;
    forgotten.map_err(|failure| failure.opening(&at, limits))?;
    Ok(())
}

struct Question<'a> {
    url: &'a BusUrl,
    limits: &'a Limits,
    client: Client,
    deadline: Instant,
}

impl<'a> Question<'a> {
    fn new(url: &'a BusUrl, limits: &'a Limits) -> Result<Self, OpenError> {
        Ok(Self {
            url,
            limits,
            client: Client::new(url, limits)?,
            deadline: Instant::now() + limits.question_time(),
        })
    }

    async fn find_or_make(&self, at: &TopicAt) -> Result<(u32, bool), OpenError> {
        let mut made = false;
        let mut partitions = self.find(at).await?;
        if partitions == 0 {
            if !self.url.create {
                return Err(OpenError::NoTopic { at: at.clone() });
            }
            made = self.make(at).await?;
            // It takes a moment until every broker knows it.
            let known = || async {
                match self.client.partitions(&at.topic, self.deadline).await? {
                    0 => Err(Failure::Broken(
                        "the topic was made and does not show".into(),
                    )),
                    partitions => Ok(partitions),
                }
            };
            let known = persist(self.deadline, known).await;
            partitions = known.map_err(|failure| failure.opening(at, self.limits))?;
        }
        Ok((partitions, made))
    }

    /// The number of partitions, or 0 where there is no such topic.
    async fn find(&self, at: &TopicAt) -> Result<u32, OpenError> {
        let ask = || self.client.partitions(&at.topic, self.deadline);
        let found = persist(self.deadline, ask).await;
        found.map_err(|failure| failure.opening(at, self.limits))
    }

    /// Whether it was made by us.
    async fn make(&self, at: &TopicAt) -> Result<bool, OpenError> {
        let cannot = |why: String| OpenError::CannotMake {
            at: at.clone(),
            why,
        };
        let made = admin::make(self.url, self.client.tls(), &at.topic, self.deadline).await;
        if made.map_err(cannot)? == Made::Now {
            return Ok(true);
        }
        // Somebody else made it in the meantime, or there is one of another kind.
        match self.find(at).await? {
            0 => Err(cannot(
                "there is one of that name without partitions".to_owned(),
            )),
            _ => Ok(false),
        }
    }

    /// Makes a subscription on each partition. A topic without any throws away what it is given.
    async fn keep(&self, at: &TopicAt, partitions: u32, keeper: &str) -> Result<(), OpenError> {
        let keep = |partition| async move {
            let topic = partition_topic(&at.topic, partition);
            let open = || Producer::open(&self.client, &topic, Some(keeper), self.deadline);
            persist(self.deadline, open).await
        };
        let kept = futures::future::try_join_all((0..partitions).map(keep)).await;
        kept.map_err(|failure| failure.opening(at, self.limits))?;
        Ok(())
    }

    /// Joins, since only a consumer of a subscription may end it, and ends it. Those who left a
    /// moment ago may still be there for the broker, so it is tried again.
    async fn unsubscribe(&self, topic: String, group: &str) -> Result<(), Failure> {
        let (topic, name) = (&topic, format!("acclaim-{:032x}", rand::random::<u128>()));
        let leave = || async {
            let connection = self.client.broker_of(topic, self.deadline).await?;
            let consumer = connection.number();
            connection.listen(Whom::Consumer(consumer), Box::new(drop));
            let ask = |number| command::subscribe(topic, group, &name, consumer, number);
            let mut left = connection.request(self.deadline, ask).await;
            if left.is_ok() {
                let ask = |number| command::unsubscribe(consumer, number);
                left = connection.request(self.deadline, ask).await;
            }
            connection.forget(Whom::Consumer(consumer));
            if left.is_err() {
                connection.say(command::close_consumer(consumer, connection.number()));
            }
            left
        };
        persist(self.deadline, leave).await.map(drop)
    }
}
