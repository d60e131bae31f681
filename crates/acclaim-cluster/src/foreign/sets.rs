//! Redis sets with a member for each like: `like:target:POST:123` holds the users who like it, or
//! `like:user:1001` what the user likes. Sorted sets and hashes serve as well: their members and
//! fields are what counts.
//!
//! Keys are found by `SCAN` and members by `SSCAN`, `ZSCAN` and `HSCAN`, in small pieces, so no call
//! holds the server up. What is there from the first call to the last is found; what comes or goes
//! meanwhile may be.
//!
//! Names are patterns: text with `{user}`, `{type}` and `{id}` in it. A part takes as little as it
//! can before the text behind it, so `{type}:{id}` cuts at the first colon.

use std::collections::{BTreeMap, HashSet, VecDeque};

use acclaim_core::Rev;
use redis::{Cmd, Value};

use super::{ForeignEdge, ForeignError, Found};
use crate::redis::address::Address;
use crate::redis::connection::{Redis, RedisLimits};

/// Keys that one `SCAN` looks at.
const SCAN_KEYS: u32 = 200;
/// Members that one call for members looks at.
const SCAN_MEMBERS: u32 = 1_000;
/// Calls in one pipeline.
const PIPELINE: usize = 200;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    User,
    Type,
    Id,
}

/// How a key or a member spells an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`ForeignError::Unfit`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ForeignError> {
        let unfit = |why: &str| ForeignError::Unfit(format!("the pattern {text:?} {why}"));
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (name, after) = after.split_once('}').ok_or_else(|| unfit("lacks a }"))?;
            let piece = match name {
                "user" => Piece::User,
                "type" => Piece::Type,
                "id" => Piece::Id,
                _ => return Err(unfit("may have {user}, {type} and {id} only")),
            };
            if pieces.contains(&piece) {
                return Err(unfit("names a part twice"));
            }
            if matches!(pieces.last(), Some(Piece::User | Piece::Type | Piece::Id)) {
                return Err(unfit("has two parts with nothing between them"));
            }
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() {
            return Err(unfit("is empty"));
        }
        Ok(Self(pieces))
    }

    fn names(&self, piece: &Piece) -> bool {
        self.0.contains(piece)
    }

    /// For `SCAN … MATCH`.
    fn glob(&self) -> String {
        let mut glob = String::new();
        for piece in &self.0 {
            let Piece::Text(text) = piece else {
                glob.push('*');
                continue;
            };
            for c in text.chars() {
                if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
                    glob.push('\\');
                }
                glob.push(c);
            }
        }
        glob
    }

    /// Takes a text apart into the parts of an edge.
    fn read(&self, text: &str, edge: &mut ForeignEdge) -> bool {
        let mut rest = text;
        for (n, piece) in self.0.iter().enumerate() {
            let place = match piece {
                Piece::Text(expected) => match rest.strip_prefix(expected.as_str()) {
                    Some(after) => {
                        rest = after;
                        continue;
                    }
                    None => return false,
                },
                Piece::User => &mut edge.user,
                Piece::Type => &mut edge.target_type,
                Piece::Id => &mut edge.target,
            };
            let end = match self.0.get(n + 1) {
                Some(Piece::Text(behind)) => match rest.find(behind.as_str()) {
                    Some(end) => end,
                    None => return false,
                },
                _ => rest.len(),
            };
            rest[..end].clone_into(place);
            rest = &rest[end..];
        }
        rest.is_empty()
    }

    /// Spells an edge.
    fn write(&self, edge: &ForeignEdge) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::User => &edge.user,
            Piece::Type => &edge.target_type,
            Piece::Id => &edge.target,
        });
        pieces.collect()
    }
}

/// Which sets.
#[derive(Clone, Debug)]
pub struct SetsSpec {
    /// As [`crate::redis::address::RedisUrl`] has it.
    pub url: String,
    /// How keys are spelled.
    pub key: Pattern,
    /// How members are spelled.
    pub member: Pattern,
    /// What the scores of sorted sets count: microseconds in one. `None` where they are no times.
    pub score_micros: Option<u64>,
}

/// What holds the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Set,
    Sorted,
    Hash,
}

impl Holder {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "set" => Some(Self::Set),
            "zset" => Some(Self::Sorted),
            "hash" => Some(Self::Hash),
            _ => None,
        }
    }

    fn scan(self, key: &str, cursor: &str) -> Cmd {
        let mut cmd = redis::cmd(match self {
            Self::Set => "SSCAN",
            Self::Sorted => "ZSCAN",
            Self::Hash => "HSCAN",
        });
        cmd.arg(key).arg(cursor).arg("COUNT").arg(SCAN_MEMBERS);
        cmd
    }

    /// Asks for something that is not nil where the member is there.
    fn has(self, key: &str, member: &str) -> Cmd {
        let mut cmd = redis::cmd(match self {
            Self::Set => "SISMEMBER",
            Self::Sorted => "ZSCORE",
            Self::Hash => "HEXISTS",
        });
        cmd.arg(key).arg(member);
        cmd
    }
}

/// Sets that are being read.
pub struct Sets {
    redis: Redis,
    spec: SetsSpec,
    masters: Vec<Address>,
    /// Where the batch of keys began that is being read.
    at: Place,
    /// Where the next one begins; `None` at the end.
    ahead: Option<Place>,
    keys: VecDeque<(String, Holder)>,
    /// Inside the first of `keys`.
    cursor: String,
    others: u64,
}

/// Where a reading is: a server by its number, and a cursor of its `SCAN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0, in the order of their addresses.
    pub server: usize,
    /// `0` at the start.
    pub cursor: String,
}

const START: &str = "0";

impl Place {
    /// Before everything of a server.
    #[must_use]
    pub fn start_of(server: usize) -> Self {
        Self {
            server,
            cursor: START.to_owned(),
        }
    }
}

/// What one call found.
#[derive(Debug, Default)]
pub struct Members {
    /// The edges.
    pub found: Vec<Found>,
    /// Members that the patterns do not spell, in words.
    pub misspelled: Vec<String>,
    /// Where another reading can go on without missing anything. `None` at the end.
    pub next: Option<Place>,
}

impl Sets {
    /// Connects.
    ///
    /// # Errors
    /// [`ForeignError::Unfit`] when the patterns do not name each part once.
    pub async fn open(spec: SetsSpec, type_is_given: bool) -> Result<Self, ForeignError> {
        for (piece, name) in [
            (Piece::User, "{user}"),
            (Piece::Type, "{type}"),
            (Piece::Id, "{id}"),
        ] {
            let named = [&spec.key, &spec.member];
            let times = named.iter().filter(|pattern| pattern.names(&piece)).count();
            let wanted = usize::from(!(type_is_given && piece == Piece::Type));
            if times != wanted {
                let must = match wanted {
                    1 => "must be in the pattern of keys or in that of members, in one of them",
                    _ => "must not be in the patterns where a target type is given",
                };
                return Err(ForeignError::Unfit(format!("{name} {must}")));
            }
        }
        let redis = Redis::open(&spec.url, RedisLimits::default()).await?;
        let masters = redis.masters_in_order().await?;
        Ok(Self {
            redis,
            spec,
            masters,
            at: Place::start_of(0),
            ahead: None,
            keys: VecDeque::new(),
            cursor: START.to_owned(),
            others: 0,
        })
    }

    /// Goes on at a place.
    pub fn go_to(&mut self, place: Place) {
        self.at = place;
        self.keys.clear();
        START.clone_into(&mut self.cursor);
    }

    /// Keys that matched and are no sets, sorted sets or hashes.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Reads on: the members of one call, or none where there were no keys.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn page(&mut self) -> Result<Members, ForeignError> {
        let mut members = Members::default();
        if self.keys.is_empty() {
            self.look_for_keys().await?;
        }
        if let Some((key, holder)) = self.keys.front() {
            let scan = holder.scan(key, &self.cursor);
            let answer = self.redis.read_at(self.server()?, &[scan]).await?;
            let (cursor, texts) = cursor_and_texts(answer)?;
            self.read_members(key, *holder, texts, &mut members);
            self.cursor = cursor;
            if self.cursor == START {
                self.keys.pop_front();
            }
        }
        if self.keys.is_empty() {
            let Some(ahead) = self.ahead.take() else {
                return Ok(members);
            };
            self.at = ahead;
        }
        members.next = Some(self.at.clone());
        Ok(members)
    }

    fn server(&self) -> Result<&Address, ForeignError> {
        let server = self.masters.get(self.at.server);
        server.ok_or_else(|| {
            ForeignError::Unfit(format!(
                "there are {} servers, and server {} is to be read; begin anew",
                self.masters.len(),
                self.at.server + 1
            ))
        })
    }

    /// The next batch of keys.
    async fn look_for_keys(&mut self) -> Result<(), ForeignError> {
        let server = self.server()?.clone();
        let mut scan = redis::cmd("SCAN");
        scan.arg(&self.at.cursor)
            .arg("MATCH")
            .arg(self.spec.key.glob());
        scan.arg("COUNT").arg(SCAN_KEYS);
        let (cursor, keys) = cursor_and_texts(self.redis.read_at(&server, &[scan]).await?)?;
        let next_server = self.at.server + 1;
        self.ahead = if cursor != START {
            let server = self.at.server;
            Some(Place { server, cursor })
        } else if next_server < self.masters.len() {
            Some(Place::start_of(next_server))
        } else {
            None
        };
        let holders = self.holders(&server, &keys).await?;
        for (key, holder) in keys.into_iter().zip(holders) {
            match holder {
                Some(holder) => self.keys.push_back((key, holder)),
                None => self.others += 1,
            }
        }
        START.clone_into(&mut self.cursor);
        Ok(())
    }

    async fn holders(
        &self,
        server: &Address,
        keys: &[String],
    ) -> Result<Vec<Option<Holder>>, ForeignError> {
        let mut holders = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PIPELINE) {
            let ask = |key: &String| {
                let mut cmd = redis::cmd("TYPE");
                cmd.arg(key);
                cmd
            };
            let asked: Vec<Cmd> = keys.iter().map(ask).collect();
            for answer in self.redis.read_at(server, &asked).await? {
                holders.push(text(&answer).and_then(|kind| Holder::of(&kind)));
            }
        }
        Ok(holders)
    }

    fn read_members(&self, key: &str, holder: Holder, texts: Vec<String>, out: &mut Members) {
        let step = if holder == Holder::Set { 1 } else { 2 };
        for member in texts.chunks(step) {
            let mut edge = ForeignEdge {
                user: String::new(),
                target_type: String::new(),
                target: String::new(),
            };
            let spelled =
                self.spec.key.read(key, &mut edge) && self.spec.member.read(&member[0], &mut edge);
            if !spelled {
                out.misspelled.push(format!("{} of {key}", member[0]));
                continue;
            }
            let score = member.get(1).filter(|_| holder == Holder::Sorted);
            out.found.push(Found {
                edge,
                at: score.and_then(|score| self.time(score)),
            });
        }
    }

    fn time(&self, score: &str) -> Option<Rev> {
        let micros = self.spec.score_micros?;
        let score: f64 = score.parse().ok()?;
        // Beyond the range of a rev it is refused later, as any other time would be.
        let at = (score * micros as f64).round() as u64;
        (at > 0).then_some(Rev(at))
    }

    /// Which of these edges are there, by their places.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn find(&self, edges: &[ForeignEdge]) -> Result<HashSet<usize>, ForeignError> {
        let mut of_servers: BTreeMap<Address, Vec<(usize, String)>> = BTreeMap::new();
        for (place, edge) in edges.iter().enumerate() {
            let key = self.spec.key.write(edge);
            let server = self.redis.server_of_key(key.as_bytes())?;
            of_servers.entry(server).or_default().push((place, key));
        }
        let mut there = HashSet::new();
        for (server, places) in &of_servers {
            for part in places.chunks(PIPELINE) {
                let keys: Vec<String> = part.iter().map(|(_, key)| key.clone()).collect();
                let holders = self.holders(server, &keys).await?;
                let known = part.iter().zip(holders);
                let known = known.filter_map(|((place, key), holder)| {
                    let member = self.spec.member.write(&edges[*place]);
                    Some((*place, holder?.has(key, &member)))
                });
                let (places, asked): (Vec<usize>, Vec<Cmd>) = known.unzip();
                if asked.is_empty() {
                    continue;
                }
                let answers = self.redis.read_at(server, &asked).await?;
                let found = places.into_iter().zip(answers);
                there.extend(found.filter(|(_, answer)| is_there(answer)).map(|(n, _)| n));
            }
        }
        Ok(there)
    }
}

fn is_there(answer: &Value) -> bool {
    !matches!(answer, Value::Nil | Value::Int(0) | Value::Boolean(false))
}

fn text(value: &Value) -> Option<String> {
    match value {
        // What is no text is no edge's name either; it is told as it can be shown.
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The answer to any of the `SCAN`s.
fn cursor_and_texts(answers: Vec<Value>) -> Result<(String, Vec<String>), ForeignError> {
    let unfit = || ForeignError::Unfit("Redis answers a SCAN with something else".to_owned());
    let Some(Value::Array(both)) = answers.into_iter().next() else {
        return Err(unfit());
    };
    let [cursor, Value::Array(texts)] = &both[..] else {
        return Err(unfit());
    };
    let cursor = text(cursor).ok_or_else(unfit)?;
    let texts: Option<Vec<String>> = texts.iter().map(text).collect();
    Ok((cursor, texts.ok_or_else(unfit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(user: &str, target_type: &str, target: &str) -> ForeignEdge {
        ForeignEdge {
            user: user.to_owned(),
            target_type: target_type.to_owned(),
            target: target.to_owned(),
        }
    }

    #[test]
    fn patterns_read_what_they_write() {
        for (pattern, text, read) in [
            (
                "like:target:{type}:{id}",
                "like:target:POST:1:2",
                edge("", "POST", "1:2"),
            ),
            ("{type}:{id}", "POST:9", edge("", "POST", "9")),
            ("thumb:{user}", "thumb:7", edge("7", "", "")),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let mut found = edge("", "", "");
            assert!(pattern.read(text, &mut found), "{text}");
            assert_eq!(found, read);
            assert_eq!(pattern.write(&found), text);
        }
        let pattern = Pattern::parse("like:{id}:x").unwrap();
        for other in ["like:1", "love:1:x", "like:1:xy", ""] {
            assert!(!pattern.read(other, &mut edge("", "", "")), "{other}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for bad in ["", "{user", "{name}", "{user}{id}", "{id}:{id}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Pattern::parse("a*[b]:{id}").unwrap().glob(),
            "a\\*\\[b\\]:*"
        );
    }
}
