//! The conformance suite of the port, on the embedded engine.

mod embedded;

use embedded::Embedded;

acclaim_testkit::conformance_suite!(Embedded);
