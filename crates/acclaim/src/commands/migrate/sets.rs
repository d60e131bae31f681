//! Redis sets as a source.

use std::path::Path;

use acclaim_cluster::engine::Cluster;
use acclaim_cluster::foreign::ForeignEdge;
use acclaim_cluster::foreign::sets::{Pattern, Place, Sets, SetsSpec};
use acclaim_core::EdgeKey;
use acclaim_core::port::Clock as _;
use acclaim_engine::SystemClock;
use anyhow::Context as _;
use serde_json::{Value, json};

use super::args::{SetsArgs, Step};
use super::copy;
use super::position::PositionFile;
use super::source::{Page, Source, Standing, Words};
use crate::output::{Outcome, note};

const POSITION: &str = "acclaim-migrate-sets.json";

/// Runs a step.
pub async fn run(args: &SetsArgs, cluster: &Cluster, words: Words) -> anyhow::Result<Outcome> {
    let spec = SetsSpec {
        url: args.from.clone(),
        key: Pattern::parse(&args.key).context("--key")?,
        member: Pattern::parse(&args.member).context("--member")?,
        score_micros: args.scores.map(super::args::Unit::micros),
    };
    let sets = Sets::open(spec, words.type_is_given()).await;
    let sets = sets.with_context(|| super::shown_url(&args.from))?;
    let mut source = SetsSource {
        sets,
        words: words.clone(),
    };
    let outcome = match args.common.step {
        Step::Compare => super::compare(&mut source, cluster, &words, args.common.mend).await?,
        // A set does not say what was added to it when, so changes are all of it once more.
        Step::Changes => {
            let copied = copy::run(&mut source, cluster, |_| Ok(())).await?;
            super::tell(&copied)?
        }
        Step::Copy => {
            let name = format!(
                "{} of {} as {}",
                args.key,
                super::shown_url(&args.from),
                words.kind_name()
            );
            let path = args.common.position.as_deref();
            let mut file = PositionFile::open(path.unwrap_or(Path::new(POSITION)), name)?;
            if let Some(next) = &file.position.next {
                source.sets.go_to(place(next)?);
            }
            let copied = copy::run(&mut source, cluster, |next| {
                if file.position.next.as_ref() == next && next.is_some() {
                    return Ok(());
                }
                file.position.next = next.cloned();
                file.position.copied = next.is_none();
                file.save()
            });
            super::tell(&copied.await?)?
        }
    };
    let others = source.sets.others();
    if others > 0 {
        note(format_args!(
            "{others} keys match and are no sets, sorted sets or hashes"
        ));
    }
    Ok(outcome)
}

fn place(value: &Value) -> anyhow::Result<Place> {
    let server = value["server"].as_u64().context("the position's server")?;
    let cursor = value["cursor"].as_str().context("the position's cursor")?;
    Ok(Place {
        server: usize::try_from(server)?,
        cursor: cursor.to_owned(),
    })
}

/// Sets being read.
struct SetsSource {
    sets: Sets,
    words: Words,
}

impl Source for SetsSource {
    const KNOWS_REMOVALS: bool = false;

    async fn page(&mut self) -> anyhow::Result<Page> {
        let members = self.sets.page().await?;
        let next = members.next.map(|place| {
            let Place { server, cursor } = place;
            json!({ "server": server, "cursor": cursor })
        });
        let mut page = Page {
            next,
            rejected: members.misspelled,
            ..Page::default()
        };
        self.words.sort(members.found, SystemClock.now(), &mut page);
        Ok(page)
    }

    fn rewind(&mut self) {
        self.sets.go_to(Place::start_of(0));
    }

    async fn standings(&mut self, edges: &[EdgeKey]) -> anyhow::Result<Vec<Standing>> {
        let mut places = Vec::with_capacity(edges.len());
        let mut asked: Vec<ForeignEdge> = Vec::with_capacity(edges.len());
        for (place, edge) in edges.iter().enumerate() {
            if let Some(edge) = self.words.foreign(edge) {
                places.push(place);
                asked.push(edge);
            }
        }
        let mut standings = vec![Standing::default(); edges.len()];
        for found in self.sets.find(&asked).await? {
            standings[places[found]].active = true;
        }
        Ok(standings)
    }
}
