//! Which partition decides about a target.

use std::fmt;
use std::sync::Arc;

use crate::target::Target;

/// How many partitions a store has, and which of them each target is in.
#[derive(Clone)]
pub struct Partitions {
    count: u16,
    of: Arc<dyn Fn(&Target) -> u16 + Send + Sync>,
}

impl Partitions {
    /// One partition for all.
    #[must_use]
    pub fn one() -> Self {
        Self::new(1, |_| 0)
    }

    /// `count` partitions, at least one, of which `of` names one below `count` for each target,
    /// always the same.
    ///
    /// # Panics
    /// When `count` is zero.
    #[must_use]
    pub fn new(count: u16, of: impl Fn(&Target) -> u16 + Send + Sync + 'static) -> Self {
        assert!(count > 0, "a store has at least one partition");
        Self {
            count,
            of: Arc::new(of),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The partition of a target.
    ///
    /// # Panics
    /// When the function that was given names one that is not there.
    #[must_use]
    pub fn of(&self, target: &Target) -> u16 {
        let partition = (self.of)(target);
        assert!(
            partition < self.count,
            "{target} is in partition {partition} of {}",
            self.count
        );
        partition
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
