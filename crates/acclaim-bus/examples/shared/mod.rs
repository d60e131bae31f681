//! What the examples share: a line for each transition, which is acknowledged when it is printed.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use acclaim_bus::port::{Bus, Received};
use serde_json::Value;

/// The most transitions that are taken at once, and how long is waited for them.
const BATCH_EVENTS: usize = 100;
const BATCH_WAIT: Duration = Duration::from_millis(200);

/// The URL of the bus and the name of the group, as the command line says them.
pub fn arguments() -> Result<(String, String), String> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give the URL of the bus and a name for your group";
    let url = arguments.next().ok_or(usage)?;
    let group = arguments.next().ok_or(usage)?;
    Ok((url, group))
}

/// Prints what comes, until there were so many.
///
/// Each is acknowledged after it was printed: who stops between the two prints it again, and whoever
/// keeps something of transitions has to bear that (`docs/events.md` says how).
pub async fn print(
    bus: &dyn Bus,
    group: &str,
    out: &mut (dyn Write + Send),
    enough: usize,
) -> Result<(), Box<dyn Error>> {
    let mut consumer = bus.consumer(group).await?;
    let mut printed = 0;
    while printed < enough {
        let batch = consumer.receive(BATCH_EVENTS, BATCH_WAIT).await?;
        for received in &batch {
            writeln!(out, "{}", line(received))?;
        }
        consumer.acknowledge(&batch).await?;
        printed += batch.len();
    }
    Ok(())
}

fn line(received: &Received) -> String {
    // What cannot be read is put aside; whoever stopped at it would never get further.
    let Ok(event) = serde_json::from_slice::<Value>(&received.payload) else {
        let (place, position) = (received.bus_partition, received.position);
        return format!("not an event: bus partition {place}, position {position}");
    };
    let (data, text) = (&event["data"], |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    });
    format!(
        "{} {} user={} active={} count={}",
        text(&event["id"]),
        text(&event["subject"]),
        text(&data["userId"]),
        data["active"],
        data["count"]
    )
}
