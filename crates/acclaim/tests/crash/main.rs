//! Crash tests on the real binary: whatever happens to the process, its files or its disk, nothing
//! acknowledged is missing, nothing unsent appears, and every count equals its edges.
//!
//! - `ACCLAIM_CRASH_ROUNDS`: kills by `kill -9`, 4 by default (the figure in the documents is of
//!   100).
//! - `ACCLAIM_CRASH_EDGES`: edges of others in the store that is killed, none by default.
//! - `ACCLAIM_POWER_CUTS`: moments at which the power is cut, 60 by default.
//! - `ACCLAIM_SEED`: where chance begins; each test prints its seed when it fails.
//! - `ACCLAIM_BINARY`: another binary to test, for example a release build.
//!
//! `cargo test -p acclaim --features failpoints --test crash` adds deaths at named places.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod bulk;
mod client;
mod damage;
#[cfg(feature = "failpoints")]
mod failpoints;
mod full_disk;
mod import;
mod kill;
mod load;
mod notify;
#[cfg(target_os = "linux")]
mod power;
mod round;
mod server;
mod stop;
mod told;
mod world;

use std::future::Future;

use rand::SeedableRng;
use rand::rngs::StdRng;

/// How often to kill.
fn rounds() -> u64 {
    acclaim_testkit::settings::number("ACCLAIM_CRASH_ROUNDS", 4)
}

/// Edges that are there before the first kill.
fn edges_before() -> u64 {
    acclaim_testkit::settings::number("ACCLAIM_CRASH_EDGES", 0)
}

/// Runs a test with a seeded source of chance, and tells the seed where it fails.
fn seeded<F: Future<Output = ()>>(test: impl FnOnce(u64, StdRng) -> F) {
    let seed = acclaim_testkit::settings::seed();
    let tell = Tell(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(test(seed, StdRng::seed_from_u64(seed)));
    std::mem::forget(tell);
}

/// Prints the seed when it is dropped, which only a panic does.
struct Tell(u64);

impl Drop for Tell {
    #[allow(
        clippy::print_stderr,
        reason = "the seed is part of the failure's text"
    )]
    fn drop(&mut self) {
        eprintln!("ACCLAIM_SEED={} asks for the same again", self.0);
    }
}
