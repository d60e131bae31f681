//! The sources of a load, and how many lines of each changed nothing.
//!
//! Whether a line changes anything is known long after it was read. Its place in the journal tells
//! which source it came from, since places rise from line to line.

use acclaim_core::Rev;

/// What became of the lines of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Edges that were not there before.
    pub set: u64,
    /// Lines whose edge was there, or that a newer one stands against.
    pub unchanged: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    lines: u64,
    unchanged: u64,
    /// The last place in the journal of its lines.
    last: Rev,
}

/// All sources, the one that is being read last.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    read: Vec<Source>,
    lines: u64,
}

impl Sources {
    /// Counts a line.
    pub fn line(&mut self) {
        self.lines += 1;
    }

    /// Whether lines were counted since the last source ended.
    pub fn is_under_way(&self) -> bool {
        self.lines > 0
    }

    /// The source under way is read; `last` is the last place given.
    pub fn end(&mut self, last: Rev) {
        let lines = std::mem::take(&mut self.lines);
        let unchanged = 0;
        self.read.push(Source {
            lines,
            unchanged,
            last,
        });
    }

    /// The line with this place changed nothing.
    pub fn unchanged(&mut self, seq: Rev) {
        let place = self.read.partition_point(|source| source.last < seq);
        if let Some(source) = self.read.get_mut(place) {
            source.unchanged += 1;
        }
    }

    /// What became of them.
    pub fn loaded(&self) -> Vec<Loaded> {
        let of = |source: &Source| Loaded {
            set: source.lines - source.unchanged,
            unchanged: source.unchanged,
        };
        self.read.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_for_their_source() {
        let mut sources = Sources::default();
        for (lines, last) in [(3, 3), (0, 3), (2, 5)] {
            (0..lines).for_each(|_| sources.line());
            sources.end(Rev(last));
        }
        [3, 4, 5]
            .into_iter()
            .for_each(|seq| sources.unchanged(Rev(seq)));
        let loaded: Vec<_> = sources
            .loaded()
            .iter()
            .map(|l| (l.set, l.unchanged))
            .collect();
        assert_eq!(loaded, [(2, 1), (0, 0), (0, 2)]);
    }
}
