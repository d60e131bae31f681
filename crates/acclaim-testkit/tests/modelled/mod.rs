//! The model as a harness, sound and with a planted fault.
#![allow(dead_code)]

use std::sync::Arc;

use acclaim_core::{Engine, Kinds};
use acclaim_testkit::conformance::{Ending, Harness};
use acclaim_testkit::{ManualClock, ModelEngine};
use async_trait::async_trait;

/// The model itself. Its memory outlives every ending.
pub struct Modelled(Arc<ModelEngine>);

#[async_trait]
impl Harness for Modelled {
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self {
        Self(Arc::new(ModelEngine::new(kinds, clock)))
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.0.clone()
    }
}

/// A model that is empty after a crash.
pub struct Forgetful(Arc<ModelEngine>, Arc<ManualClock>);

#[async_trait]
impl Harness for Forgetful {
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self {
        Self(Arc::new(ModelEngine::new(kinds, clock.clone())), clock)
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.0.clone()
    }

    async fn reopen(&mut self, ending: Ending) -> bool {
        if ending == Ending::Crash {
            let kinds = self.0.kinds().clone();
            self.0 = Arc::new(ModelEngine::new(kinds, self.1.clone()));
        }
        true
    }
}
