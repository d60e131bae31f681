//! The model as a harness: whole, in partitions, and with planted faults.
#![allow(dead_code)]

use std::sync::Arc;

use acclaim_core::model::Partitions;
use acclaim_core::{Engine, Kinds, Target};
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

/// Few partitions, so that those of a case meet in each.
const PARTITIONS: u16 = 4;

/// Spreads targets as any hash would.
fn partitions() -> Partitions {
    let of = |target: &Target| {
        let text = target.to_string();
        let sum = text.bytes().fold(7u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        (sum % u32::from(PARTITIONS)) as u16
    };
    Partitions::new(PARTITIONS, of)
}

/// The model in partitions.
pub struct Partitioned(Arc<ModelEngine>);

#[async_trait]
impl Harness for Partitioned {
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self {
        let engine = ModelEngine::partitioned(kinds, clock, partitions());
        Self(Arc::new(engine))
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.0.clone()
    }

    fn partitions(&self) -> Partitions {
        partitions()
    }
}

/// The model in partitions, which says that it has one.
pub struct Pretending(Partitioned);

#[async_trait]
impl Harness for Pretending {
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self {
        Self(Partitioned::open(kinds, clock).await)
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.0.engine()
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
