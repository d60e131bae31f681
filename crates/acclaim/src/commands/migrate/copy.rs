//! Copying edges into an engine, page by page: while one page is written the next is read.

use acclaim_core::{Action, Engine, Op};

use super::super::patience;
use super::source::{Page, Source};

/// Rejected rows that are shown.
const SHOWN_REJECTIONS: usize = 10;

/// What a copy came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows read.
    pub rows: u64,
    /// Edges that were not there before.
    pub set: u64,
    /// Edges that were there, or that a newer transition stands against.
    pub unchanged: u64,
    /// Rows that are no edges.
    pub rejected: u64,
    /// The first of those, in words.
    pub shown: Vec<String>,
}

impl Copied {
    fn count_rejected(&mut self, rejected: Vec<String>) {
        self.rows += rejected.len() as u64;
        self.rejected += rejected.len() as u64;
        let room = SHOWN_REJECTIONS.saturating_sub(self.shown.len());
        self.shown.extend(rejected.into_iter().take(room));
    }
}

/// Copies what is left of a source. `keep` hears where each page ended once the page is written;
/// `None` is the end.
///
/// # Errors
/// Of either side; then what was kept holds.
pub async fn run(
    source: &mut impl Source,
    engine: &dyn Engine,
    mut keep: impl FnMut(Option<&serde_json::Value>) -> anyhow::Result<()>,
) -> anyhow::Result<Copied> {
    let mut copied = Copied::default();
    let mut page = source.page().await?;
    loop {
        let Page {
            edges,
            rejected,
            next,
        } = page;
        copied.count_rejected(rejected);
        copied.rows += edges.len() as u64;
        let ops = edges.into_iter().map(|(edge, at)| Op {
            at,
            ..Op::new(Action::Set, edge)
        });
        let writing = patience::apply(engine, ops.collect());
        let reading = async {
            match &next {
                Some(_) => source.page().await.map(Some),
                None => Ok(None),
            }
        };
        let (written, read) = tokio::try_join!(writing, reading)?;
        let set = written.iter().filter(|done| done.changed).count() as u64;
        copied.set += set;
        copied.unchanged += written.len() as u64 - set;
        keep(next.as_ref())?;
        match read {
            Some(read) => page = read,
            None => return Ok(copied),
        }
    }
}
