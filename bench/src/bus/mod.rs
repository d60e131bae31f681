//! `bus`: the cluster engine with a bus, beside one without, and what the bus does while it is
//! full, empty and away.
//!
//! Everything is seen from outside: rates by `acclaim bench`, rows in MariaDB itself, backlog and
//! memory as the process tells them. Both clusters have servers of their own and run all the time.

mod broker;
mod rows;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use self::broker::Broker;
use crate::cluster::{Store, backlog, wait_for_ledger};
use crate::generator::{Load, Measured, measure};
use crate::http;
use crate::process::Server;
use crate::statistics::median;
use crate::table::{Table, mebibytes, thousands};
use crate::turns::Turns;

const TARGET_TYPE: &str = "BENCH";
/// The pause between two looks at how far something is.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Flags of `bus`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    turns: Turns,
    /// Which bus
    #[arg(long)]
    bus: broker::Name,
    /// Likes that are followed to their row one by one, with nothing else under way
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    likes: u64,
    /// Events that pile up before they are drained
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=900_000))]
    backlog: u64,
}

/// What all measurements need.
struct Bench<'a> {
    args: &'a Args,
    program: PathBuf,
    runtime: Runtime,
    broker: Broker,
    bus_url: String,
    store: Store,
    plain: Store,
}

/// Measures, and prints a table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let (broker, store, plain) = runtime.block_on(async {
        tokio::try_join!(Broker::start(args.bus), Store::start(), Store::start())
    })?;
    let bench = Bench {
        args,
        program: args.turns.program()?,
        bus_url: broker.url(),
        runtime,
        broker,
        store,
        plain,
    };
    let mut figures = Table::new(&["what", "figure"]);
    let mut row = |what: &str, figure: String| {
        eprintln!("{what}: {figure}");
        figures.row(vec![what.to_owned(), figure]);
    };
    bench.measure(&mut row)?;
    println!(
        "{:?}: {}; a worker in the server's process; everything on this machine\n",
        args.bus,
        args.turns.words()
    );
    print!("{}", figures.markdown());
    Ok(())
}

impl Bench<'_> {
    fn measure(&self, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let with = Server::cluster(&self.program, &self.flags())?;
        self.rows(&with, row)?;
        let plain = Server::cluster(&self.program, &self.plain.flags())?;
        self.beside(&with, &plain, row)?;
        drop(plain);
        self.acknowledged(&with, row)?;
        self.away(&with, row)?;
        drop(with);
        self.drain(row)
    }

    /// The flags of whoever uses the bus.
    fn flags(&self) -> Vec<String> {
        let mut flags = self.store.flags();
        flags.extend(["--bus".to_owned(), self.bus_url.clone()]);
        flags
    }

    fn load(&self, seed: u64) -> Load<'static> {
        Load {
            scenario: "toggle",
            connections: self.args.turns.connections,
            seconds: self.args.turns.seconds,
            users: self.args.turns.users,
            targets: self.args.turns.targets,
            target_type: TARGET_TYPE,
            seed,
            rate: None,
            ack: None,
        }
    }

    /// One turn, after which the ledger has everything.
    fn turn(&self, server: &Server, load: &Load<'_>) -> anyhow::Result<Measured> {
        let measured = measure(&self.program, server, load)?;
        wait_for_ledger(server)?;
        Ok(measured)
    }

    /// One like after the other, each until MariaDB shows its row.
    fn rows(&self, server: &Server, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let followed = rows::follow(server, self.store.ledger_url(), self.args.likes);
        let mut millis = self.runtime.block_on(followed)?;
        millis.sort_by(f64::total_cmp);
        let at = |part: f64| millis[((millis.len() - 1) as f64 * part).round() as usize];
        row(
            "like to its row, idle, ms: p50 / p99 / most",
            format!("{:.0} / {:.0} / {:.0}", at(0.5), at(0.99), at(1.0)),
        );
        Ok(())
    }

    /// Toggles with the bus and without, by turns.
    fn beside(
        &self,
        with: &Server,
        plain: &Server,
        row: &mut impl FnMut(&str, String),
    ) -> anyhow::Result<()> {
        let mut turns = Vec::new();
        // The first turn loads what is cold and is thrown away.
        for round in 0..=self.args.turns.rounds {
            let load = self.load(round);
            let (plain, with) = (self.turn(plain, &load)?, self.turn(with, &load)?);
            if round > 0 {
                turns.push((plain.rate, with.rate));
            }
        }
        let of = |rate: fn(&(f64, f64)) -> f64| median(turns.iter().map(rate));
        row("toggles without a bus, req/s", thousands(of(|turn| turn.0)));
        row("toggles with it, req/s", thousands(of(|turn| turn.1)));
        row(
            "the second to the first",
            format!("{:.2}", of(|turn| turn.1 / turn.0)),
        );
        Ok(())
    }

    /// Toggles that are answered when the bus has them.
    fn acknowledged(
        &self,
        with: &Server,
        row: &mut impl FnMut(&str, String),
    ) -> anyhow::Result<()> {
        let load = Load {
            ack: Some("bus"),
            ..self.load(1_000)
        };
        let measured = self.turn(with, &load)?;
        row(
            "toggles acknowledged by the bus, req/s",
            thousands(measured.rate),
        );
        row("their p99, ms", format!("{:.0}", measured.p99_micros / 1e3));
        Ok(())
    }

    /// Toggles while the bus is up and after it was killed, by turns. Then everything must come.
    fn away(&self, with: &Server, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let mut turns = Vec::new();
        for round in 1..=self.args.turns.rounds {
            let load = self.load(2_000 + round);
            let up = self.turn(with, &load)?;
            self.broker.kill();
            let down = measure(&self.program, with, &load)?;
            self.runtime.block_on(self.broker.restart());
            let began = Instant::now();
            wait_for_ledger(with)?;
            turns.push((up.rate, down.rate, began.elapsed().as_secs_f64()));
        }
        let of = |rate: fn(&(f64, f64, f64)) -> f64| median(turns.iter().map(rate));
        row(
            "toggles while the bus is up, req/s",
            thousands(of(|turn| turn.0)),
        );
        row(
            "toggles while it is dead, req/s",
            thousands(of(|turn| turn.1)),
        );
        row(
            "the second to the first",
            format!("{:.2}", of(|turn| turn.1 / turn.0)),
        );
        row(
            "the ledger has all, s after the restart",
            format!("{:.1}", of(|turn| turn.2)),
        );
        Ok(())
    }

    /// What piled up while nobody moved anything is moved by one worker.
    fn drain(&self, row: &mut impl FnMut(&str, String)) -> anyhow::Result<()> {
        let config = tempfile::NamedTempFile::new()?;
        std::fs::write(config.path(), "[cluster]\nworker = false\n")?;
        let mut flags = self.flags();
        flags.extend(["--config".to_owned(), config.path().display().to_string()]);
        let alone = Server::cluster(&self.program, &flags)?;
        let (mut seed, mut events) = (3_000, 0.0);
        while events < self.args.backlog as f64 {
            measure(&self.program, &alone, &self.load(seed))?;
            (seed, events) = (seed + 1, backlog(&alone)?.0);
        }
        let started = Instant::now();
        let worker = Server::worker(&self.program, &self.flags())?;
        let mut half = None;
        loop {
            let left = backlog(&worker)?.0;
            if left <= events / 2.0 && half.is_none() {
                half = Some(worker.memory()?.resident);
            }
            if left <= 0.0 {
                break;
            }
            thread::sleep(LOOK_PAUSE);
        }
        let took = started.elapsed().as_secs_f64();
        row("events that had piled up", thousands(events));
        row(
            "through the bus into the ledger, events/s",
            thousands(events / took),
        );
        let memory = worker.memory()?;
        row(
            "the worker's memory: half way / at most",
            format!(
                "{} / {}",
                mebibytes(half.unwrap_or(memory.resident)),
                mebibytes(memory.peak)
            ),
        );
        // What the relay and the recorders say they did.
        let ready = http::get(&worker.url, "/ready")?;
        anyhow::ensure!(ready["ready"] == true, "the worker is not ready: {ready}");
        Ok(())
    }
}
