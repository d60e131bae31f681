//! Prints every transition that comes over Redis Streams:
//! `cargo run -p acclaim-bus --example redis -- 'redis://127.0.0.1:6379?topic=acclaim' my-group`

#[path = "shared/mod.rs"]
mod shared;

use std::error::Error;

use acclaim_bus::redis::RedisBus;
use acclaim_bus::{BusUrl, Limits};
use shared::{arguments, print};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, group) = arguments()?;
    let bus = RedisBus::new(BusUrl::parse(&url)?, Limits::default());
    print(&bus, &group, &mut std::io::stdout(), usize::MAX).await
}
