//! The requests of a scenario, built in a buffer that is used again.

use std::io::Write as _;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

use crate::client::Endpoint;

use super::{BATCH_OPS, BenchArgs, Scenario};

/// Targets that a feed asks for.
const FEED_TARGETS: std::ops::RangeInclusive<usize> = 20..=50;

/// An edge of the load: user and target by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Edge {
    pub user: u32,
    pub target: u32,
}

/// Makes requests, each from the random numbers of its connection.
pub(super) struct Requests {
    scenario: Scenario,
    random: SmallRng,
    users: u32,
    targets: u32,
    zipf: Option<Zipf<f64>>,
    target_type: String,
    prefix: String,
    /// What follows the path in every head: version, host, the acknowledgement asked for.
    head_end: String,
    /// The body under construction.
    body: Vec<u8>,
    /// The request.
    bytes: Vec<u8>,
    /// The edges that it is about, in order.
    edges: Vec<Edge>,
}

impl Requests {
    /// Requests of a connection, which has a seed of its own.
    pub(super) fn new(args: &BenchArgs, endpoint: &Endpoint, connection: u32) -> Self {
        let seed = args.seed.wrapping_mul(1_000_003) ^ u64::from(connection);
        let zipf = (args.skew > 0.0).then(|| Zipf::new(f64::from(args.targets), args.skew));
        Self {
            scenario: args.scenario,
            random: SmallRng::seed_from_u64(seed),
            users: args.users,
            targets: args.targets,
            // The command line takes positive numbers only, which Zipf's law accepts.
            zipf: zipf.and_then(Result::ok),
            target_type: args.target_type.clone(),
            prefix: format!("{}/api/v2/likes", endpoint.prefix()),
            head_end: head_end(args, endpoint),
            body: Vec::new(),
            bytes: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// Builds the next request and returns its bytes.
    pub(super) fn next(&mut self) -> &[u8] {
        self.edges.clear();
        self.bytes.clear();
        match self.scenario {
            Scenario::Toggle | Scenario::Hot => self.edge_write("POST ", "/toggle"),
            Scenario::Set => self.edge_write("PUT ", ""),
            Scenario::Batch => self.batch(),
            Scenario::Feed => self.feed(),
            Scenario::Status => self.status(),
            Scenario::Count => self.count(),
        }
        &self.bytes
    }

    /// The edges that the last request was about.
    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    fn edge(&mut self) -> Edge {
        Edge {
            user: self.random.random_range(1..=self.users),
            target: self.target(),
        }
    }

    fn target(&mut self) -> u32 {
        match &self.zipf {
            _ if self.scenario == Scenario::Hot => 1,
            // Zipf's law gives whole numbers from 1 to the number of targets.
            Some(zipf) => zipf.sample(&mut self.random) as u32,
            None => self.random.random_range(1..=self.targets),
        }
    }

    // Writing to a vector cannot fail, so what `write!` returns below is nothing to look at.

    fn edge_write(&mut self, method: &str, path: &str) {
        let edge = self.edge();
        self.edges.push(edge);
        self.body.clear();
        let target_type = &self.target_type;
        let _ = write!(
            self.body,
            "{{\"userId\":{},\"targetType\":\"{target_type}\",\"targetId\":\"{}\"}}",
            edge.user, edge.target
        );
        self.with_body(method, path);
    }

    fn batch(&mut self) {
        self.body.clear();
        self.body.extend_from_slice(b"{\"ops\":[");
        for _ in 0..BATCH_OPS {
            let edge = self.edge();
            self.edges.push(edge);
            let target_type = &self.target_type;
            let _ = write!(
                self.body,
                "{{\"op\":\"set\",\"userId\":{},\"targetType\":\"{target_type}\",\"targetId\":\"{}\"}},",
                edge.user, edge.target
            );
        }
        self.end_list();
        self.with_body("POST ", "/batch");
    }

    fn feed(&mut self) {
        self.body.clear();
        let user = self.random.random_range(1..=self.users);
        let _ = write!(self.body, "{{\"userId\":{user},\"targets\":[");
        for _ in 0..self.random.random_range(FEED_TARGETS) {
            let target = self.target();
            self.edges.push(Edge { user, target });
            push_target(&mut self.body, &self.target_type, target);
        }
        self.end_list();
        self.with_body("POST ", "/batch/status");
    }

    fn status(&mut self) {
        let Edge { user, target } = self.edge();
        let (prefix, target_type, end) = (&self.prefix, &self.target_type, &self.head_end);
        let _ = write!(
            self.bytes,
            "GET {prefix}/status?userId={user}&targetType={target_type}&targetId={target}{end}\r\n"
        );
    }

    fn count(&mut self) {
        let target = self.target();
        let (prefix, target_type, end) = (&self.prefix, &self.target_type, &self.head_end);
        let _ = write!(
            self.bytes,
            "GET {prefix}/count?targetType={target_type}&targetId={target}{end}\r\n"
        );
    }

    /// A status request about given edges of one user, to read back.
    pub(super) fn read_back(&mut self, user: u32, targets: impl Iterator<Item = u32>) -> &[u8] {
        self.bytes.clear();
        self.body.clear();
        let _ = write!(self.body, "{{\"userId\":{user},\"targets\":[");
        for target in targets {
            push_target(&mut self.body, &self.target_type, target);
        }
        self.end_list();
        self.with_body("POST ", "/batch/status");
        &self.bytes
    }

    /// Ends a list whose last item has a comma after it.
    fn end_list(&mut self) {
        self.body.pop();
        self.body.extend_from_slice(b"]}");
    }

    fn with_body(&mut self, method: &str, path: &str) {
        for part in [method, &self.prefix, path, &self.head_end] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        let length = self.body.len();
        let _ = write!(
            self.bytes,
            "content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.bytes.extend_from_slice(&self.body);
    }
}

fn head_end(args: &BenchArgs, endpoint: &Endpoint) -> String {
    let host = endpoint.authority();
    let ack = args.ack.map(|ack| format!("acclaim-ack: {ack}\r\n"));
    let ack = ack.unwrap_or_default();
    format!(" HTTP/1.1\r\nhost: {host}\r\n{ack}")
}

fn push_target(body: &mut Vec<u8>, target_type: &str, target: u32) {
    let _ = write!(
        body,
        "{{\"targetType\":\"{target_type}\",\"targetId\":\"{target}\"}},"
    );
}
