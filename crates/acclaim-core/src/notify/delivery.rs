//! What is delivered to an endpoint, and when it is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::fold::Told;
use super::ownership::Ownership;
use super::record::encode;
use super::settings::WebhookLimits;
use crate::rev::Rev;

/// One message to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its `webhook-id`: the same at every try, so that a receiver tells repeats.
    pub id: String,
    /// What keeps its order: deliveries of one endpoint and one of these go one after the other.
    pub order: String,
    /// What is sent.
    pub body: String,
    /// When it came up.
    pub at: Rev,
    /// Tries so far.
    pub attempts: u32,
    /// When it may be tried.
    pub due: Rev,
    /// Whether it is a test: tried once, at once, whatever the endpoint's standing.
    #[serde(default)]
    pub is_test: bool,
}

/// A delivery that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadDelivery {
    /// The endpoint.
    pub endpoint: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Rev,
    /// What was to be delivered.
    pub delivery: Delivery,
}

impl Delivery {
    /// Its record.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        encode(self)
    }

    /// The message that an owner is told of something.
    #[must_use]
    pub fn of(told: &Told, ownership: Option<&Ownership>, now: Rev) -> Self {
        let actors: Vec<_> = told
            .actors
            .iter()
            .map(|actor| json!({"userId": actor.user, "at": actor.at.time()}))
            .collect();
        let mut data = json!({
            "id": told.place.to_string(),
            "ownerId": told.key.owner,
            "kind": told.key.kind,
            "targetType": told.key.target.target_type.as_str(),
            "targetId": told.key.target.id.to_string(),
            "actors": actors,
            "others": told.others,
            "at": told.place.seq.time(),
        });
        if let Some(ownership) = ownership {
            for (name, value) in [("title", &ownership.title), ("url", &ownership.url)] {
                if let Some(value) = value {
                    data[name] = json!(value);
                }
            }
        }
        Self {
            id: format!("ntf_{}", told.place),
            order: told.key.target.to_string(),
            body: message("acclaim.notification", told.place.seq, &data),
            at: now,
            attempts: 0,
            due: now,
            is_test: false,
        }
    }

    /// A message that says no more than that it came.
    #[must_use]
    pub fn test(endpoint: &str, now: Rev) -> Self {
        Self {
            id: format!("test_{now}"),
            order: String::new(),
            body: message("acclaim.test", now, &json!({"webhook": endpoint})),
            at: now,
            attempts: 0,
            due: now,
            is_test: true,
        }
    }
}

fn message(kind: &str, at: Rev, data: &serde_json::Value) -> String {
    json!({"type": kind, "timestamp": at.time(), "data": data}).to_string()
}

/// How long to wait after this many tries: each time four times as long, up to a limit, and of that
/// between a half and the whole, as `random` (0 to 1) says, so that not all come back at once.
#[must_use]
pub fn wait_after(attempts: u32, limits: &WebhookLimits, random: f64) -> Duration {
    let first = Duration::from_millis(limits.retry_first_millis);
    let longest = Duration::from_secs(limits.retry_max_seconds);
    let factor = 4u32
        .checked_pow(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let whole = first.checked_mul(factor).unwrap_or(longest).min(longest);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_go_over_hours() {
        let limits = WebhookLimits::default();
        let waits = |random| -> Vec<u64> {
            (1..limits.max_attempts)
                .map(|attempts| wait_after(attempts, &limits, random).as_secs())
                .collect()
        };
        assert_eq!(
            waits(1.0),
            [5, 20, 80, 320, 1_280, 5_120, 14_400, 14_400, 14_400]
        );
        assert_eq!(
            waits(0.0),
            [2, 10, 40, 160, 640, 2_560, 7_200, 7_200, 7_200]
        );
        assert_eq!(wait_after(u32::MAX, &limits, 2.0).as_secs(), 14_400);
    }
}
