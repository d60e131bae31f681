//! The Redis half of the cluster engine.
