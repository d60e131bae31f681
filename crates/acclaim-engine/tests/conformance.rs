//! The conformance suite of the port, on the embedded engine.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;

use embedded::Embedded;

acclaim_testkit::conformance_suite!(Embedded);
