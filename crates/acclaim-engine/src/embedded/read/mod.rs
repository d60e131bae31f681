//! Reading: every look-up and list of the port, over one view each.

mod activity;
mod list;
mod ranking;
mod social;
mod status;

use std::sync::Arc;

use acclaim_core::ReadError;

use super::dictionary::Dictionary;
use super::shared::Shared;
use super::view::View;

/// One read: a view and the dictionary that fits it.
pub struct Reading {
    view: Arc<View>,
    dictionary: Arc<Dictionary>,
}

impl Reading {
    /// A read of what is there now.
    pub fn begin(shared: &Shared) -> Self {
        // The dictionary second: it then knows every type that the view has.
        let view = shared.view.load_full();
        Self {
            view,
            dictionary: shared.dictionary.load_full(),
        }
    }
}

/// Runs a read that may look at much off the threads that serve requests.
pub async fn at_length<T: Send + 'static>(
    shared: &Arc<Shared>,
    read: impl FnOnce(&Shared, Reading) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let shared = Arc::clone(shared);
    let done = tokio::task::spawn_blocking(move || read(&shared, Reading::begin(&shared))).await;
    done.unwrap_or_else(|died| Err(ReadError::Store(format!("a read died: {died}"))))
}
