//! MariaDB: one that all tests of a process share, with a database for each, and private ones for
//! tests that kill them.
//!
//! Making the system tables takes longer than anything else about a start. It is done once a test
//! process; every server begins with a copy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::OnceCell;

use crate::home;
use crate::place::Place;
use crate::server::{Program, Server, clean_command, find_program};
use crate::sql::{self, Database};
use crate::start::Configured;

static SHARED: OnceCell<MariaDb> = OnceCell::const_new();
static SYSTEM_TABLES: OnceCell<PathBuf> = OnceCell::const_new();

/// A MariaDB server. Its user `root` has no password.
pub type MariaDb = Server<MariaDbProgram>;

/// How a MariaDB is to be configured. By default it flushes each commit to disk, as MariaDB does.
#[derive(Clone, Debug, Default)]
pub struct MariaDbOptions {
    settings: Vec<String>,
}

impl MariaDbOptions {
    /// Writes what replicas read, under an id that no other of them has.
    #[must_use]
    pub fn replicated(self, server_id: u32) -> Self {
        self.set("server-id", &server_id.to_string())
            .set("log-bin", "binlog")
            .set("binlog-format", "row")
    }

    /// A variable of the server, by the name that its command line has for it.
    pub fn set(mut self, variable: &str, value: &str) -> Self {
        self.settings.push(format!("--{variable}={value}"));
        self
    }
}

/// What is particular to MariaDB.
#[derive(Debug)]
pub struct MariaDbProgram {
    options: MariaDbOptions,
}

impl Program for MariaDbProgram {
    const NAME: &'static str = "mariadb";
    const PORTS: usize = 1;

    async fn prepare(&self, place: &Place) -> Result<(), String> {
        let tables = SYSTEM_TABLES.get_or_try_init(install).await?;
        std::fs::create_dir(place.directory().join("tmp")).map_err(|error| error.to_string())?;
        let mut copy = Command::new("cp");
        copy.arg("-a")
            .arg(tables)
            .arg(place.directory().join("data"));
        run(copy)
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        let mut command = clean_command(find_program("mariadbd")?);
        let within = |option: &str, name: &str| {
            format!("--{option}={}", place.directory().join(name).display())
        };
        command
            .arg("--no-defaults")
            .args(user())
            .args([
                within("datadir", "data"),
                within("tmpdir", "tmp"),
                within("socket", "socket"),
                within("pid-file", "pid"),
                format!("--port={}", place.port()),
            ])
            .args([
                "--bind-address=127.0.0.1",
                "--skip-networking=0",
                "--skip-name-resolve",
                "--performance-schema=0",
                "--innodb-buffer-pool-size=64M",
                "--max-connections=500",
                "--character-set-server=utf8mb4",
            ])
            .args(&self.options.settings);
        Ok(command)
    }

    async fn ask(&self, place: &Place) -> Result<(), String> {
        sql::ask(place.port()).await
    }
}

impl Configured for MariaDbProgram {
    type Options = MariaDbOptions;

    fn with(options: MariaDbOptions) -> Self {
        Self { options }
    }
}

impl Server<MariaDbProgram> {
    /// The one that all tests of this process share. Do it no harm: take a
    /// [`database`](Self::database) of it.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// Becomes a replica of `primary`, from the beginning of what that wrote. Both were started
    /// with [`MariaDbOptions::replicated`] and different ids.
    ///
    /// # Panics
    /// If it does not.
    pub async fn follow(&self, primary: &Self) {
        self.told(format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'root', \
             MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos",
            primary.place.port()
        ))
        .await;
        self.told("START SLAVE".to_owned()).await;
    }

    /// Applies no more of what the primary sends.
    ///
    /// # Panics
    /// If it cannot be told so.
    pub async fn hold_back(&self) {
        self.told("STOP SLAVE SQL_THREAD".to_owned()).await;
    }

    /// Applies again what the primary sends.
    ///
    /// # Panics
    /// If it cannot be told so.
    pub async fn catch_up(&self) {
        self.told("START SLAVE SQL_THREAD".to_owned()).await;
    }

    async fn told(&self, statement: String) {
        if let Err(error) = sql::execute(self.place.port(), &statement).await {
            panic!("{} {statement}: {error}\n{}", self.address(), self.logs());
        }
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

/// Makes the system tables in a directory that servers copy.
async fn install() -> Result<PathBuf, String> {
    let directory = home::directory()?.join("mariadb-system-tables");
    // A MariaDB that starts removes temporary tables from its directory, whosever they are.
    let temporary = home::directory()?.join("mariadb-install");
    std::fs::create_dir_all(&temporary).map_err(|error| error.to_string())?;
    let mut install = clean_command(find_program("mariadb-install-db")?);
    install
        .current_dir(home::directory()?)
        .env("TMPDIR", &temporary)
        .args(["--no-defaults", "--skip-test-db"])
        .args(user())
        .args([
            "--auth-root-authentication-method=normal",
            "--innodb-log-file-size=16M",
        ])
        .arg(data_argument(&directory));
    run(install)?;
    Ok(directory)
}

fn data_argument(directory: &Path) -> String {
    format!("--datadir={}", directory.display())
}

/// MariaDB refuses to run as root unless it is told to by name.
fn user() -> Option<&'static str> {
    rustix::process::getuid().is_root().then_some("--user=root")
}

fn run(mut command: Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    Err(format!("{command:?} ended with {}:\n{told}", output.status))
}
