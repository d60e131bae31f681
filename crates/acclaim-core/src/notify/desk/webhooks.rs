//! Looking after the endpoints of webhooks.

use compact_str::CompactString;

use super::super::delivery::Delivery;
use super::super::endpoint::{
    Attempt, BadEndpoint, Endpoint, MAX_FILTERS, Standing, State, check_name, read_url,
};
use super::super::keys::{self, tag};
use super::super::port::Batch;
use super::super::queue;
use super::super::record::{decode, decode_found, encode};
use super::super::signature::{self, SECRET_BYTES};
use super::{Desk, DeskFailure, MAX_TRIES, overtaken};
use crate::error::ReadError;
use crate::port::{DeadLetter, DeadLetterId, Resent};
use crate::rev::Rev;
use crate::target::TargetType;

/// Deliveries that are removed in one commit.
const REMOVED_AT_ONCE: usize = 1_000;

/// An endpoint as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookForm {
    /// Where to.
    pub url: String,
    /// Of which kinds.
    pub kinds: Option<Vec<CompactString>>,
    /// About targets of which types.
    pub target_types: Option<Vec<TargetType>>,
}

/// An endpoint as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookView {
    /// Its name.
    pub name: CompactString,
    /// Where to.
    pub url: String,
    /// Of which kinds.
    pub kinds: Option<Vec<CompactString>>,
    /// About targets of which types.
    pub target_types: Option<Vec<CompactString>>,
    /// When it was made.
    pub created: Rev,
    /// What it is in a word.
    pub state: State,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Until when it is paused.
    pub paused_until: Option<Rev>,
    /// The last try.
    pub last: Option<Attempt>,
}

impl WebhookView {
    fn of(endpoint: Endpoint, standing: Standing, waiting: u64) -> Self {
        Self {
            name: endpoint.name,
            url: endpoint.url,
            kinds: endpoint.kinds,
            target_types: endpoint.target_types,
            created: endpoint.created,
            state: standing.state(),
            waiting,
            failures: standing.failures,
            paused_until: standing.paused_until,
            last: standing.last,
        }
    }
}

impl Desk<'_> {
    /// Makes or changes an endpoint. Gives the secret where it was made. One that was there keeps its
    /// secret, and is active again.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn put_webhook(
        &self,
        name: &str,
        form: &WebhookForm,
        random: &[u8; SECRET_BYTES],
    ) -> Result<(WebhookView, Option<String>), DeskFailure> {
        self.check(name, form)?;
        let key = keys::of(tag::ENDPOINT, &name);
        for _ in 0..MAX_TRIES {
            let found = self.get(key.clone()).await?;
            let known: Option<Endpoint> = decode_found(found.as_ref())?;
            if known.is_none() {
                self.require_room().await?;
            }
            let secret = known.is_none().then(|| signature::secret(random));
            let endpoint = Endpoint {
                name: name.into(),
                url: form.url.clone(),
                kinds: form.kinds.clone(),
                target_types: form.target_types.as_ref().map(|types| {
                    types
                        .iter()
                        .map(|name| CompactString::from(name.as_str()))
                        .collect()
                }),
                created: known.as_ref().map_or(self.now, |known| known.created),
                secret: match (&secret, &known) {
                    (Some(secret), _) => secret.clone(),
                    (None, Some(known)) => known.secret.clone(),
                    (None, None) => String::new(),
                },
            };
            let (epoch, next) = self.next_epoch().await?;
            let batch = Batch::of(vec![
                (key.clone(), Some(encode(&endpoint))),
                (keys::of(tag::STANDING, &name), None),
                next,
            ]);
            let batch = batch
                .expecting(key.clone(), found)
                .expecting(keys::epoch(), epoch);
            if self.commit(batch.waking()).await? {
                let waiting = self.waiting(name).await?;
                let view = WebhookView::of(endpoint, Standing::default(), waiting);
                return Ok((view, secret));
            }
        }
        Err(overtaken())
    }

    fn check(&self, name: &str, form: &WebhookForm) -> Result<(), BadEndpoint> {
        check_name(name)?;
        read_url(&form.url, self.settings.webhooks.allow_private_addresses)?;
        let lengths = [
            ("kinds", form.kinds.as_ref().map(Vec::len)),
            ("targetTypes", form.target_types.as_ref().map(Vec::len)),
        ];
        for (name, length) in lengths {
            if length.is_some_and(|length| !(1..=MAX_FILTERS).contains(&length)) {
                return Err(BadEndpoint::Filter(name));
            }
        }
        let known = self.engine.kinds();
        match form
            .kinds
            .iter()
            .flatten()
            .find(|kind| known.find(kind).is_none())
        {
            None => Ok(()),
            Some(kind) => {
                let names = known.iter().map(|(_, kind)| kind.name.as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                let shown: String = kind.chars().take(40).collect();
                Err(BadEndpoint::Kind(format!(
                    "{shown:?} is not a kind of this server; it has {names}"
                )))
            }
        }
    }

    async fn require_room(&self) -> Result<(), DeskFailure> {
        let most = self.settings.webhooks.max_endpoints;
        let known = self
            .notes
            .scan(keys::all(tag::ENDPOINT), None, most)
            .await?;
        if known.len() >= most {
            return Err(DeskFailure::TooManyWebhooks(most));
        }
        Ok(())
    }

    async fn waiting(&self, name: &str) -> Result<u64, ReadError> {
        let most = self.settings.webhooks.queue_max_deliveries;
        let waiting = self
            .notes
            .scan(keys::of(tag::QUEUE, &name), None, most)
            .await?;
        Ok(waiting.len() as u64)
    }

    /// All endpoints, by name.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn webhooks(&self) -> Result<Vec<WebhookView>, DeskFailure> {
        let most = self.settings.webhooks.max_endpoints;
        let records = self
            .notes
            .scan(keys::all(tag::ENDPOINT), None, most)
            .await?;
        let mut views = Vec::new();
        for (_, value) in &records {
            let endpoint: Endpoint = decode(value)?;
            let standing = self.get(keys::of(tag::STANDING, &endpoint.name)).await?;
            let standing = decode_found(standing.as_ref())?.unwrap_or_default();
            let waiting = self.waiting(&endpoint.name).await?;
            views.push(WebhookView::of(endpoint, standing, waiting));
        }
        Ok(views)
    }

    /// Removes an endpoint with the deliveries that wait for it, and gives how many those were.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn delete_webhook(&self, name: &str) -> Result<u64, DeskFailure> {
        check_name(name)?;
        let key = keys::of(tag::ENDPOINT, &name);
        for _ in 0..MAX_TRIES {
            let found = self.get(key.clone()).await?;
            if found.is_none() {
                return Err(DeskFailure::UnknownWebhook(name.to_owned()));
            }
            let (epoch, next) = self.next_epoch().await?;
            let gone = vec![
                (key.clone(), None),
                (keys::of(tag::STANDING, &name), None),
                next,
            ];
            let batch = Batch::of(gone).expecting(key.clone(), found);
            if self
                .commit(batch.expecting(keys::epoch(), epoch).waking())
                .await?
            {
                return self.empty(name).await;
            }
        }
        Err(overtaken())
    }

    async fn empty(&self, name: &str) -> Result<u64, DeskFailure> {
        let prefix = keys::of(tag::QUEUE, &name);
        let mut removed = 0;
        loop {
            let waiting = self
                .notes
                .scan(prefix.clone(), None, REMOVED_AT_ONCE)
                .await?;
            if waiting.is_empty() {
                return Ok(removed);
            }
            removed += waiting.len() as u64;
            let gone = waiting.into_iter().map(|(key, _)| (key, None)).collect();
            self.commit(Batch::of(gone)).await?;
        }
    }

    /// Sends an endpoint a message that says no more than that it came, and gives its `webhook-id`.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn test_webhook(&self, name: &str) -> Result<String, DeskFailure> {
        check_name(name)?;
        let key = keys::of(tag::ENDPOINT, &name);
        let found = self.get(key.clone()).await?;
        if found.is_none() {
            return Err(DeskFailure::UnknownWebhook(name.to_owned()));
        }
        let mut now = self.now;
        for _ in 0..MAX_TRIES {
            let delivery = Delivery::test(name, now);
            let number = queue::number_at(now);
            let batch = Batch::of(vec![queue::waiting(name, number, &delivery)]);
            let batch = batch.expecting(key.clone(), found.clone());
            if self
                .commit(batch.expecting(keys::queue(name, number), None).waking())
                .await?
            {
                return Ok(delivery.id);
            }
            now = now.next(now);
        }
        Err(overtaken())
    }

    /// Up to `max` deliveries that were given up, with numbers above `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn dead_letters(
        &self,
        after: DeadLetterId,
        max: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        queue::dead_letters(self.notes, after, max).await
    }

    /// Puts a delivery that was given up into its queue again. `None`: there is none.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<Option<Resent>, DeskFailure> {
        use super::super::port::CommitError;
        let mut now = self.now;
        for _ in 0..MAX_TRIES {
            match queue::requeue(self.notes, id, now).await? {
                Ok(resent) => return Ok(resent),
                Err(CommitError::Conflict | CommitError::Displaced) => now = now.next(now),
                Err(CommitError::Write(error)) => return Err(error.into()),
            }
        }
        Err(overtaken())
    }
}
