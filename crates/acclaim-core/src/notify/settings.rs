//! Every limit of notifications and webhooks, with its unit in its name: `[notifications]` and
//! `[webhooks]` of the configuration.

/// Limits of notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationLimits {
    /// Whether notifications are made and can be read.
    pub enabled: bool,
    /// Events of the journal that are folded together.
    pub batch_max_events: usize,
    /// Notifications that an owner keeps; beyond it the oldest go.
    pub max_per_owner: usize,
    /// How long a notification that nothing is added to is kept, in days.
    pub max_age_days: u32,
    /// How often an owner is told of something new within an hour. What comes beyond it is counted
    /// in its notification, which stays read and where it is, and goes to no webhook.
    pub max_told_per_hour: u32,
}

/// Limits of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookLimits {
    /// Whether deliveries may go to loopback, private and other addresses that are not public.
    pub allow_private_addresses: bool,
    /// Endpoints that there can be.
    pub max_endpoints: usize,
    /// Deliveries that wait for one endpoint; more become dead letters at once.
    pub queue_max_deliveries: usize,
    /// Dead letters that are kept; beyond it the oldest go.
    pub max_dead_letters: usize,
    /// Deliveries under way to one endpoint at once.
    pub max_in_flight_per_endpoint: usize,
    /// From the look-up of the name until the whole answer is there, in milliseconds.
    pub timeout_millis: u64,
    /// Bytes of an answer that are read; the rest is left unread.
    pub response_max_bytes: usize,
    /// Tries of a delivery before it becomes a dead letter.
    pub max_attempts: u32,
    /// How long the first retry waits at most, in milliseconds; each further one four times as
    /// long.
    pub retry_first_millis: u64,
    /// How long a retry waits at most, in seconds.
    pub retry_max_seconds: u64,
    /// Failures in a row after which an endpoint is paused.
    pub pause_after_failures: u32,
    /// How long the first pause is, in seconds; each further one twice as long, up to
    /// `retry_max_seconds`.
    pub pause_seconds: u64,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[notifications]`.
    pub notifications: NotificationLimits,
    /// `[webhooks]`.
    pub webhooks: WebhookLimits,
}

impl Default for NotificationLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            batch_max_events: 1_000,
            max_per_owner: 1_000,
            max_age_days: 90,
            max_told_per_hour: 100,
        }
    }
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            max_endpoints: 100,
            queue_max_deliveries: 10_000,
            max_dead_letters: 10_000,
            max_in_flight_per_endpoint: 4,
            timeout_millis: 10_000,
            response_max_bytes: 64 * 1024,
            max_attempts: 10,
            retry_first_millis: 5_000,
            retry_max_seconds: 4 * 3_600,
            pause_after_failures: 10,
            pause_seconds: 60,
        }
    }
}
