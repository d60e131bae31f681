//! Whether the topics are there, and making them.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::future::try_join_all;
use redis::{FromRedisValue, cmd};

use super::client::Client;
use super::failure::Failure;
use super::keys;
use super::script::{Call, FORGET, KEEP};
use super::settings::Settings;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::persist::persist;
use crate::port::Checked;
use crate::url::{BusUrl, MAX_PARTITIONS};

/// Looks at the server and for both topics, and makes what may be made.
pub async fn check(url: &BusUrl, limits: &Limits) -> Result<(Checked, Settings), OpenError> {
    let question = Question::new(url, limits)?;
    let at = TopicAt::events(url);
    let settings = question.settings(&at).await?;
    settings.allow(&at)?;
    let (bus_partitions, made) = question.find_or_make(&at).await?;
    let (_, dead_made) = question.find_or_make(&TopicAt::dead_letters(url)).await?;
    let checked = Checked {
        bus_partitions,
        made: made || dead_made,
    };
    Ok((checked, settings))
}

/// Makes a group, so that what goes before it reads is noticed.
pub async fn keep_for(url: &BusUrl, limits: &Limits, group: &str) -> Result<(), OpenError> {
    let keep = |at: &TopicAt, line| Call::of(&KEEP, &[keys::stream(&at.topic, line)]).arg(group);
    on_each_line(url, limits, keep).await
}

/// Ends a group, and what its members left.
pub async fn forget_group(url: &BusUrl, limits: &Limits, group: &str) -> Result<(), OpenError> {
    let forget = |at: &TopicAt, line| {
        let topic = &at.topic;
        let keys = [
            keys::stream(topic, line),
            keys::lease(topic, line, group),
            keys::fence(topic, line, group),
            keys::members(topic, group),
        ];
        Call::of(&FORGET, &keys).arg(group)
    };
    on_each_line(url, limits, forget).await
}

/// A call for each bus partition of the topic, until each is done.
async fn on_each_line(
    url: &BusUrl,
    limits: &Limits,
    call: impl Fn(&TopicAt, u32) -> Call,
) -> Result<(), OpenError> {
    let question = Question::new(url, limits)?;
    let at = TopicAt::events(url);
    let Some(lines) = question.find(&at).await? else {
        return Err(OpenError::NoTopic { at });
    };
    let done = (0..lines).map(|line| {
        let call = call(&at, line);
        let (client, deadline) = (&question.client, question.deadline);
        async move {
            let attempt = || client.call::<()>(&call, deadline);
            persist(deadline, attempt).await
        }
    });
    let done = try_join_all(done).await;
    done.map_err(|failure| failure.opening(&at, limits))?;
    Ok(())
}

/// How many bus partitions a topic has; none where there is no such topic.
pub async fn partitions(
    client: &Client,
    topic: &str,
    deadline: Instant,
) -> Result<Option<u32>, Failure> {
    let mut get = cmd("GET");
    get.arg(keys::partitions(topic));
    let said: Option<String> = client.ask(&get, deadline).await?;
    let Some(said) = said else {
        return Ok(None);
    };
    match said.parse() {
        Ok(lines) if (1..=u32::from(MAX_PARTITIONS)).contains(&lines) => Ok(Some(lines)),
        _ => {
            let key = keys::partitions(topic);
            let why = format!("the key {key} is {said:?}, not a number from 1 to {MAX_PARTITIONS}");
            Err(Failure::Refused(why))
        }
    }
}

struct Question<'a> {
    url: &'a BusUrl,
    limits: &'a Limits,
    client: Client,
    deadline: Instant,
}

impl<'a> Question<'a> {
    fn new(url: &'a BusUrl, limits: &'a Limits) -> Result<Self, OpenError> {
        let client = Client::new(url, limits)?;
        let deadline = client.deadline();
        Ok(Self {
            url,
            limits,
            client,
            deadline,
        })
    }

    async fn ask<T: FromRedisValue>(&self, cmd: &redis::Cmd) -> Result<T, Failure> {
        persist(self.deadline, || self.client.ask(cmd, self.deadline)).await
    }

    async fn settings(&self, at: &TopicAt) -> Result<Settings, OpenError> {
        let info: Result<String, _> = self.ask(&cmd("INFO")).await;
        let info = match info {
            // A user may be forbidden to ask; then nothing is known. Who is unknown is refused below.
            Err(Failure::Distrust(why)) if why.contains("NOPERM") => String::new(),
            info => info.map_err(|failure| failure.opening(at, self.limits))?,
        };
        let mut config = cmd("CONFIG");
        config.arg("GET").arg("appendfsync");
        let config: Result<BTreeMap<String, String>, _> = self.ask(&config).await;
        // Forbidden, or a server that has no such command: unknown.
        Ok(Settings::read(&info, &config.unwrap_or_default()))
    }

    async fn find(&self, at: &TopicAt) -> Result<Option<u32>, OpenError> {
        let ask = || partitions(&self.client, &at.topic, self.deadline);
        let found = persist(self.deadline, ask).await;
        found.map_err(|failure| failure.opening(at, self.limits))
    }

    async fn find_or_make(&self, at: &TopicAt) -> Result<(u32, bool), OpenError> {
        if let Some(lines) = self.find(at).await? {
            return Ok((lines, false));
        }
        if !self.url.create {
            return Err(OpenError::NoTopic { at: at.clone() });
        }
        let mut set = cmd("SET");
        set.arg(keys::partitions(&at.topic));
        set.arg(self.url.partitions).arg("NX");
        let made: Result<Option<String>, _> = self.ask(&set).await;
        let made = made.map_err(|failure| match failure {
            Failure::Distrust(why) | Failure::Refused(why) => OpenError::CannotMake {
                at: at.clone(),
                why,
            },
            failure => failure.opening(at, self.limits),
        })?;
        // Somebody else may have made it in the meantime, and differently.
        match self.find(at).await? {
            Some(lines) => Ok((lines, made.is_some())),
            None => Err(OpenError::CannotMake {
                at: at.clone(),
                why: "it was made and does not show".to_owned(),
            }),
        }
    }
}
