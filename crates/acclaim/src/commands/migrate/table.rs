//! A plain table as a source.

use std::collections::HashMap;
use std::path::Path;

use acclaim_cluster::engine::Cluster;
use acclaim_cluster::foreign::table::{End, Part, Table, TableSpec};
use acclaim_cluster::foreign::{ForeignEdge, Found};
use acclaim_core::port::Clock as _;
use acclaim_core::{EdgeKey, Rev};
use acclaim_engine::SystemClock;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::args::{Step, TableArgs};
use super::copy;
use super::position::PositionFile;
use super::source::{Page, Source, Standing, Words};
use crate::output::{Outcome, note};

/// Rows of a page.
const PAGE_ROWS: u32 = 1_000;
/// Growing numbers are given when a row is begun and seen when it is committed, so changes are
/// looked for from so many before the last one.
const OVERLAP_IDS: i128 = 10_000;
const POSITION: &str = "acclaim-migrate-table.json";

/// Runs a step.
pub async fn run(args: &TableArgs, cluster: &Cluster, words: Words) -> anyhow::Result<Outcome> {
    let table = Table::open(&spec(args, &words)).await;
    let table = table.with_context(|| super::shown_url(&args.from))?;
    let mut source = TableSource {
        table,
        words: words.clone(),
        part: Part::Whole,
        next: None,
    };
    if args.common.step == Step::Compare {
        return super::compare(&mut source, cluster, &words, args.common.mend).await;
    }
    let path = args.common.position.as_deref();
    let path = path.unwrap_or(Path::new(POSITION));
    let name = format!(
        "{} of {} as {}",
        args.table,
        super::shown_url(&args.from),
        words.kind_name()
    );
    let mut file = PositionFile::open(path, name)?;
    let end = source.table.end().await?;
    let copied = match args.common.step {
        Step::Changes => changes(&mut source, cluster, args, &mut file, &end).await?,
        _ => copy_all(&mut source, cluster, &mut file, &end).await?,
    };
    let nameless = source.table.rows_without_names().await?;
    if nameless > 0 {
        note(format_args!(
            "{nameless} rows lack a user or a target and are left out"
        ));
    }
    super::tell(&copied)
}

fn spec(args: &TableArgs, words: &Words) -> TableSpec {
    let type_column = (!words.type_is_given()).then(|| args.type_column.clone());
    TableSpec {
        url: args.from.clone(),
        table: args.table.clone(),
        user_column: args.user_column.clone(),
        type_column,
        target_column: args.target_column.clone(),
        at_column: (!args.at_column.is_empty()).then(|| args.at_column.clone()),
        id_column: args.id_column.clone(),
        at_micros: args.at_unit.micros(),
        time_zone: args.time_zone.clone(),
    }
}

async fn copy_all(
    source: &mut TableSource,
    cluster: &Cluster,
    file: &mut PositionFile,
    end: &End,
) -> anyhow::Result<copy::Copied> {
    if file.position.copied {
        // Everything again; what is there already stays.
        file.position.copied = false;
        file.position.end = None;
    }
    source.next = file.position.next.as_ref().map(key).transpose()?;
    // Whatever is added from now on is found by the changes.
    file.position.end.get_or_insert_with(|| words_of(end));
    file.save()?;
    let copied = copy::run(source, cluster, |next| {
        file.position.next = next.cloned();
        file.position.copied = next.is_none();
        file.save()
    });
    copied.await
}

async fn changes(
    source: &mut TableSource,
    cluster: &Cluster,
    args: &TableArgs,
    file: &mut PositionFile,
    end: &End,
) -> anyhow::Result<copy::Copied> {
    let last = file.position.end.as_ref().filter(|_| file.position.copied);
    let last = end_of(last.context("the copy is not done; run `acclaim migrate table copy`")?)?;
    source.part = if source.table.has_id() {
        Part::AfterId(last.id.unwrap_or(0) - OVERLAP_IDS)
    } else if source.table.has_time() {
        let overlap = u64::from(args.overlap_seconds) * 1_000_000;
        Part::Since(last.now.saturating_sub(overlap))
    } else {
        bail!("without --id-column and --at-column changes are not known; copy again");
    };
    let copied = copy::run(source, cluster, |_| Ok(())).await?;
    file.position.end = Some(words_of(end));
    file.save()?;
    Ok(copied)
}

fn words_of(end: &End) -> Value {
    json!({ "id": end.id.map(|id| id.to_string()), "now": end.now })
}

fn end_of(value: &Value) -> anyhow::Result<End> {
    let id = value["id"].as_str().map(str::parse).transpose();
    Ok(End {
        id: id.context("the position's id")?,
        now: value["now"].as_u64().context("the position's time")?,
    })
}

fn key(value: &Value) -> anyhow::Result<Vec<String>> {
    serde_json::from_value(value.clone()).context("the position's key")
}

/// A table being read.
struct TableSource {
    table: Table,
    words: Words,
    part: Part,
    next: Option<Vec<String>>,
}

impl Source for TableSource {
    const KNOWS_REMOVALS: bool = false;

    async fn page(&mut self) -> anyhow::Result<Page> {
        let rows = self.table.page(self.part, self.next.as_deref(), PAGE_ROWS);
        let rows = rows.await?;
        let mut page = Page {
            next: rows.next.as_ref().map(|key| json!(key)),
            ..Page::default()
        };
        self.next = rows.next;
        self.words.sort(rows.found, SystemClock.now(), &mut page);
        Ok(page)
    }

    fn rewind(&mut self) {
        self.next = None;
    }

    async fn standings(&mut self, edges: &[EdgeKey]) -> anyhow::Result<Vec<Standing>> {
        let asked: Vec<ForeignEdge> = edges
            .iter()
            .filter_map(|edge| self.words.foreign(edge))
            .collect();
        let mut page = Page::default();
        let found: Vec<Found> = self.table.find(&asked).await?;
        self.words.sort(found, Rev::MAX, &mut page);
        let found: HashMap<EdgeKey, Option<Rev>> = page.edges.into_iter().collect();
        let standing = |edge| match found.get(edge) {
            Some(at) => Standing {
                active: true,
                at: *at,
            },
            None => Standing::default(),
        };
        Ok(edges.iter().map(standing).collect())
    }
}
