//! Notifications on the cluster engine: the cases of `acclaim-notify`, and what only a cluster has.

#[path = "../../../../acclaim-notify/tests/fold/cases.rs"]
#[allow(unreachable_pub, reason = "a module of its own there")]
mod cases;
mod duty;
mod elsewhere;
mod engines;
mod trimming;
