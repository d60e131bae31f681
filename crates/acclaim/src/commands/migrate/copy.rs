//! Copying edges into a cluster, many at a time: while some are written the next are read.

use acclaim_cluster::engine::Cluster;
use acclaim_core::{Action, Op};

use super::super::patience;
use super::source::{Page, Source};

/// Edges that are gathered before they are written. They are spread over the partitions, and each
/// partition's part is one transaction.
const WRITE_EDGES: usize = 20_000;
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

/// Copies what is left of a source. `keep` hears where pages ended once they are written; `None`
/// is the end.
///
/// # Errors
/// Of either side; then what was kept holds.
pub async fn run(
    source: &mut impl Source,
    cluster: &Cluster,
    mut keep: impl FnMut(Option<&serde_json::Value>) -> anyhow::Result<()>,
) -> anyhow::Result<Copied> {
    let mut copied = Copied::default();
    let mut pages = gather(source).await?;
    loop {
        let Page {
            edges,
            rejected,
            next,
        } = pages;
        copied.count_rejected(rejected);
        copied.rows += edges.len() as u64;
        let ops = edges.into_iter().map(|(edge, at)| Op {
            at,
            ..Op::new(Action::Set, edge)
        });
        let writing = patience::import(cluster, ops.collect());
        let reading = async {
            match &next {
                Some(_) => gather(source).await.map(Some),
                None => Ok(None),
            }
        };
        let (written, read) = tokio::try_join!(writing, reading)?;
        copied.set += written.set;
        copied.unchanged += written.unchanged;
        keep(next.as_ref())?;
        match read {
            Some(read) => pages = read,
            None => return Ok(copied),
        }
    }
}

/// Some pages as one.
async fn gather(source: &mut impl Source) -> anyhow::Result<Page> {
    let mut pages = source.page().await?;
    while pages.next.is_some() && pages.edges.len() < WRITE_EDGES {
        let page = source.page().await?;
        pages.edges.extend(page.edges);
        pages.rejected.extend(page.rejected);
        pages.next = page.next;
    }
    Ok(pages)
}
