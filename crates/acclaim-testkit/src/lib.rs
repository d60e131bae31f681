//! What tests share: the model as an engine, the conformance suite for the port, fault injection.
#![forbid(unsafe_code)]

mod model_engine;

pub use model_engine::{ManualClock, ModelEngine};
