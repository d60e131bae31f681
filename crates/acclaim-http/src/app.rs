//! The application: the service, the limits, the metrics and the routes, ready to be served.

use std::sync::Arc;

use acclaim_core::Engine;
use acclaim_core::notify::Settings;
use acclaim_core::port::Clock;
use acclaim_core::service::Service;
use axum::Router;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};

use crate::limits::{BadLimit, Limits};
use crate::metrics::{HottestTarget, Metrics};
use crate::request::RequestIds;
use crate::router;

/// What handlers share.
pub(crate) type Shared = Arc<State>;

/// Everything behind the routes.
pub(crate) struct State {
    pub(crate) service: Arc<Service>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    pub(crate) openapi: Bytes,
    pub(crate) request_ids: RequestIds,
    pub(crate) subscribers: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

/// The HTTP face of an engine.
#[derive(Clone)]
pub struct App {
    pub(crate) state: Shared,
    pub(crate) router: Router,
}

impl App {
    /// An application over `engine`. `registry` may hold metrics of others already; all of it is
    /// answered at `/metrics`.
    ///
    /// # Errors
    /// [`BadLimit`] when a limit cannot be used.
    pub fn new(
        engine: Arc<dyn Engine>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        registry: Registry,
    ) -> Result<Self, BadLimit> {
        Self::notifying(engine, limits, Settings::default(), clock, registry)
    }

    /// The same, with limits of notifications and webhooks of one's own.
    ///
    /// # Errors
    /// As [`App::new`].
    pub fn notifying(
        engine: Arc<dyn Engine>,
        limits: Limits,
        notify: Settings,
        clock: Arc<dyn Clock>,
        registry: Registry,
    ) -> Result<Self, BadLimit> {
        let service = Service::notifying(engine, clock, notify);
        Self::of_routes(router::routes(), service, limits, registry)
    }

    /// An application that answers how the process stands, and nothing else: that of a worker.
    ///
    /// # Errors
    /// As [`App::new`].
    pub fn of_worker(
        engine: Arc<dyn Engine>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        registry: Registry,
    ) -> Result<Self, BadLimit> {
        let service = Service::new(engine, clock);
        Self::of_routes(router::operations(), service, limits, registry)
    }

    fn of_routes(
        (routes, openapi): (Router<Shared>, utoipa::openapi::OpenApi),
        service: Service,
        limits: Limits,
        mut registry: Registry,
    ) -> Result<Self, BadLimit> {
        limits.check()?;
        let service = Arc::new(service);
        let metrics = Metrics::register(&mut registry, &openapi);
        registry.register_collector(Box::new(HottestTarget(Arc::clone(&service))));
        // The document is made of strings and numbers, which always serialize.
        let openapi = openapi.to_pretty_json().unwrap_or_default();
        let state = Arc::new(State {
            service,
            subscribers: Arc::new(Semaphore::new(limits.max_event_subscribers)),
            limits,
            metrics,
            registry,
            openapi: Bytes::from(openapi),
            request_ids: RequestIds::new(),
            stopping: watch::Sender::new(false),
        });
        let router = routes.with_state(Arc::clone(&state));
        Ok(Self { state, router })
    }

    /// The OpenAPI document of the routes, as JSON.
    #[must_use]
    pub fn openapi(&self) -> &[u8] {
        &self.state.openapi
    }
}

impl State {
    /// Whether the server is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Becomes true when the server stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// A place among the requests in flight, or `None` where all are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<InFlight> {
        let before = usize::try_from(self.metrics.in_flight.inc()).unwrap_or(0);
        let place = InFlight(Arc::clone(self));
        // Where all are taken, dropping the place gives it back.
        (before < self.limits.max_requests_in_flight).then_some(place)
    }
}

/// One request in flight, until it is dropped.
pub(crate) struct InFlight(Shared);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}
