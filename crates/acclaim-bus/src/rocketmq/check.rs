//! Whether the topics are there and the group, and making them.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::future::try_join_all;
use serde_json::json;

use super::client::Client;
use super::connection::Request;
use super::failure::{Failure, GROUP_NOT_EXIST};
use super::route::Queue;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::persist::{Passing, persist};
use crate::url::BusUrl;

const MAKE_TOPIC: i32 = 17;
const END: i32 = 30;
const MAKE_GROUP: i32 = 200;
const GROUP: i32 = 352;
/// A topic that every broker has.
const OWN_TOPIC: &str = "SELF_TEST_TOPIC";
/// Read and write.
const PERMISSIONS: &str = "6";

/// Looks for both topics, and for a group at every broker of the events, and makes what may be made.
/// Answers with the queues of the events, and whether a topic was made.
pub async fn check(
    url: &BusUrl,
    limits: &Limits,
    group: Option<&str>,
) -> Result<(Vec<Queue>, bool), OpenError> {
    let question = Question {
        url,
        limits,
        client: Client::new(url, &url.topic)?,
        deadline: Instant::now() + limits.question_time(),
    };
    let at = TopicAt::events(url);
    let (queues, made) = question.find_or_make(&at).await?;
    let (_, dead_made) = question.find_or_make(&TopicAt::dead_letters(url)).await?;
    if let Some(group) = group {
        for broker in brokers(&queues) {
            question.find_or_make_group(&at, broker, group).await?;
        }
    }
    Ok((queues, made || dead_made))
}

fn brokers(queues: &[Queue]) -> BTreeSet<&str> {
    queues.iter().map(|queue| queue.broker.as_str()).collect()
}

struct Question<'a> {
    url: &'a BusUrl,
    limits: &'a Limits,
    client: Client,
    deadline: Instant,
}

impl Question<'_> {
    async fn find_or_make(&self, at: &TopicAt) -> Result<(Vec<Queue>, bool), OpenError> {
        let opening = |failure: Failure| failure.opening(at, self.limits);
        let find = || self.client.queues(&at.topic, self.deadline);
        if let Some(queues) = persist(self.deadline, find).await.map_err(opening)? {
            return Ok((self.usable(at, queues).await?, false));
        }
        if !self.url.create {
            return Err(OpenError::NoTopic { at: at.clone() });
        }
        persist(self.deadline, || self.make_topic(&at.topic))
            .await
            .map_err(|failure| match failure {
                failure if failure.may_pass() || failure.is_about_us() => opening(failure),
                failure => OpenError::CannotMake {
                    at: at.clone(),
                    why: failure.to_string(),
                },
            })?;
        // It takes a moment until the name servers know it.
        let known = || async {
            let queues = self.client.queues(&at.topic, self.deadline).await?;
            let unknown = || Failure::Broken("the topic was made and does not show".to_owned());
            queues
                .filter(|queues| !queues.is_empty())
                .ok_or_else(unknown)
        };
        let queues = persist(self.deadline, known).await.map_err(opening)?;
        Ok((self.usable(at, queues).await?, true))
    }

    /// The queues, if there are any and their brokers let us ask. Name servers let in everybody.
    async fn usable(&self, at: &TopicAt, queues: Vec<Queue>) -> Result<Vec<Queue>, OpenError> {
        if queues.is_empty() {
            return Err(OpenError::Other {
                at: at.clone(),
                why: "it has no queue that may be written".to_owned(),
            });
        }
        let firsts = brokers(&queues).into_iter().map(|broker| async move {
            let ask = || self.end_of_first(broker, &at.topic);
            persist(self.deadline, ask).await
        });
        let asked = try_join_all(firsts).await;
        asked.map_err(|failure| failure.opening(at, self.limits))?;
        Ok(queues)
    }

    async fn end_of_first(&self, broker: &str, topic: &str) -> Result<(), Failure> {
        let fields = [
            ("topic", topic.to_owned()),
            ("queueId", "0".to_owned()),
            ("bname", broker.to_owned()),
        ];
        let request = Request::new(END, fields);
        let answer = self.client.ask(broker, request, self.deadline).await?;
        answer.success()?.number("offset").map(|_| ())
    }

    /// Makes a topic on the first broker.
    async fn make_topic(&self, topic: &str) -> Result<(), Failure> {
        let queues = self.client.queues(OWN_TOPIC, self.deadline).await?;
        let nobody = || Failure::Broken("the name server knows no broker yet".to_owned());
        let queues = queues.unwrap_or_default();
        let broker = brokers(&queues).into_iter().next().ok_or_else(nobody)?;
        let partitions = self.url.partitions.to_string();
        let fields = [
            ("topic", topic.to_owned()),
            ("defaultTopic", "TBW102".to_owned()),
            ("readQueueNums", partitions.clone()),
            ("writeQueueNums", partitions),
            ("perm", PERMISSIONS.to_owned()),
            ("topicFilterType", "SINGLE_TAG".to_owned()),
            ("topicSysFlag", "0".to_owned()),
            ("order", "false".to_owned()),
        ];
        let request = Request::new(MAKE_TOPIC, fields);
        let answer = self.client.ask(broker, request, self.deadline).await?;
        answer.success().map(|_| ())
    }

    async fn find_or_make_group(
        &self,
        at: &TopicAt,
        broker: &str,
        group: &str,
    ) -> Result<(), OpenError> {
        let find = || self.has_group(broker, group);
        let found = persist(self.deadline, find).await;
        if found.map_err(|failure| failure.opening(at, self.limits))? {
            return Ok(());
        }
        let missing = |why: String| OpenError::Other {
            at: at.clone(),
            why: format!("the broker {broker} has no group {group:?}; {why}"),
        };
        if !self.url.create {
            return Err(missing("make it, or allow it with create=yes".to_owned()));
        }
        persist(self.deadline, || self.make_group(broker, group))
            .await
            .map_err(|failure| match failure.may_pass() {
                true => failure.opening(at, self.limits),
                false => missing(format!("it could not be made: {failure}")),
            })
    }

    async fn has_group(&self, broker: &str, group: &str) -> Result<bool, Failure> {
        let request = Request::new(GROUP, [("group", group.to_owned())]);
        let answer = self.client.ask(broker, request, self.deadline).await?;
        if answer.code == GROUP_NOT_EXIST {
            return Ok(false);
        }
        answer.success().map(|_| true)
    }

    async fn make_group(&self, broker: &str, group: &str) -> Result<(), Failure> {
        let group = json!({ "groupName": group, "notifyConsumerIdsChangedEnable": true });
        let request = Request::new(MAKE_GROUP, []).body(group.to_string().into_bytes());
        let answer = self.client.ask(broker, request, self.deadline).await?;
        answer.success().map(|_| ())
    }
}
