//! Notifications and webhooks: what is asked of them, checked.
//!
//! Whoever changes an endpoint is written into the audit log before it is changed.

use super::lists::page_size;
use super::{NotifyFailure, Service};
use crate::edge::EdgeKey;
use crate::id::Id;
use crate::notify::Desk;
use crate::notify::desk::{DeskFailure, Notifications, WebhookForm, WebhookView};
use crate::notify::ownership::Ownership;
use crate::notify::signature::SECRET_BYTES;
use crate::port::Place;
use crate::target::Target;

impl Service {
    pub(super) fn desk(&self) -> Result<Desk<'_>, DeskFailure> {
        Desk::of(self.engine.as_ref(), &self.notify, self.now())
    }

    /// A page of a user's notifications.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn notifications(
        &self,
        user: &Id,
        size: Option<u64>,
        cursor: Option<&str>,
    ) -> Result<Notifications, NotifyFailure> {
        let desk = self.desk()?;
        Ok(desk.list(user, page_size(size)?, cursor).await?)
    }

    /// Marks a user's notifications read up to one of them; gives how many are unread.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn mark_read(&self, user: &Id, up_to: Place) -> Result<u64, NotifyFailure> {
        Ok(self.desk()?.mark_read(user, up_to).await?)
    }

    /// Says whose a target is, what it is called and where it is seen.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn own(&self, target: &Target, ownership: &Ownership) -> Result<(), NotifyFailure> {
        Ok(self.desk()?.own(target, ownership).await?)
    }

    /// Whether there are notifications here.
    ///
    /// # Errors
    /// [`NotifyFailure`] that says why not.
    pub fn has_notifications(&self) -> Result<(), NotifyFailure> {
        self.desk()?;
        Ok(())
    }

    /// Says whose the targets of writes are, as a write does that carries it. Those of writes that
    /// their kinds do not allow are left out.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn claim(&self, claims: &[(EdgeKey, Id)]) -> Result<(), NotifyFailure> {
        let kinds = self.engine.kinds();
        let allowed = claims.iter().filter(|(edge, _)| kinds.check(edge).is_ok());
        let allowed: Vec<_> = allowed.map(|(edge, owner)| (&edge.target, owner)).collect();
        Ok(self.desk()?.claim(&allowed).await?)
    }

    /// Makes or changes an endpoint; gives the secret where it was made.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn put_webhook(
        &self,
        name: &str,
        form: &WebhookForm,
        random: &[u8; SECRET_BYTES],
    ) -> Result<(WebhookView, Option<String>), NotifyFailure> {
        let desk = self.desk()?;
        self.audit_webhook("put", name).await?;
        Ok(desk.put_webhook(name, form, random).await?)
    }

    /// All endpoints, by name.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn webhooks(&self) -> Result<Vec<WebhookView>, NotifyFailure> {
        Ok(self.desk()?.webhooks().await?)
    }

    /// Removes an endpoint; gives how many deliveries waited for it.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn delete_webhook(&self, name: &str) -> Result<u64, NotifyFailure> {
        let desk = self.desk()?;
        self.audit_webhook("remove", name).await?;
        Ok(desk.delete_webhook(name).await?)
    }

    /// Sends an endpoint a test; gives its `webhook-id`.
    ///
    /// # Errors
    /// [`NotifyFailure`].
    pub async fn test_webhook(&self, name: &str) -> Result<String, NotifyFailure> {
        let desk = self.desk()?;
        self.audit_webhook("test", name).await?;
        Ok(desk.test_webhook(name).await?)
    }

    async fn audit_webhook(&self, action: &str, name: &str) -> Result<(), NotifyFailure> {
        // The audit log keeps names that can be ones.
        crate::notify::endpoint::check_name(name).map_err(DeskFailure::from)?;
        let written = self
            .engine
            .write_audit("webhook", &format!("{action} {name}"))
            .await;
        written.map_err(NotifyFailure::Audit)
    }
}
