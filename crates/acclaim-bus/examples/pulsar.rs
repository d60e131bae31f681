//! Prints every transition that comes over Pulsar:
//! `cargo run -p acclaim-bus --example pulsar -- 'pulsar://127.0.0.1:6650?topic=acclaim' my-group`

#[path = "shared/mod.rs"]
mod shared;

use std::error::Error;

use acclaim_bus::pulsar::PulsarBus;
use acclaim_bus::{BusUrl, Limits};
use shared::{arguments, print};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, group) = arguments()?;
    let bus = PulsarBus::new(BusUrl::parse(&url)?, Limits::default());
    print(&bus, &group, &mut std::io::stdout(), usize::MAX).await
}
