//! The Acclaim server and its command line.
#![forbid(unsafe_code)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
