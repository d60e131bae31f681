//! The proof of the proof: bugs that are known, because they were planted, must all be caught.
//!
//! Each file in `bugs/` is one bug: what it breaks, the test that must fail because of it, and the
//! edits that plant it. [`scratch`] copies the sources aside, so that nobody's work is touched;
//! [`verdict`] builds, runs the test and judges. A bug counts as caught only if its test passes
//! without it, the sources build with it, and the test then fails.
//!
//! It may not know what the bugs are about.

pub mod bug;
pub mod scratch;
pub mod verdict;
