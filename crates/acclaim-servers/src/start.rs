//! Starting servers of the kinds that have options, with failure as a panic or as an answer.

use crate::server::{Program, Server, StartFailure};

/// A kind of server that has options.
pub trait Configured: Program + Sized {
    /// The options; the default is what most tests want.
    type Options: Default + Send;

    /// What runs with these.
    fn with(options: Self::Options) -> Self;
}

impl<P: Configured> Server<P> {
    /// Starts a private one, with the default of its options.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn start() -> Self {
        Self::start_with(P::Options::default()).await
    }

    /// Starts a private one.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn start_with(options: P::Options) -> Self {
        match Self::try_start(options).await {
            Ok(server) => server,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Starts a private one, with failure as an answer.
    pub async fn try_start(options: P::Options) -> Result<Self, StartFailure> {
        Self::launch(P::with(options)).await
    }
}
