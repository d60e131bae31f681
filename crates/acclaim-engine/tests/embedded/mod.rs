#![allow(dead_code, reason = "each test binary takes what it needs of this")]
//! The embedded engine as the suites of the testkit want it: one store in a directory of its own.

use std::path::Path;
use std::sync::Arc;

use acclaim_core::{Engine, Kinds};
use acclaim_engine::embedded::{EmbeddedEngine, Options};
use acclaim_testkit::ManualClock;
use acclaim_testkit::conformance::{Ending, Harness};
use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

/// Small limits, so that short tests cross them: many checkpoints, many segments.
pub fn small() -> Options {
    Options {
        delta_max_edges: 500,
        log_segment_bytes: 64 << 10,
        cache_bytes: 8 << 20,
        // Tests move their clocks by months.
        journal_max_seconds: 1 << 32,
        ..Options::default()
    }
}

/// A store and the engine that has it open.
pub struct Embedded {
    kinds: Kinds,
    clock: Arc<ManualClock>,
    engine: Option<Arc<EmbeddedEngine>>,
    /// After the engine, so that it goes last.
    dir: TempDir,
}

fn open(dir: &Path, kinds: &Kinds, clock: &Arc<ManualClock>) -> Arc<EmbeddedEngine> {
    let clock = Arc::clone(clock) as Arc<dyn acclaim_core::port::Clock>;
    EmbeddedEngine::open(dir, kinds.clone(), small(), clock, &mut Registry::default()).unwrap()
}

/// Copies what a crash would leave, but for the tables: the whole log, from the first commit. A
/// store that is opened from it builds everything anew, so the journal must fold to the same.
fn copy_log(from: &Path, to: &Path) {
    // First, so that no job of the copied log misses its text.
    std::fs::create_dir_all(to.join("spool")).unwrap();
    for text in std::fs::read_dir(from.join("spool")).unwrap() {
        let text = text.unwrap();
        // One that is gone meanwhile was read.
        let _ = std::fs::copy(text.path(), to.join("spool").join(text.file_name()));
    }
    std::fs::create_dir_all(to.join("log")).unwrap();
    for name in ["manifest.json", "watermark"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    for file in std::fs::read_dir(from.join("log")).unwrap() {
        let file = file.unwrap();
        match std::fs::copy(file.path(), to.join("log").join(file.file_name())) {
            Ok(_) => {}
            // The segment that is being prepared took its name meanwhile.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self {
        let dir = TempDir::new().unwrap();
        let engine = Some(open(dir.path(), &kinds, &clock));
        Self {
            kinds,
            clock,
            dir,
            engine,
        }
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone().unwrap()
    }

    async fn reopen(&mut self, ending: Ending) -> bool {
        let engine = self.engine.take().unwrap();
        let dir = TempDir::new().unwrap();
        match ending {
            Ending::Clean => engine.stop().await.unwrap(),
            Ending::Crash => copy_log(self.dir.path(), dir.path()),
        }
        drop(engine);
        if ending == Ending::Crash {
            self.dir = dir;
        }
        self.engine = Some(open(self.dir.path(), &self.kinds, &self.clock));
        true
    }
}
