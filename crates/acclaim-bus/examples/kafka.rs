//! Prints every transition that comes over Kafka:
//! `cargo run -p acclaim-bus --example kafka -- 'kafka://127.0.0.1:9092?topic=acclaim' my-group`

#[path = "shared/mod.rs"]
mod shared;

use std::error::Error;

use acclaim_bus::kafka::KafkaBus;
use acclaim_bus::{BusUrl, Limits};
use shared::{arguments, print};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, group) = arguments()?;
    let bus = KafkaBus::new(BusUrl::parse(&url)?, Limits::default());
    print(&bus, &group, &mut std::io::stdout(), usize::MAX).await
}
