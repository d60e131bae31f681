//! What is told of a load: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum as _;
use serde::Serialize;

use super::load::Load;
use super::verify::Verified;
use super::{BATCH_OPS, BenchArgs, Scenario};

/// The result of a load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    scenario: String,
    connections: u32,
    seconds: f64,
    /// Requests due a second, for an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_due: Option<u32>,
    /// Requests that were due and never sent, since no connection was idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsent: Option<u64>,
    /// Requests answered 200.
    requests: u64,
    /// Of those, a second.
    rate: f64,
    /// Edges written a second, for batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    edges_rate: Option<f64>,
    latency_micros: Latency,
    /// Requests, and ops of batches, that failed, by how.
    errors: BTreeMap<String, u64>,
    /// What reading back found, after writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
    /// Whether there were more writes than could be remembered to be read back.
    partly_verified: bool,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
}

impl Report {
    pub(super) fn new(args: &BenchArgs, load: &Load, verified: Option<Verified>) -> Self {
        let seconds = load.elapsed.as_secs_f64();
        // Shown to people and compared with tolerance: digits beyond the 53rd bit do not matter.
        let rate = load.answered as f64 / seconds;
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        let latency = &load.latency_nanos;
        let at = |quantile| micros(latency.value_at_quantile(quantile));
        let name = args.scenario.to_possible_value();
        Self {
            scenario: name.map_or_else(String::new, |name| name.get_name().to_owned()),
            connections: args.connections,
            seconds,
            rate_due: args.rate,
            unsent: args.rate.map(|_| load.unsent),
            requests: load.answered,
            rate,
            edges_rate: (args.scenario == Scenario::Batch).then_some(rate * BATCH_OPS as f64),
            latency_micros: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: micros(latency.max()),
                mean: latency.mean() / 1_000.0,
            },
            errors: load.errors.clone(),
            verified,
            partly_verified: load.forgot && verified.is_some(),
        }
    }

    /// Whether every request was answered and every acknowledged write is there.
    pub(super) fn is_good(&self) -> bool {
        self.errors.is_empty() && self.verified.is_none_or(|verified| verified.wrong == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, connections, seconds) = (&self.scenario, self.connections, self.seconds);
        writeln!(f, "{scenario}: {connections} connections, {seconds:.1} s")?;
        write!(f, "rate      {:.0} requests/s", self.rate)?;
        if let Some(due) = self.rate_due {
            write!(f, " of {due} due")?;
            if let Some(unsent @ 1..) = self.unsent {
                write!(f, " ({unsent} were never sent: no connection was idle)")?;
            }
        }
        if let Some(edges) = self.edges_rate {
            write!(f, ", {edges:.0} edges/s")?;
        }
        let Latency {
            p50,
            p90,
            p99,
            p999,
            max,
            ..
        } = &self.latency_micros;
        writeln!(
            f,
            "\nlatency   p50 {p50:.0} µs, p90 {p90:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs, max {max:.0} µs"
        )?;
        match self.errors.is_empty() {
            true => write!(f, "errors    none")?,
            false => write!(f, "errors    {}", listed(&self.errors))?,
        }
        if let Some(verified) = &self.verified {
            write!(f, "\n{}", told(verified))?;
            if self.partly_verified {
                write!(f, " (there were more writes than are remembered)")?;
            }
        }
        Ok(())
    }
}

fn listed(errors: &BTreeMap<String, u64>) -> String {
    let errors = errors
        .iter()
        .map(|(name, times)| format!("{times} × {name}"));
    errors.collect::<Vec<_>>().join(", ")
}

fn told(verified: &Verified) -> String {
    let edges = verified.edges;
    let found = match verified.wrong {
        0 => format!("read back {edges} edges: every acknowledged write is there"),
        wrong => format!("read back {edges} edges: {wrong} ARE NOT AS ACKNOWLEDGED"),
    };
    match verified.unknown {
        0 => found,
        unknown => format!("{found}; {unknown} edges had requests without an answer, left out"),
    }
}
