//! An embedded store as a source, one kind at a time.

use acclaim_core::port::{Admin as _, Reads as _};
use acclaim_core::{EdgeKey, KindId};
use acclaim_engine::embedded::EmbeddedEngine;

use super::source::{Page, Source, Standing};

/// Edges of a page.
const PAGE_EDGES: usize = 1_000;

/// A kind of a store being read.
pub struct EmbeddedSource<'a> {
    engine: &'a EmbeddedEngine,
    kind: KindId,
    after: Option<EdgeKey>,
}

impl<'a> EmbeddedSource<'a> {
    /// From the first edge.
    pub fn new(engine: &'a EmbeddedEngine, kind: KindId) -> Self {
        Self {
            engine,
            kind,
            after: None,
        }
    }
}

impl Source for EmbeddedSource<'_> {
    const KNOWS_REMOVALS: bool = true;

    async fn page(&mut self) -> anyhow::Result<Page> {
        let after = self.after.take();
        let edges = self.engine.export(self.kind, after, PAGE_EDGES).await?;
        let mut page = Page::default();
        if edges.len() == PAGE_EDGES {
            self.after = edges.last().map(|last| last.edge.clone());
            // The store is read anew each time, so where it is need not be said.
            page.next = Some(serde_json::Value::Null);
        }
        let edges = edges.into_iter();
        page.edges = edges.map(|edge| (edge.edge, Some(edge.at))).collect();
        Ok(page)
    }

    fn rewind(&mut self) {
        self.after = None;
    }

    async fn standings(&mut self, edges: &[EdgeKey]) -> anyhow::Result<Vec<Standing>> {
        let statuses = self.engine.statuses(edges.to_vec()).await?;
        let standing = |status: acclaim_core::port::Status| Standing {
            active: status.edge.active,
            at: Some(status.edge.rev),
        };
        Ok(statuses.into_iter().map(standing).collect())
    }
}
