//! The tables. Numbered migrations, each a list of single statements; one that was released never
//! changes.
//!
//! - Ids are `VARBINARY` as [`super::codec`] encodes them, times and revs microseconds.
//! - `edges` is the record; everything else follows from it and from the events. Its primary key
//!   answers "did" and loads a target, or a bucket of one, as one range; its two indexes answer
//!   both lists in time order, ties by key, without sorting.
//! - `by_user` has the type before the time: a list of one type is one range, and a list of all is
//!   the merge of the few types that the user has, with ties in the order of the types' names.
//! - `place` and `count_place` are 2^53 − 1 less the rev or the count: highest first is ascending.
//! - The indexes of `targets` name the id at their end. InnoDB has it there anyway; TiDB would sort
//!   by it else.
//! - `targets.edges` counts the rows of a target, unset ones too.
//! - `users.types` holds, for each type, what the user did and on which days, so that the first
//!   transition of a day is known by the user's own row and `daily` counts distinct users without
//!   a table of users by day.
//! - `daily` is spread over [`DAILY_SHARDS`], so that partitions do not wait for one row of today.
//! - `import_texts` and `import_pieces` hold the texts of imports that run as jobs, by random names,
//!   so that a TiDB spreads them.
//! - `notes` holds notifications and webhooks as records by key, spread over the shards of
//!   [`super::notes`]; `duties` has one row, who makes them.
//! - Nothing that grows with the writes has a key that grows at one end, so no one node of a TiDB
//!   takes all writes; `audit`, `checks`, `dead_letters` and `jobs` are rare and read in the order
//!   in which they came, so their numbers grow. TiDB is told to give those out one by one
//!   (`AUTO_ID_CACHE 1`, a comment to the others): by default each of its nodes has 30,000 of its
//!   own, and the order is lost.

/// The rows that one day's numbers are spread over.
pub const DAILY_SHARDS: u16 = 8;

/// A step of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number, from 1 without gaps.
    pub version: u32,
    /// Its name.
    pub name: &'static str,
    /// Its statements. Each takes effect as a whole or not at all.
    pub statements: &'static [&'static str],
}

/// The table that says which migrations ran. It is made with `IF NOT EXISTS`, under the lock.
pub const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
  version INT UNSIGNED NOT NULL PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  statements INT UNSIGNED NOT NULL,
  stopped TINYINT NOT NULL,
  at DATETIME(6) NOT NULL
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";

/// All steps, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "edges and what follows from them",
        statements: &[
            "CREATE TABLE meta (
  name VARBINARY(32) NOT NULL PRIMARY KEY,
  value VARBINARY(255) NOT NULL
)",
            "CREATE TABLE kinds (
  no SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
  name VARBINARY(32) NOT NULL,
  UNIQUE KEY by_name (name)
)",
            "CREATE TABLE target_types (
  no SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
  name VARBINARY(32) NOT NULL,
  UNIQUE KEY by_name (name)
)",
            "CREATE TABLE edges (
  kind SMALLINT UNSIGNED NOT NULL,
  target_type SMALLINT UNSIGNED NOT NULL,
  target VARBINARY(65) NOT NULL,
  user_hash INT UNSIGNED NOT NULL,
  user VARBINARY(65) NOT NULL,
  active TINYINT NOT NULL,
  place BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (kind, target_type, target, user_hash, user),
  KEY by_target (kind, target_type, target, active, place, user),
  KEY by_user (kind, user, target_type, active, place, target)
)",
            "CREATE TABLE targets (
  kind SMALLINT UNSIGNED NOT NULL,
  target_type SMALLINT UNSIGNED NOT NULL,
  target VARBINARY(65) NOT NULL,
  count_place BIGINT UNSIGNED NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  edges BIGINT UNSIGNED NOT NULL,
  last_day INT UNSIGNED NOT NULL,
  pulse BLOB NOT NULL,
  PRIMARY KEY (kind, target_type, target),
  KEY by_count (kind, target_type, count_place, target),
  KEY by_day (kind, target_type, last_day, target)
)",
            "CREATE TABLE users (
  kind SMALLINT UNSIGNED NOT NULL,
  user VARBINARY(65) NOT NULL,
  given BIGINT UNSIGNED NOT NULL,
  mutual BIGINT UNSIGNED NOT NULL,
  types MEDIUMBLOB NOT NULL,
  PRIMARY KEY (kind, user)
)",
            "CREATE TABLE daily (
  kind SMALLINT UNSIGNED NOT NULL,
  target_type SMALLINT UNSIGNED NOT NULL,
  day INT UNSIGNED NOT NULL,
  shard SMALLINT UNSIGNED NOT NULL,
  sets BIGINT UNSIGNED NOT NULL,
  unsets BIGINT UNSIGNED NOT NULL,
  users BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (kind, target_type, day, shard)
)",
            "CREATE TABLE partitions (
  n SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
  epoch INT UNSIGNED NOT NULL,
  owner VARBINARY(64) NOT NULL,
  fence BIGINT UNSIGNED NOT NULL,
  lease_until BIGINT UNSIGNED NOT NULL,
  applied BIGINT UNSIGNED NOT NULL,
  seat VARBINARY(255) NOT NULL DEFAULT '',
  turn BIGINT UNSIGNED NOT NULL DEFAULT 0,
  life INT UNSIGNED NOT NULL DEFAULT 0,
  passed TINYINT NOT NULL DEFAULT 0
)",
            "CREATE TABLE workers (
  name VARBINARY(64) NOT NULL PRIMARY KEY,
  alive_until BIGINT UNSIGNED NOT NULL
)",
            "CREATE TABLE dead_letters (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  part SMALLINT UNSIGNED NOT NULL,
  epoch INT UNSIGNED NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  at BIGINT UNSIGNED NOT NULL,
  reason VARCHAR(512) NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE KEY by_event (part, epoch, seq)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin /*T![auto_id_cache] AUTO_ID_CACHE 1 */",
            "CREATE TABLE audit (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at BIGINT UNSIGNED NOT NULL,
  action VARCHAR(64) NOT NULL,
  detail TEXT NOT NULL,
  KEY by_time (at)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin /*T![auto_id_cache] AUTO_ID_CACHE 1 */",
            "CREATE TABLE checks (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at BIGINT UNSIGNED NOT NULL,
  checked BIGINT UNSIGNED NOT NULL,
  mismatches BIGINT UNSIGNED NOT NULL,
  repaired BIGINT UNSIGNED NOT NULL,
  findings MEDIUMBLOB NOT NULL,
  KEY by_time (at)
) /*T![auto_id_cache] AUTO_ID_CACHE 1 */",
            "CREATE TABLE jobs (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  spec VARCHAR(255) NOT NULL,
  state TINYINT UNSIGNED NOT NULL,
  done BIGINT UNSIGNED NOT NULL,
  total BIGINT UNSIGNED NOT NULL,
  error TEXT NOT NULL,
  progress VARBINARY(512) NOT NULL,
  rejections MEDIUMBLOB NOT NULL,
  owner VARBINARY(64) NOT NULL,
  fence BIGINT UNSIGNED NOT NULL,
  lease_until BIGINT UNSIGNED NOT NULL,
  KEY by_state (state, id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin /*T![auto_id_cache] AUTO_ID_CACHE 1 */",
            "CREATE TABLE import_texts (
  text VARBINARY(16) NOT NULL PRIMARY KEY,
  job BIGINT UNSIGNED NOT NULL,
  bytes BIGINT UNSIGNED NOT NULL,
  touched BIGINT UNSIGNED NOT NULL
)",
            "CREATE TABLE import_pieces (
  text VARBINARY(16) NOT NULL,
  n INT UNSIGNED NOT NULL,
  piece MEDIUMBLOB NOT NULL,
  PRIMARY KEY (text, n)
)",
            // Never a text: whoever takes room for one locks this row first.
            "INSERT INTO import_texts VALUES ('', 0, 0, 0)",
        ],
    },
    Migration {
        version: 2,
        name: "what a bus carries",
        statements: &["ALTER TABLE partitions
  ADD COLUMN carried TINYINT NOT NULL DEFAULT 0,
  ADD COLUMN closing TINYINT NOT NULL DEFAULT 0,
  ADD COLUMN closed BIGINT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN reached BIGINT UNSIGNED NOT NULL DEFAULT 0"],
    },
    Migration {
        version: 3,
        name: "notifications and webhooks",
        statements: &[
            "CREATE TABLE notes (
  shard TINYINT UNSIGNED NOT NULL,
  k VARBINARY(255) NOT NULL,
  v MEDIUMBLOB NOT NULL,
  PRIMARY KEY (shard, k)
)",
            "CREATE TABLE duties (
  name VARBINARY(32) NOT NULL PRIMARY KEY,
  owner VARBINARY(64) NOT NULL,
  fence BIGINT UNSIGNED NOT NULL,
  lease_until BIGINT UNSIGNED NOT NULL,
  wakes BIGINT UNSIGNED NOT NULL
)",
            "INSERT INTO duties VALUES ('notifications', '', 0, 0, 0)",
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_no_gaps() {
        for (n, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, n, "{}", migration.name);
        }
    }
}
