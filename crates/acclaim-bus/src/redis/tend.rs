//! One round of a member's upkeep: it tells that it lives, keeps what it has, gives back what it
//! shall not have, and takes what nobody has.

use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use redis::cmd;

use super::client::Client;
use super::failure::Failure;
use super::keys;
use super::line::Standing;
use super::place;
use super::script::{CLAIM, COMMIT, Call, LAG, RELEASE, RENEW, SEEK, TEND};

/// Who we are.
#[derive(Clone)]
pub struct Who {
    pub client: Arc<Client>,
    pub topic: String,
    pub group: String,
    /// Our name among the members.
    pub name: String,
}

/// What a round is to do.
#[derive(Debug, Default)]
pub struct Errand {
    /// Bus partitions to keep, with their fences.
    pub renew: Vec<(u32, String)>,
    /// Those to give back.
    pub release: Vec<(u32, String)>,
    /// Those to take.
    pub claim: Vec<u32>,
}

/// What a round did.
#[derive(Debug)]
pub struct Tended {
    /// All who live, where that could be told.
    pub members: Result<Vec<String>, Failure>,
    /// What is not ours any more.
    pub lost: Vec<(u32, String)>,
    /// What is ours now.
    pub claimed: Vec<(u32, Standing)>,
    /// What was to be taken.
    pub tried: Vec<u32>,
}

/// Where to move a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Begin,
    End,
    /// Behind this position.
    Behind(u64),
}

impl Who {
    fn session_millis(&self) -> u64 {
        self.client.limits().session_timeout_millis.max(1)
    }

    fn stream(&self, line: u32) -> String {
        keys::stream(&self.topic, line)
    }

    fn lease(&self, line: u32) -> String {
        keys::lease(&self.topic, line, &self.group)
    }

    fn all_keys(&self, line: u32) -> [String; 3] {
        let fence = keys::fence(&self.topic, line, &self.group);
        [self.stream(line), self.lease(line), fence]
    }

    /// Does a round. What fails of it is done in the next one.
    pub async fn tend(&self, errand: Errand) -> Tended {
        let deadline = self.client.deadline();
        let sign = Call::of(&TEND, &[keys::members(&self.topic, &self.group)])
            .arg(&self.name)
            .arg(self.session_millis());
        let members = self.client.call(&sign, deadline).await;
        let renewed = errand.renew.into_iter().map(|(line, fence)| async move {
            let is_ours = self.renew(line, &fence, deadline).await;
            (is_ours == Ok(false)).then_some((line, fence))
        });
        let lost = join_all(renewed).await.into_iter().flatten().collect();
        self.release(&errand.release, deadline).await;
        let claims = errand.claim.iter().map(|line| self.claim(*line, deadline));
        let claimed = join_all(claims).await.into_iter();
        Tended {
            members,
            lost,
            claimed: claimed.flatten().collect(),
            tried: errand.claim,
        }
    }

    async fn renew(&self, line: u32, fence: &str, deadline: Instant) -> Result<bool, Failure> {
        let [_, lease, fences] = self.all_keys(line);
        let call = Call::of(&RENEW, &[lease, fences])
            .arg(fence)
            .arg(self.session_millis());
        self.client.call(&call, deadline).await
    }

    async fn claim(&self, line: u32, deadline: Instant) -> Option<(u32, Standing)> {
        let call = Call::of(&CLAIM, &self.all_keys(line))
            .arg(&self.group)
            .arg(self.session_millis());
        let claimed = self.client.call(&call, deadline).await;
        let standing = claimed.and_then(read);
        if let Err(error) = &standing {
            tracing::debug!("Redis: bus partition {line} could not be taken: {error}");
        }
        Some((line, standing.ok().flatten()?))
    }

    /// Gives bus partitions back; where that fails, their leases run out.
    pub async fn release(&self, lines: &[(u32, String)], deadline: Instant) {
        let release = lines.iter().map(|(line, fence)| async move {
            let call = Call::of(&RELEASE, &[self.lease(*line)]).arg(fence);
            self.client.call::<()>(&call, deadline).await
        });
        for released in join_all(release).await {
            if let Err(error) = released {
                tracing::debug!(
                    "Redis: a bus partition is given back when its lease ends: {error}"
                );
            }
        }
    }

    /// Leaves the group.
    pub async fn leave(&self, lines: &[(u32, String)]) {
        let deadline = self.client.deadline();
        self.release(lines, deadline).await;
        let mut leave = cmd("ZREM");
        leave.arg(keys::members(&self.topic, &self.group));
        leave.arg(&self.name);
        if let Err(error) = self.client.ask::<()>(&leave, deadline).await {
            tracing::debug!("Redis: a group is left when the sign of life is old: {error}");
        }
    }

    /// Moves the group to a position up to which so many events stand. Whether it was ours to move.
    pub async fn commit(
        &self,
        line: u32,
        fence: &str,
        position: u64,
        read: u64,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let call = Call::of(&COMMIT, &self.all_keys(line))
            .arg(fence)
            .arg(self.session_millis())
            .arg(&self.group)
            .arg(place::id(position))
            .arg(read);
        self.client.call(&call, deadline).await
    }

    /// Moves the group elsewhere, under a new fence. Nothing where it was not ours to move.
    pub async fn seek(
        &self,
        line: u32,
        fence: &str,
        aim: Aim,
        deadline: Instant,
    ) -> Result<Option<Standing>, Failure> {
        let aim = match aim {
            Aim::Begin => "begin".to_owned(),
            Aim::End => "end".to_owned(),
            Aim::Behind(position) => place::id(position),
        };
        let call = Call::of(&SEEK, &self.all_keys(line))
            .arg(fence)
            .arg(self.session_millis())
            .arg(&self.group)
            .arg(aim);
        self.client.call(&call, deadline).await.and_then(read)
    }

    /// How many events the group is behind, and for how many milliseconds the oldest has waited.
    pub async fn lag(&self, line: u32, deadline: Instant) -> Result<(u64, u64), Failure> {
        let call = Call::of(&LAG, &[self.stream(line)]).arg(&self.group);
        let (events, millis): (String, String) = self.client.call(&call, deadline).await?;
        let number = |text: &str| {
            let why = || Failure::Refused(format!("a lag of {text:?}"));
            text.parse().map_err(|_| why())
        };
        Ok((number(&events)?, number(&millis)?))
    }
}

/// A standing, as the scripts tell it.
fn read(told: Option<(String, String, String)>) -> Result<Option<Standing>, Failure> {
    let Some((fence, id, read)) = told else {
        return Ok(None);
    };
    let after = place::position(&id);
    let after = after.ok_or_else(|| Failure::Refused(format!("no position leads to {id}")))?;
    let read = read.parse();
    let read = read.map_err(|_| Failure::Refused("a group without a number".to_owned()))?;
    Ok(Some(Standing { fence, after, read }))
}
