//! `cluster`: the cluster engine, with its Redis and MariaDB on this machine too.
//!
//! Requests are compared with the null server by turns, as `compare` does. After that the servers
//! are looked into: bytes an edge, how fast a worker alone moves what has piled up, how far the
//! ledger is behind at half that rate, and what it costs to load everything anew.

mod plain;
mod store;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Runtime;

pub(crate) use self::store::Store;
use crate::generator::{Load, Measured, measure};
use crate::http;
use crate::process::Server;
use crate::statistics::median;
use crate::table::{Table, thousands};
use crate::turns::Turns;

const TARGET_TYPE: &str = "BENCH";
/// What is asked by turns: its name, the scenario, and the acknowledgement that is asked for.
const ASKED: [(&str, &str, Option<&str>); 4] = [
    ("toggle", "toggle", None),
    ("toggle, `ledger`", "toggle", Some("ledger")),
    ("status", "status", None),
    ("count", "count", None),
];
/// The pause between two looks at how far the ledger is.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// What all measurements need.
struct Bench<'a> {
    turns: &'a Turns,
    program: PathBuf,
    runtime: Runtime,
    store: Store,
    null: Server,
}

/// One turn of each server, and what the others used for a request, in microseconds.
struct Turn {
    null: Measured,
    acclaim: Measured,
    redis_micros: f64,
    mariadb_micros: f64,
}

/// Measures, and prints two tables.
pub(crate) fn run(turns: &Turns) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let store = runtime.block_on(Store::start())?;
    let bench = Bench {
        turns,
        program: turns.program()?,
        runtime,
        store,
        null: Server::null()?,
    };
    let empty_bytes = bench.runtime.block_on(bench.store.redis_bytes())?;
    let requests = bench.requests()?;
    println!(
        "{}; a worker in the server's process; everything on this machine\n",
        turns.words()
    );
    println!("{}", requests.markdown());
    let mut figures = Table::new(&["what", "figure"]);
    let mut row = |what: &str, figure: String| figures.row(vec![what.to_owned(), figure]);
    bench.sizes(empty_bytes, &mut row)?;
    bench.ledger(&mut row)?;
    bench.cold(&mut row)?;
    bench.plain(&mut row)?;
    print!("{}", figures.markdown());
    Ok(())
}

impl Bench<'_> {
    fn load<'a>(&self, scenario: &'a str, seed: u64, seconds: u64) -> Load<'a> {
        Load {
            scenario,
            connections: self.turns.connections,
            seconds,
            users: self.turns.users,
            targets: self.turns.targets,
            target_type: TARGET_TYPE,
            seed,
            rate: None,
            ack: None,
        }
    }

    fn requests(&self) -> anyhow::Result<Table> {
        let server = Server::cluster(&self.program, &self.store.flags())?;
        let mut table = Table::new(&[
            "scenario",
            "null req/s",
            "acclaim req/s",
            "ratio",
            "acclaim p99 µs",
            "server CPU µs/req",
            "Redis CPU µs/req",
            "MariaDB CPU µs/req",
        ]);
        for (name, scenario, ack) in ASKED {
            let ask = |round| {
                let load = Load {
                    ack,
                    ..self.load(scenario, round + 1, self.turns.seconds)
                };
                self.turn(&server, name, round, &load)
            };
            // The first turn loads what is cold and is thrown away.
            ask(0)?;
            let turns: Vec<Turn> = (1..=self.turns.rounds)
                .map(ask)
                .collect::<anyhow::Result<_>>()?;
            let of = |what: fn(&Turn) -> f64| median(turns.iter().map(what));
            table.row(vec![
                name.to_owned(),
                thousands(of(|turn| turn.null.rate)),
                thousands(of(|turn| turn.acclaim.rate)),
                format!("{:.2}", of(|turn| turn.acclaim.rate / turn.null.rate)),
                thousands(of(|turn| turn.acclaim.p99_micros)),
                format!("{:.1}", of(|turn| turn.acclaim.cpu_micros)),
                format!("{:.1}", of(|turn| turn.redis_micros)),
                format!("{:.1}", of(|turn| turn.mariadb_micros)),
            ]);
        }
        Ok(table)
    }

    /// One turn of each server. The null server's begins when the ledger has everything, so it has
    /// the machine for itself.
    fn turn(
        &self,
        server: &Server,
        name: &str,
        round: u64,
        load: &Load<'_>,
    ) -> anyhow::Result<Turn> {
        wait_for_ledger(server)?;
        let null = measure(&self.program, &self.null, load)?;
        let before = self.store.cpu()?;
        let acclaim = measure(&self.program, server, load)?;
        let after = self.store.cpu()?;
        let micros = |used: Duration| used.as_secs_f64() * 1e6 / acclaim.requests as f64;
        let turn = Turn {
            null,
            redis_micros: micros(after.redis - before.redis),
            mariadb_micros: micros(after.mariadb - before.mariadb),
            acclaim,
        };
        let (null, rate) = (turn.null.rate, turn.acclaim.rate);
        eprintln!(
            "{name} {round}: null {null:.0}, acclaim {rate:.0}, ratio {:.2}",
            rate / null
        );
        Ok(turn)
    }

    /// Bytes an edge.
    fn sizes(&self, empty: u64, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let store = &self.store;
        let edges = self.runtime.block_on(store.edges())?;
        let redis = self
            .runtime
            .block_on(store.redis_bytes())?
            .saturating_sub(empty);
        let ledger = self.runtime.block_on(store.ledger_bytes())?;
        let an_edge = |bytes: u64| format!("{:.1}", bytes as f64 / edges as f64);
        row("edges", thousands(edges as f64));
        row("Redis, bytes an edge, journals included", an_edge(redis));
        row(
            "MariaDB, bytes an edge, tables and indexes",
            an_edge(ledger),
        );
        Ok(())
    }

    /// What a worker alone moves, and how far the ledger is behind at half that rate.
    fn ledger(&self, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let mut flags = self.store.flags();
        let config = tempfile::NamedTempFile::new()?;
        std::fs::write(config.path(), "[cluster]\nworker = false\n")?;
        let config = config.path().display().to_string();
        flags.extend(["--config".to_owned(), config]);
        let alone = Server::cluster(&self.program, &flags)?;
        measure(
            &self.program,
            &alone,
            &self.load("toggle", 100, 2 * self.turns.seconds),
        )?;
        let events = backlog(&alone)?.0;
        let started = Instant::now();
        let worker = Server::worker(&self.program, &self.store.flags())?;
        wait_for_ledger(&worker)?;
        let rate = events / started.elapsed().as_secs_f64();
        row("events that had piled up", thousands(events));
        row("worker alone, events/s into the ledger", thousands(rate));
        let half = Load {
            rate: Some(((rate / 2.0) as u64).max(1)),
            ..self.load("toggle", 200, self.turns.seconds)
        };
        let lag = thread::scope(|scope| {
            let loading = scope.spawn(|| measure(&self.program, &alone, &half));
            let mut lag = 0.0f64;
            while !loading.is_finished() {
                lag = lag.max(backlog(&worker)?.1);
                thread::sleep(LOOK_PAUSE);
            }
            let loaded = loading.join();
            loaded.map_err(|_| anyhow::anyhow!("the load panicked"))??;
            anyhow::Ok(lag)
        })?;
        row(
            "the most that the ledger was behind at half that rate",
            format!("{lag:.2} s"),
        );
        wait_for_ledger(&worker)
    }

    /// Redis is emptied: each target is loaded once more.
    fn cold(&self, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        self.runtime.block_on(self.store.redis.flush_all());
        let server = Server::cluster(&self.program, &self.store.flags())?;
        let load = self.load("status", 300, self.turns.seconds);
        let cold = measure(&self.program, &server, &load)?;
        row(
            "status right after Redis was emptied, req/s",
            thousands(cold.rate),
        );
        row("its p99, µs", thousands(cold.p99_micros));
        Ok(())
    }

    fn plain(&self, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let turns = self.turns;
        let time = Duration::from_secs(turns.seconds);
        let of = (turns.users, turns.targets);
        let redis = &self.store.redis;
        let toggles = plain::toggles_a_second(redis, turns.connections, of, time);
        let rate = self.runtime.block_on(toggles)?;
        row(
            "a plain script of three keys, calls/s without a server",
            thousands(rate),
        );
        Ok(())
    }
}

/// Events that the ledger lacks, and for how many seconds.
pub(crate) fn backlog(server: &Server) -> anyhow::Result<(f64, f64)> {
    let ready = http::get(&server.url, "/ready")?;
    let number = |name: &str| {
        let number = ready.get(name).and_then(serde_json::Value::as_f64);
        number.with_context(|| format!("/ready has no {name}: {ready}"))
    };
    Ok((number("backlogEvents")?, number("backlogSeconds")?))
}

/// Waits until the ledger has everything.
pub(crate) fn wait_for_ledger(server: &Server) -> anyhow::Result<()> {
    while backlog(server)?.0 > 0.0 {
        thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}
