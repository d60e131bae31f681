//! The metrics of the HTTP server. A request costs no look-up by label: every route has its
//! counters and its histogram at hand.

use std::sync::{Arc, OnceLock};

use acclaim_core::service::Service;
use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use utoipa::openapi::OpenApi;

/// The label of requests that no route takes.
const UNMATCHED: &str = "unmatched";

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// The statuses that the server answers with; any other is counted as 0.
const STATUSES: [u16; 13] = [
    200, 202, 400, 404, 405, 409, 413, 415, 422, 500, 503, 504, 0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

type Requests = Family<RequestLabels, Counter>;
type Latencies = Family<RouteLabels, Histogram, fn() -> Histogram>;

/// The metrics of one route and method.
pub(crate) struct RouteMetrics {
    labels: RouteLabels,
    requests: Requests,
    by_status: [OnceLock<Counter>; STATUSES.len()],
    latency: Histogram,
    /// Whether the answer may take as long as its body: imports.
    pub(crate) streams: bool,
    /// Whether it is answered however many requests are in flight.
    pub(crate) always: bool,
}

/// All of them.
pub(crate) struct Metrics {
    routes: Vec<RouteMetrics>,
    /// For each path template, the place in `routes` of each method.
    paths: matchit::Router<Vec<(Method, usize)>>,
    pub(crate) in_flight: Gauge,
    pub(crate) shed: Counter,
    pub(crate) connections: Gauge,
    pub(crate) connections_total: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) subscribers: Gauge,
    pub(crate) subscribers_dropped: Counter,
    pub(crate) imported_lines: Counter,
}

impl Metrics {
    /// Registers everything, with one entry for every operation of the document.
    pub(crate) fn register(registry: &mut Registry, document: &OpenApi) -> Self {
        let http = registry.sub_registry_with_prefix("acclaim_http");
        let requests = Requests::default();
        http.register("requests", "Requests answered", requests.clone());
        let latencies = Latencies::new_with_constructor(latency);
        http.register_with_unit(
            "request_duration",
            "From the head of a request until its answer begins",
            Unit::Seconds,
            latencies.clone(),
        );
        let (routes, paths) = route_table(document, &requests, &latencies);
        let metrics = Self {
            routes,
            paths,
            in_flight: Gauge::default(),
            shed: Counter::default(),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            connections_refused: Counter::default(),
            subscribers: Gauge::default(),
            subscribers_dropped: Counter::default(),
            imported_lines: Counter::default(),
        };
        metrics.register_singles(registry);
        metrics
    }

    fn register_singles(&self, registry: &mut Registry) {
        let gauges = [
            (
                "http_requests_in_flight",
                "Requests being answered",
                &self.in_flight,
            ),
            ("http_connections", "Open connections", &self.connections),
            (
                "event_subscribers",
                "Subscribers of /events",
                &self.subscribers,
            ),
        ];
        let counters = [
            (
                "http_requests_shed",
                "Requests answered 503 before their body was read",
                &self.shed,
            ),
            (
                "http_connections_accepted",
                "Connections accepted",
                &self.connections_total,
            ),
            (
                "http_connections_refused",
                "Connections answered 503 because as many were open as may",
                &self.connections_refused,
            ),
            (
                "event_subscribers_dropped",
                "Subscribers dropped because they did not read",
                &self.subscribers_dropped,
            ),
            (
                "import_lines",
                "Lines read by imports that stream over HTTP",
                &self.imported_lines,
            ),
        ];
        let acclaim = registry.sub_registry_with_prefix("acclaim");
        for (name, help, gauge) in gauges {
            acclaim.register(name, help, gauge.clone());
        }
        for (name, help, counter) in counters {
            acclaim.register(name, help, counter.clone());
        }
    }

    /// The metrics of the route that takes this request.
    pub(crate) fn route(&self, method: &Method, path: &str) -> &RouteMetrics {
        let methods = self.paths.at(path).map(|found| found.value);
        let place = methods.ok().and_then(|methods| {
            let known = methods.iter().find(|(known, _)| known == method);
            known.map(|(_, place)| *place)
        });
        // The first entry is the one of requests that no route takes.
        &self.routes[place.unwrap_or(0)]
    }
}

impl RouteMetrics {
    fn new(labels: RouteLabels, requests: &Requests, latencies: &Latencies) -> Self {
        Self {
            latency: latencies.get_or_create(&labels).clone(),
            requests: requests.clone(),
            by_status: [const { OnceLock::new() }; STATUSES.len()],
            streams: labels.route == "/api/v2/import",
            always: matches!(labels.route, "/health" | "/ready" | "/metrics"),
            labels,
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: StatusCode, seconds: f64) {
        let known = STATUSES.iter().position(|known| *known == status.as_u16());
        let place = known.unwrap_or(STATUSES.len() - 1);
        let counter = self.by_status[place].get_or_init(|| {
            let labels = RequestLabels {
                route: self.labels.route,
                method: self.labels.method,
                status: STATUSES[place],
            };
            self.requests.get_or_create(&labels).clone()
        });
        counter.inc();
        self.latency.observe(seconds);
    }
}

fn latency() -> Histogram {
    Histogram::new(LATENCY_SECONDS)
}

type Paths = matchit::Router<Vec<(Method, usize)>>;

fn route_table(
    document: &OpenApi,
    requests: &Requests,
    latencies: &Latencies,
) -> (Vec<RouteMetrics>, Paths) {
    let none = RouteLabels {
        route: UNMATCHED,
        method: UNMATCHED,
    };
    let mut routes = vec![RouteMetrics::new(none, requests, latencies)];
    let mut paths = Paths::new();
    for (path, item) in &document.paths.paths {
        // Once a process, for a few dozen routes: labels then are plain static texts.
        let route: &'static str = Box::leak(path.clone().into_boxed_str());
        let operations = [
            (Method::GET, "GET", &item.get),
            (Method::HEAD, "HEAD", &item.get),
            (Method::POST, "POST", &item.post),
            (Method::PUT, "PUT", &item.put),
            (Method::DELETE, "DELETE", &item.delete),
        ];
        let mut methods = Vec::new();
        for (method, name, operation) in operations {
            if operation.is_some() {
                let labels = RouteLabels {
                    route,
                    method: name,
                };
                methods.push((method, routes.len()));
                routes.push(RouteMetrics::new(labels, requests, latencies));
            }
        }
        // The router has taken the same paths before, so they do not conflict here either.
        if paths.insert(path.clone(), methods).is_err() {
            tracing::warn!(path, "a route is counted as unmatched");
        }
    }
    (routes, paths)
}

/// How often the hottest target is touched, read when Prometheus asks.
pub(crate) struct HottestTarget(pub(crate) Arc<Service>);

impl std::fmt::Debug for HottestTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HottestTarget")
    }
}

impl Collector for HottestTarget {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let touches = self.0.hot_keys(1).first().map_or(0, |key| key.estimate);
        let gauge = ConstGauge::new(touches);
        let encoder = encoder.encode_descriptor(
            "acclaim_hottest_target_touches",
            "About how often the hottest target was touched in the last minute",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(encoder)
    }
}
