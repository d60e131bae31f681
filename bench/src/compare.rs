//! `compare`: the server against a null server of the same stack.
//!
//! Both run all the time, and the same generator asks them by turns, so whatever else the machine
//! does hits both. Of each scenario the first turn of both is thrown away; each turn after that
//! gives a pair, and what is reported is the median of the pairs' ratios.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::generator::{Load, Measured, measure};
use crate::process::Server;
use crate::statistics::median;
use crate::table::{Table, thousands};
use crate::turns::Turns;

/// The first turn, which is thrown away, takes this many seconds at most.
const MAX_WARM_UP_SECONDS: u64 = 3;

/// A scenario of `acclaim bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Toggle,
    Set,
    Status,
    Count,
    Batch,
    Hot,
    Feed,
}

/// Flags of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    turns: Turns,
    /// What to ask, with commas between
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "toggle,set,status,count,batch,hot,feed"
    )]
    scenarios: Vec<Scenario>,
    /// Where the data directory is made, and removed at the end [default: the system's for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// One turn of each server.
struct Pair {
    null: Measured,
    acclaim: Measured,
}

/// Compares, scenario by scenario, and prints a table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let program = args.turns.program()?;
    let dir = crate::growth::work_dir(args.dir.as_deref())?;
    let null = Server::null()?;
    let acclaim = Server::acclaim(&program, &dir.path().join("data"))?;
    let mut table = Table::new(&[
        "scenario",
        "null req/s",
        "acclaim req/s",
        "ratio",
        "null p99 µs",
        "acclaim p99 µs",
        "p99 ratio",
        "null CPU µs/req",
        "acclaim CPU µs/req",
    ]);
    for scenario in &args.scenarios {
        let name = name(*scenario);
        let pairs = pairs(args, &name, &program, &null, &acclaim)?;
        table.row(row(*scenario, &name, &pairs));
    }
    println!(
        "{}; ratios are medians of the turns' ratios\n",
        args.turns.words()
    );
    print!("{}", table.markdown());
    Ok(())
}

fn name(scenario: Scenario) -> String {
    let value = scenario.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn pairs(
    args: &Args,
    scenario: &str,
    program: &Path,
    null: &Server,
    acclaim: &Server,
) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for round in 0..=args.turns.rounds {
        let warm_up = round == 0;
        let load = Load {
            scenario,
            connections: args.turns.connections,
            seconds: match warm_up {
                true => args.turns.seconds.min(MAX_WARM_UP_SECONDS),
                false => args.turns.seconds,
            },
            users: args.turns.users,
            targets: args.turns.targets,
            target_type: "BENCH",
            // Other edges in each turn: most writes are of new ones.
            seed: round + 1,
            rate: None,
            ack: None,
        };
        let pair = Pair {
            null: measure(program, null, &load)?,
            acclaim: measure(program, acclaim, &load)?,
        };
        if !warm_up {
            let (null, acclaim) = (pair.null.rate, pair.acclaim.rate);
            let ratio = acclaim / null;
            eprintln!("{scenario} {round}: null {null:.0}, acclaim {acclaim:.0}, ratio {ratio:.2}");
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

fn row(scenario: Scenario, name: &str, pairs: &[Pair]) -> Vec<String> {
    let of = |what: fn(&Pair) -> f64| median(pairs.iter().map(what));
    let rate = of(|pair| pair.acclaim.rate);
    let name = match scenario {
        Scenario::Batch => format!("{name} (500 edges; {} edges/s)", thousands(rate * 500.0)),
        _ => name.to_owned(),
    };
    vec![
        name,
        thousands(of(|pair| pair.null.rate)),
        thousands(rate),
        format!("{:.2}", of(|pair| pair.acclaim.rate / pair.null.rate)),
        thousands(of(|pair| pair.null.p99_micros)),
        thousands(of(|pair| pair.acclaim.p99_micros)),
        format!(
            "{:.2}",
            of(|pair| pair.acclaim.p99_micros / pair.null.p99_micros)
        ),
        format!("{:.1}", of(|pair| pair.null.cpu_micros)),
        format!("{:.1}", of(|pair| pair.acclaim.cpu_micros)),
    ]
}
