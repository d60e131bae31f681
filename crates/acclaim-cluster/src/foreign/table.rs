//! A plain table with a row for each like: who, what, and when.
//!
//! It is read in the order of a key: of one growing number where the table has one, else of who and
//! what. A page is one range of an index then, and a reading can go on where another one ended.
//! Rows that were added since are found by that number, or by their time; rows that were removed
//! leave no trace in such a table, so only a comparison finds them.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow};
use sqlx::{Arguments as _, AssertSqlSafe, Executor as _, Row as _};
use std::str::FromStr as _;

use acclaim_core::Rev;

use super::{ForeignEdge, ForeignError, Found};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a page may take, also where no index helps.
const PAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// What the table and its columns are called.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// `mysql://user:password@host:port/database`.
    pub url: String,
    /// The table, with its database before a dot if it is another one.
    pub table: String,
    /// Who.
    pub user_column: String,
    /// The class of what; `None` where all are of one, which the caller knows.
    pub type_column: Option<String>,
    /// What.
    pub target_column: String,
    /// Since when; a date and time, or a number.
    pub at_column: Option<String>,
    /// A unique number that grows with each row.
    pub id_column: Option<String>,
    /// What a number in the column of times counts: microseconds in one of it.
    pub at_micros: u64,
    /// The zone of times that have none, as MySQL spells it: `+08:00`.
    pub time_zone: String,
}

/// A column.
#[derive(Clone, Debug)]
struct Column {
    /// As it is written in a statement.
    quoted: String,
    is_number: bool,
}

/// An open table.
pub struct Table {
    pool: MySqlPool,
    table: String,
    user: Column,
    target_type: Option<Column>,
    target: Column,
    /// An expression of microseconds since the epoch.
    at: Option<String>,
    at_column: Option<String>,
    id: Option<Column>,
}

/// What is read of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All rows.
    Whole,
    /// Rows with a number above this one.
    AfterId(i128),
    /// Rows of this time or later, in microseconds.
    Since(u64),
}

/// A page of rows.
#[derive(Debug)]
pub struct Rows {
    /// The edges.
    pub found: Vec<Found>,
    /// Where the next page begins: the key of the last row. `None` at the end.
    pub next: Option<Vec<String>>,
}

/// Where a table ends now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The highest number.
    pub id: Option<i128>,
    /// The database's time, microseconds.
    pub now: u64,
}

impl Table {
    /// Connects and looks at the columns.
    ///
    /// # Errors
    /// [`ForeignError`], naming what is not there.
    pub async fn open(spec: &TableSpec) -> Result<Self, ForeignError> {
        let options = MySqlConnectOptions::from_str(&spec.url)?;
        let zone = spec.time_zone.clone();
        let pool = MySqlPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(move |connection, _| {
                let zone = zone.clone();
                Box::pin(async move {
                    let set = sqlx::query("SET SESSION time_zone = ?").bind(zone);
                    connection.execute(set).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        let columns = columns(&pool, &spec.table).await?;
        let column = |name: &str| -> Result<Column, ForeignError> {
            let Some(form) = columns.get(&name.to_ascii_lowercase()) else {
                let mut names: Vec<&str> = columns.keys().map(String::as_str).collect();
                names.sort_unstable();
                return Err(ForeignError::Unfit(format!(
                    "{} has no column {name:?}, only {}",
                    spec.table,
                    names.join(", ")
                )));
            };
            Ok(Column {
                quoted: quoted(name),
                is_number: form.ends_with("int"),
            })
        };
        let of_type = spec.type_column.as_deref().map(column);
        let of_time = spec.at_column.as_deref().map(column).transpose()?;
        let at = of_time.as_ref().map(|of_time| match of_time.is_number {
            true => format!("{} * {}", of_time.quoted, spec.at_micros),
            false => format!("UNIX_TIMESTAMP({}) * 1000000", of_time.quoted),
        });
        Ok(Self {
            user: column(&spec.user_column)?,
            target_type: of_type.transpose()?,
            target: column(&spec.target_column)?,
            at: at.map(|at| format!("CAST({at} AS UNSIGNED)")),
            at_column: of_time.map(|of_time| of_time.quoted),
            id: spec.id_column.as_deref().map(column).transpose()?,
            table: quoted_path(&spec.table),
            pool,
        })
    }

    /// Whether rows have a growing number.
    #[must_use]
    pub fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Whether rows say since when.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.at.is_some()
    }

    /// Where the table ends now.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn end(&self) -> Result<End, ForeignError> {
        let now = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)";
        let rows = self.rows(now.to_owned(), MySqlArguments::default()).await?;
        let now = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        let id = match &self.id {
            None => None,
            Some(id) => {
                let sql = format!(
                    "SELECT CAST(MAX({}) AS CHAR) FROM {}",
                    id.quoted, self.table
                );
                let rows = self.rows(sql, MySqlArguments::default()).await?;
                let text: Option<String> = rows.first().map_or(Ok(None), |row| row.try_get(0))?;
                text.and_then(|text| text.parse().ok())
            }
        };
        Ok(End { id, now })
    }

    /// Rows that lack who, what or its class, and so are no edges.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn rows_without_names(&self) -> Result<u64, ForeignError> {
        let missing: Vec<String> = self
            .names()
            .map(|column| format!("{} IS NULL", column.quoted))
            .collect();
        let sql = format!(
            "SELECT COUNT(*) FROM {} WHERE {}",
            self.table,
            missing.join(" OR ")
        );
        let rows = self.rows(sql, MySqlArguments::default()).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(count.unsigned_abs())
    }

    /// The columns that say which edge it is.
    fn names(&self) -> impl Iterator<Item = &Column> {
        [
            Some(&self.user),
            self.target_type.as_ref(),
            Some(&self.target),
        ]
        .into_iter()
        .flatten()
    }

    fn key(&self, part: Part) -> Vec<&str> {
        let names = self.names().map(|column| column.quoted.as_str());
        match (part, &self.id, &self.at_column) {
            (Part::Whole | Part::AfterId(_), Some(id), _) => vec![&id.quoted],
            (Part::Since(_), _, Some(at)) => std::iter::once(at.as_str()).chain(names).collect(),
            _ => names.collect(),
        }
    }

    fn select(&self, key: &[&str]) -> String {
        let named = self.names().map(|column| column.quoted.as_str());
        let texts = named.chain(key.iter().copied());
        let texts = texts.map(|column| format!("CAST({column} AS CHAR)"));
        let texts: Vec<String> = texts.collect();
        let at = self.at.as_deref().unwrap_or("NULL");
        format!("SELECT {}, {at} FROM {}", texts.join(", "), self.table)
    }

    /// The next page of `most` rows behind one whose key is `after`.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn page(
        &self,
        part: Part,
        after: Option<&[String]>,
        most: u32,
    ) -> Result<Rows, ForeignError> {
        let key = self.key(part);
        let mut arguments = MySqlArguments::default();
        let mut conditions: Vec<String> = self
            .names()
            .map(|column| format!("{} IS NOT NULL", column.quoted))
            .collect();
        match (part, after) {
            (Part::AfterId(id), None) => {
                conditions.push(format!("{} > ?", key[0]));
                add_number(&mut arguments, id)?;
            }
            (Part::Since(micros), None) => {
                conditions.push(format!("{} >= {}", key[0], self.time_of_micros()));
                add(&mut arguments, micros)?;
            }
            (_, None) => {}
            (_, Some(after)) => {
                let mut ways = Vec::with_capacity(key.len());
                for last in (0..key.len()).rev() {
                    let mut all = Vec::with_capacity(last + 1);
                    for (n, column) in key.iter().enumerate().take(last + 1) {
                        let sign = if n == last { ">" } else { "=" };
                        all.push(format!("{column} {sign} ?"));
                        let value = after.get(n).map_or("", String::as_str);
                        self.add_key(&mut arguments, column, value)?;
                    }
                    ways.push(format!("({})", all.join(" AND ")));
                }
                conditions.push(format!("({})", ways.join(" OR ")));
            }
        }
        let sql = format!(
            "{} WHERE {} ORDER BY {} LIMIT {most}",
            self.select(&key),
            conditions.join(" AND "),
            key.join(", ")
        );
        let rows = self.rows(sql, arguments).await?;
        let names = self.names().count();
        let next = match rows.last() {
            Some(last) if rows.len() == most as usize => {
                let key = (names..names + key.len()).map(|n| last.try_get(n));
                Some(key.collect::<Result<Vec<String>, _>>()?)
            }
            _ => None,
        };
        let found = rows.iter().map(|row| self.found(row, names + key.len()));
        Ok(Rows {
            found: found.collect::<Result<_, _>>()?,
            next,
        })
    }

    fn time_of_micros(&self) -> String {
        match &self.at {
            Some(at) if at.contains("UNIX_TIMESTAMP") => "FROM_UNIXTIME(? / 1000000)".to_owned(),
            Some(at) => {
                let factor = at.rsplit(" * ").next().unwrap_or("1");
                let factor = factor.split(' ').next().unwrap_or("1");
                format!("? DIV {factor}")
            }
            None => "?".to_owned(),
        }
    }

    fn found(&self, row: &MySqlRow, at: usize) -> Result<Found, ForeignError> {
        let has_type = self.target_type.is_some();
        let target_type = if has_type {
            row.try_get(1)?
        } else {
            String::new()
        };
        let at: Option<u64> = row.try_get(at)?;
        Ok(Found {
            edge: ForeignEdge {
                user: row.try_get(0)?,
                target_type,
                target: row.try_get(1 + usize::from(has_type))?,
            },
            // A time of zero is how some tables say none.
            at: at.filter(|at| *at > 0).map(Rev),
        })
    }

    /// Which of these edges have rows, and since when.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn find(&self, edges: &[ForeignEdge]) -> Result<Vec<Found>, ForeignError> {
        let columns: Vec<&Column> = self.names().collect();
        let mut arguments = MySqlArguments::default();
        let mut asked = 0;
        for edge in edges {
            let values: Vec<&str> = match self.target_type {
                Some(_) => vec![&edge.user, &edge.target_type, &edge.target],
                None => vec![&edge.user, &edge.target],
            };
            // To a column of numbers a text would be compared as one, mostly as zero.
            let fits = columns.iter().zip(&values);
            let mut fits = fits.map(|(column, value)| !column.is_number || is_number(value));
            if !fits.all(|fits| fits) {
                continue;
            }
            asked += 1;
            for (column, value) in columns.iter().zip(values) {
                add_value(&mut arguments, column.is_number, value)?;
            }
        }
        if asked == 0 {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = columns
            .iter()
            .map(|column| column.quoted.as_str())
            .collect();
        let row = format!("({})", vec!["?"; columns.len()].join(", "));
        let sql = format!(
            "{} WHERE ({}) IN ({})",
            self.select(&[]),
            names.join(", "),
            vec![row.as_str(); asked].join(", ")
        );
        let rows = self.rows(sql, arguments).await?;
        rows.iter()
            .map(|row| self.found(row, columns.len()))
            .collect()
    }

    fn add_key(
        &self,
        arguments: &mut MySqlArguments,
        column: &str,
        value: &str,
    ) -> Result<(), ForeignError> {
        let mut numbers = self.names().chain(&self.id);
        let known = numbers.find(|known| known.quoted == column);
        // A time that is a number reads as one.
        let is_number = known.map_or_else(|| is_number(value), |known| known.is_number);
        add_value(arguments, is_number, value)
    }

    async fn rows(
        &self,
        sql: String,
        arguments: MySqlArguments,
    ) -> Result<Vec<MySqlRow>, ForeignError> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        let rows = tokio::time::timeout(PAGE_TIMEOUT, query.fetch_all(&self.pool)).await;
        let slow = |_| {
            let why = format!("no answer in {} s", PAGE_TIMEOUT.as_secs());
            sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
        };
        Ok(rows.map_err(slow)??)
    }
}

/// The columns of a table by their names in small letters, with their types.
async fn columns(pool: &MySqlPool, table: &str) -> Result<HashMap<String, String>, ForeignError> {
    let (schema, name) = match table.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, table),
    };
    let sql = "SELECT CAST(LOWER(column_name) AS CHAR), CAST(LOWER(data_type) AS CHAR) \
               FROM information_schema.columns \
               WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?";
    let rows = sqlx::query(sql)
        .bind(schema)
        .bind(name)
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        return Err(ForeignError::Unfit(format!("there is no table {table:?}")));
    }
    let columns = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    columns.collect()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn quoted_path(path: &str) -> String {
    let parts: Vec<String> = path.split('.').map(quoted).collect();
    parts.join(".")
}

fn is_number(value: &str) -> bool {
    value.parse::<i128>().is_ok()
}

fn add_value(
    arguments: &mut MySqlArguments,
    is_number: bool,
    value: &str,
) -> Result<(), ForeignError> {
    match value.parse() {
        Ok(number) if is_number => add_number(arguments, number),
        _ => add(arguments, value.to_owned()),
    }
}

fn add_number(arguments: &mut MySqlArguments, number: i128) -> Result<(), ForeignError> {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => add(arguments, number),
        (_, Ok(number)) => add(arguments, number),
        // No column holds it.
        _ => add(arguments, number.to_string()),
    }
}

fn add<'v, T>(arguments: &mut MySqlArguments, value: T) -> Result<(), ForeignError>
where
    T: sqlx::Encode<'v, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
{
    let added = arguments.add(value);
    added.map_err(|error| ForeignError::Sql(sqlx::Error::Encode(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        assert_eq!(quoted("a`b"), "`a``b`");
        assert_eq!(quoted_path("app.likes"), "`app`.`likes`");
    }
}
