//! What a ledger consists of, and what of it is copied.
//!
//! Not `schema_versions`, which migrations make, nor `workers`, who tell anew that they live.

/// How a column stands in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A whole number from zero.
    Number,
    /// Bytes.
    Bytes,
    /// Text.
    Text,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    /// How many columns, from the first, are its key.
    pub key: usize,
    pub columns: &'static [(&'static str, Form)],
    /// A condition on the rows that are copied.
    pub only: &'static str,
    /// Columns that are not compared, with what they are in a new row.
    pub fresh: &'static [(&'static str, &'static str)],
    /// Rows that are read at a time.
    pub page: u64,
    /// Whether nodes may write it while the partitions are paused.
    pub is_journal: bool,
}

use Form::{Bytes, Number, Text};

const PLAIN: Table = Table {
    name: "",
    key: 0,
    columns: &[],
    only: "",
    fresh: &[],
    page: 2_000,
    is_journal: false,
};

/// All of them; names before the rows that use their numbers.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "meta",
        key: 1,
        columns: &[("name", Bytes), ("value", Bytes)],
        only: "name NOT IN ('dictionary', 'moving', 'replay')",
        ..PLAIN
    },
    Table {
        name: "kinds",
        key: 1,
        columns: &[("no", Number), ("name", Bytes)],
        ..PLAIN
    },
    Table {
        name: "target_types",
        key: 1,
        columns: &[("no", Number), ("name", Bytes)],
        ..PLAIN
    },
    Table {
        name: "edges",
        key: 5,
        columns: &[
            ("kind", Number),
            ("target_type", Number),
            ("target", Bytes),
            ("user_hash", Number),
            ("user", Bytes),
            ("active", Number),
            ("place", Number),
        ],
        ..PLAIN
    },
    Table {
        name: "targets",
        key: 3,
        columns: &[
            ("kind", Number),
            ("target_type", Number),
            ("target", Bytes),
            ("count_place", Number),
            ("seq", Number),
            ("edges", Number),
            ("last_day", Number),
            ("pulse", Bytes),
        ],
        ..PLAIN
    },
    Table {
        name: "users",
        key: 2,
        columns: &[
            ("kind", Number),
            ("user", Bytes),
            ("given", Number),
            ("mutual", Number),
            ("types", Bytes),
        ],
        ..PLAIN
    },
    Table {
        name: "daily",
        key: 4,
        columns: &[
            ("kind", Number),
            ("target_type", Number),
            ("day", Number),
            ("shard", Number),
            ("sets", Number),
            ("unsets", Number),
            ("users", Number),
        ],
        ..PLAIN
    },
    Table {
        name: "partitions",
        key: 1,
        columns: &[
            ("n", Number),
            ("epoch", Number),
            ("fence", Number),
            ("applied", Number),
            ("seat", Bytes),
            ("turn", Number),
            ("life", Number),
            ("passed", Number),
            ("carried", Number),
            ("closing", Number),
            ("closed", Number),
            ("reached", Number),
        ],
        fresh: &[("owner", "''"), ("lease_until", "0")],
        ..PLAIN
    },
    Table {
        name: "dead_letters",
        key: 1,
        columns: &[
            ("id", Number),
            ("part", Number),
            ("epoch", Number),
            ("seq", Number),
            ("at", Number),
            ("reason", Text),
            ("payload", Bytes),
        ],
        page: 200,
        ..PLAIN
    },
    Table {
        name: "audit",
        key: 1,
        columns: &[
            ("id", Number),
            ("at", Number),
            ("action", Text),
            ("detail", Text),
        ],
        is_journal: true,
        ..PLAIN
    },
    Table {
        name: "checks",
        key: 1,
        columns: &[
            ("id", Number),
            ("at", Number),
            ("checked", Number),
            ("mismatches", Number),
            ("repaired", Number),
            ("findings", Bytes),
        ],
        page: 200,
        is_journal: true,
        ..PLAIN
    },
    Table {
        name: "jobs",
        key: 1,
        columns: &[
            ("id", Number),
            ("spec", Text),
            ("state", Number),
            ("done", Number),
            ("total", Number),
            ("error", Text),
            ("progress", Bytes),
            ("rejections", Bytes),
            ("owner", Bytes),
            ("fence", Number),
            ("lease_until", Number),
        ],
        page: 200,
        is_journal: true,
        ..PLAIN
    },
    Table {
        name: "import_texts",
        key: 1,
        columns: &[
            ("text", Bytes),
            ("job", Number),
            ("bytes", Number),
            ("touched", Number),
        ],
        is_journal: true,
        ..PLAIN
    },
    Table {
        name: "import_pieces",
        key: 2,
        columns: &[("text", Bytes), ("n", Number), ("piece", Bytes)],
        page: 4,
        is_journal: true,
        ..PLAIN
    },
    Table {
        name: "notes",
        key: 2,
        columns: &[("shard", Number), ("k", Bytes), ("v", Bytes)],
        page: 200,
        ..PLAIN
    },
    Table {
        name: "duties",
        key: 1,
        columns: &[("name", Bytes), ("fence", Number)],
        fresh: &[("owner", "''"), ("lease_until", "0"), ("wakes", "0")],
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::super::super::schema::MIGRATIONS;
    use super::*;

    /// A table or a column that a later migration adds must be thought of here.
    #[test]
    fn every_table_and_column_of_the_schema_is_known() {
        let statements = || MIGRATIONS.iter().flat_map(|migration| migration.statements);
        let mut added: Vec<(&str, &str)> = Vec::new();
        for statement in statements() {
            let Some(rest) = statement.strip_prefix("ALTER TABLE ") else {
                continue;
            };
            let mut lines = rest.lines().map(str::trim);
            let name = lines.next().unwrap();
            for line in lines {
                let column = line.strip_prefix("ADD COLUMN ");
                let Some(column) = column else {
                    panic!("what is altered otherwise must be copied: {line}");
                };
                added.push((name, column.split_once(' ').unwrap().0));
            }
        }
        let mut tables = 0;
        for statement in statements() {
            let Some(rest) = statement.strip_prefix("CREATE TABLE ") else {
                continue;
            };
            let (name, rest) = rest.split_once(' ').unwrap();
            if name == "workers" {
                continue;
            }
            tables += 1;
            let table = TABLES.iter().find(|table| table.name == name).unwrap();
            let mut known: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
            known.extend(table.fresh.iter().map(|(name, _)| *name));
            let lines = rest.lines().skip(1).map(str::trim);
            let words = lines
                .filter_map(|line| line.split_once(' '))
                .map(|line| line.0);
            let mut columns: Vec<&str> = words
                .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                .collect();
            let later = added.iter().filter(|(table, _)| *table == name);
            columns.extend(later.map(|(_, column)| *column));
            for column in &columns {
                assert!(known.contains(column), "{name}.{column}");
            }
            assert_eq!(columns.len(), known.len(), "{name}");
        }
        assert_eq!(tables, TABLES.len());
    }
}
