//! TiDB in one process with its built-in store, which is durable over `kill -9`.
//!
//! It is a program of several hundred MB that the tests do not build: `.ci/servers` does. Where it
//! is missing, a start fails and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;

use crate::fetched;
use crate::place::Place;
use crate::server::{Program, Server, StartFailure, clean_command};
use crate::sql::{self, Database};

static SHARED: OnceCell<TiDb> = OnceCell::const_new();

/// A TiDB server. Its user `root` has no password.
pub type TiDb = Server<TiDbProgram>;

/// What is particular to TiDB.
#[derive(Debug)]
pub struct TiDbProgram {
    program: PathBuf,
}

impl Program for TiDbProgram {
    const NAME: &'static str = "tidb";
    const PORTS: usize = 2;

    async fn prepare(&self, _place: &Place) -> Result<(), String> {
        Ok(())
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        if !self.program.is_file() {
            return Err(format!("{} is not there", self.program.display()));
        }
        let mut command = clean_command(&self.program);
        let loopback = "127.0.0.1";
        command
            .args(["--store", "unistore", "-L", "warn", "--path"])
            // With a relative path it keeps nothing, and says nothing of it.
            .arg(place.directory().join("data"))
            .args(["--host", loopback, "--advertise-address", loopback])
            .args(["-P", &place.port().to_string(), "--status-host", loopback])
            .args(["--status", &place.further_port(1).to_string()])
            .args(["--socket", "socket", "--temp-dir", "tmp"])
            .args(["--log-file", "tidb.log"]);
        Ok(command)
    }

    async fn ask(&self, place: &Place) -> Result<(), String> {
        sql::ask(place.port()).await
    }
}

impl Server<TiDbProgram> {
    /// Starts a private one.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn start() -> Self {
        match Self::try_start(&fetched::directory().join("tidb-server")).await {
            Ok(server) => server,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Starts a private one with this program, with failure as an answer.
    pub async fn try_start(program: &Path) -> Result<Self, StartFailure> {
        Self::launch(TiDbProgram {
            program: program.to_owned(),
        })
        .await
    }

    /// The one that all tests of this process share. Do it no harm: take a
    /// [`database`](Self::database) of it.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// A fresh database.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn database(&self) -> Database {
        match sql::create_database(self.place.port()).await {
            Ok(database) => database,
            Err(error) => panic!(
                "no database on {}: {error}\n{}",
                self.address(),
                self.logs()
            ),
        }
    }
}
