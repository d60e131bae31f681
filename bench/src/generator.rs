//! Running `acclaim bench` as a process of its own and reading what it says.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::process::Server;

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    pub scenario: &'a str,
    pub connections: u32,
    pub seconds: u64,
    pub users: u64,
    pub targets: u64,
    pub target_type: &'a str,
    /// Where the choice of users and targets begins.
    pub seed: u64,
    /// Requests a second, or as many as are answered.
    pub rate: Option<u64>,
    /// The acknowledgement that writes ask for, or the default.
    pub ack: Option<&'static str>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests a second.
    pub rate: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99_micros: f64,
    /// Processor time of the server a request, in microseconds.
    pub cpu_micros: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    requests: u64,
    rate: f64,
    latency_micros: Latency,
    errors: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Latency {
    p99: f64,
}

/// Puts a load on a server. A request that fails is an error: half of a measurement is none.
pub(crate) fn measure(
    program: &Path,
    server: &Server,
    load: &Load<'_>,
) -> anyhow::Result<Measured> {
    let mut command = Command::new(program);
    command.args(["bench", &server.url, "--json", "--no-verify"]);
    for (flag, value) in [
        ("--scenario", load.scenario.to_owned()),
        ("--connections", load.connections.to_string()),
        ("--seconds", load.seconds.to_string()),
        ("--users", load.users.to_string()),
        ("--targets", load.targets.to_string()),
        ("--target-type", load.target_type.to_owned()),
        ("--seed", load.seed.to_string()),
    ] {
        command.args([flag, &value]);
    }
    if let Some(rate) = load.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    if let Some(ack) = load.ack {
        command.args(["--ack", ack]);
    }
    let before = server.cpu()?;
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the generator")?;
    let used = server.cpu()? - before;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the generator ended with {}", output.status))?;
    if !report.errors.is_empty() {
        let errors = serde_json::Value::Object(report.errors);
        bail!("{}: requests failed: {errors}", load.scenario);
    }
    if report.requests == 0 {
        bail!("{}: no request was answered", load.scenario);
    }
    Ok(Measured {
        requests: report.requests,
        rate: report.rate,
        p99_micros: report.latency_micros.p99,
        cpu_micros: used.as_secs_f64() * 1e6 / report.requests as f64,
    })
}
