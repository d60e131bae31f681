//! Which targets are hot right now.
//!
//! [`HeavyKeeper`] finds the heaviest keys of one stretch of a stream in fixed memory;
//! [`HotKeys`] feeds it a sample of what is touched and lets it forget by windows.

mod heavy_keeper;
mod sliding;

pub use heavy_keeper::{HeavyKeeper, Shape};
pub use sliding::{HotKey, HotKeys, WINDOW_SECONDS};
