//! A Redis Cluster: three masters with a third of the slots each, and a replica of each.
//!
//! It is put together with the commands of the servers themselves, so that every step can wait for
//! its condition and say what it waited for. Who is the master of a slot is never remembered: the nodes are
//! asked, and of two that claim it the one with the later epoch is right.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use redis::{Cmd, cmd};

use super::{ATTEMPT_LIMIT, AppendFsync, Redis, RedisOptions, Role};
use crate::wait::until;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;
const MASTERS: usize = 3;
const NODES: usize = 6;
/// After how long without an answer the nodes take another for gone.
const NODE_TIMEOUT_MS: u32 = 2_000;
/// How long a change of roles may take until everybody knows of it.
const AGREEMENT_LIMIT: Duration = Duration::from_secs(90);
/// How long a replica tries to take over in order before it gives up, and a little more.
const FAILOVER_LIMIT: Duration = Duration::from_secs(6);
const MIGRATE_LIMIT_MS: u32 = 5_000;

/// Three masters and three replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

/// What a node says of itself.
#[derive(Debug)]
struct Claim<'a> {
    node: &'a Redis,
    id: String,
    /// None for a master.
    master: Option<String>,
    epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl<'a> Claim<'a> {
    async fn of(node: &'a Redis) -> Result<Self, String> {
        let asked = async {
            let port = node.address().port();
            let mut connection = node.program.connect(port, ATTEMPT_LIMIT).await?;
            let mut question = cmd("CLUSTER");
            question.arg("NODES");
            question.query_async::<String>(&mut connection).await
        };
        let told = asked
            .await
            .map_err(|error| format!("{}: CLUSTER NODES: {error}", node.url()))?;
        let mut lines = told.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let own = lines.find(|line| line.get(2).is_some_and(|flags| flags.contains("myself")));
        let claim = own.and_then(|own| Self::read(node, &own));
        claim.ok_or_else(|| format!("{}: nothing of itself in {told}", node.url()))
    }

    /// Columns: id, address, flags, master, ping sent, pong received, epoch, link, slots.
    fn read(node: &'a Redis, columns: &[&str]) -> Option<Self> {
        let slots = columns.get(8..)?.iter();
        // A slot that is being moved is in brackets; it still belongs to its owner.
        let owned = slots.filter(|slots| !slots.starts_with('['));
        let slots = owned.map(|slots| {
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        let master = *columns.get(3)?;
        Some(Self {
            node,
            id: (*columns.first()?).to_owned(),
            master: (master != "-").then(|| master.to_owned()),
            epoch: columns.get(6)?.parse().ok()?,
            slots: slots.collect::<Option<_>>()?,
        })
    }

    fn owns(&self, slot: u16) -> bool {
        self.master.is_none() && self.slots.iter().any(|slots| slots.contains(&slot))
    }
}

impl RedisCluster {
    /// Starts all six with append-only files, and waits until the cluster is whole.
    ///
    /// # Panics
    /// If one does not start, or the cluster is not whole in time.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default().append_only(AppendFsync::EverySec)).await
    }

    /// The same with other options for each node. No password and no TLS.
    ///
    /// # Panics
    /// If one does not start, or the cluster is not whole in time.
    pub async fn start_with(options: RedisOptions) -> Self {
        let options = options
            .set("cluster-enabled", "yes")
            .set("cluster-node-timeout", &NODE_TIMEOUT_MS.to_string());
        let nodes = Redis::start_all(vec![options; NODES], Role::Node).await;
        let cluster = Self { nodes };
        cluster.introduce().await;
        cluster.share_out().await;
        cluster.await_health().await;
        cluster
    }

    /// Everybody meets everybody.
    async fn introduce(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            // Epochs that differ from the beginning spare the nodes a vote.
            node.query::<()>(cluster("SET-CONFIG-EPOCH").arg(index + 1))
                .await;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[index + 1..] {
                let mut meet = cluster("MEET");
                meet.arg("127.0.0.1").arg(other.address().port());
                node.query::<()>(meet.arg(other.place.further_port(1)))
                    .await;
            }
        }
        for node in &self.nodes {
            until(AGREEMENT_LIMIT, "nodes that know each other", || async {
                let told: String = answer(node, &cluster("INFO")).await?;
                if !told.contains(&format!("cluster_known_nodes:{NODES}")) {
                    return Err(format!("{} knows too few: {told}", node.url()));
                }
                Ok(())
            })
            .await;
        }
    }

    /// The first three share the slots, the others follow them.
    async fn share_out(&self) {
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        for (index, (master, replica)) in masters.iter().zip(replicas).enumerate() {
            let bound = |part: usize| usize::from(SLOTS) * part / MASTERS;
            let mut slots = cluster("ADDSLOTSRANGE");
            slots.arg(bound(index)).arg(bound(index + 1) - 1);
            master.query::<()>(&slots).await;
            let id: String = master.query(&cluster("MYID")).await;
            // The replica has to have shaken hands with it first.
            until(AGREEMENT_LIMIT, "a replica that follows", || async {
                answer::<()>(replica, cluster("REPLICATE").arg(&id)).await
            })
            .await;
        }
    }

    /// All six, in the order in which they were started: first those that began as masters.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The addresses of all nodes, as URLs.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The slot of a key.
    pub async fn slot_of(&self, key: &str) -> u16 {
        until(AGREEMENT_LIMIT, "a node that knows the slot", || async {
            let running = self.claims().await;
            let one = running.first().ok_or("no node answers")?;
            answer(one.node, cluster("KEYSLOT").arg(key)).await
        })
        .await
    }

    /// What the nodes that answer say of themselves.
    async fn claims(&self) -> Vec<Claim<'_>> {
        let mut claims = Vec::with_capacity(NODES);
        for node in &self.nodes {
            if let Ok(claim) = Claim::of(node).await {
                claims.push(claim);
            }
        }
        claims
    }

    async fn claim_of_master(&self, slot: u16) -> Result<Claim<'_>, String> {
        let claims = self.claims().await.into_iter();
        let owners = claims.filter(|claim| claim.owns(slot));
        let latest = owners.max_by_key(|claim| claim.epoch);
        latest.ok_or_else(|| format!("no node that answers has slot {slot}"))
    }

    /// The master of a slot, as far as the nodes that answer know.
    pub async fn master_of(&self, slot: u16) -> &Redis {
        until(AGREEMENT_LIMIT, "a master of the slot", || async {
            Ok(self.claim_of_master(slot).await?.node)
        })
        .await
    }

    /// A replica of the master of a slot.
    pub async fn replica_of(&self, slot: u16) -> &Redis {
        until(AGREEMENT_LIMIT, "a replica of the slot", || async {
            let master = self.claim_of_master(slot).await?.id;
            let claims = self.claims().await;
            let mut replicas = claims
                .iter()
                .filter(|claim| claim.master.as_ref() == Some(&master));
            let replica = replicas.next().ok_or(format!("{master} has none"))?;
            Ok(replica.node)
        })
        .await
    }

    /// Has the replica of a slot take over from its master in order (`CLUSTER FAILOVER`), and
    /// waits until it has. Nothing is lost. A replica that cannot catch up in time gives up, so it
    /// is told again.
    pub async fn fail_over(&self, slot: u16) {
        let before = self.master_of(slot).await.address();
        let mut told: Option<Instant> = None;
        until(AGREEMENT_LIMIT, "a failover in order", || {
            let is_due = told.is_none_or(|when| when.elapsed() > FAILOVER_LIMIT);
            if is_due {
                told = Some(Instant::now());
            }
            async move {
                let master = self.claim_of_master(slot).await?.node;
                if master.address() != before {
                    return is_ok(master).await;
                }
                if is_due {
                    let replica = self.replica_of(slot).await;
                    answer::<()>(replica, &cluster("FAILOVER")).await?;
                }
                Err(format!("it is still {before}"))
            }
        })
        .await;
    }

    /// Waits until the slot has another master than this one, and the cluster takes writes: after
    /// the master was killed or paused.
    pub async fn await_master_other_than(&self, slot: u16, before: SocketAddr) -> &Redis {
        until(AGREEMENT_LIMIT, "another master of the slot", || async {
            let master = self.claim_of_master(slot).await?.node;
            if master.address() == before {
                return Err(format!("it is still {before}"));
            }
            is_ok(master).await?;
            Ok(master)
        })
        .await
    }

    /// Moves a slot with its keys to the master of another slot while clients work.
    pub async fn move_slot(&self, slot: u16, to_master_of: u16) {
        let moving = self.begin_move(slot, to_master_of).await;
        while moving.move_keys(100).await > 0 {}
        moving.finish().await;
    }

    /// Begins to move a slot: from now on its owner answers `ASK` for keys that it does not have.
    ///
    /// # Panics
    /// If both slots have the same master.
    pub async fn begin_move(&self, slot: u16, to_master_of: u16) -> SlotMove<'_> {
        let limit = AGREEMENT_LIMIT;
        let from = until(limit, "the owner", || self.claim_of_master(slot)).await;
        let to = until(limit, "the next owner", || {
            self.claim_of_master(to_master_of)
        })
        .await;
        assert_ne!(
            from.id, to.id,
            "slots {slot} and {to_master_of} have one master"
        );
        let set = |state: &str, id: &str| set_slot(slot, state, id);
        to.node.query::<()>(&set("IMPORTING", &from.id)).await;
        from.node.query::<()>(&set("MIGRATING", &to.id)).await;
        SlotMove {
            cluster: self,
            slot,
            from,
            to,
        }
    }

    /// Waits until all six run, every slot has a master, and every replica follows one.
    pub async fn await_health(&self) {
        until(AGREEMENT_LIMIT, "a whole cluster", || async {
            for node in &self.nodes {
                is_ok(node).await?;
                let told = answer::<String>(node, &cluster("NODES")).await?;
                if told.contains("fail") || told.contains("handshake") {
                    return Err(format!("{} says {told}", node.url()));
                }
                let replication = node.info("replication").await?;
                let whole = ["master_link_status:up", "connected_slaves:1"];
                if !whole.iter().any(|sign| replication.contains(sign)) {
                    return Err(format!("{} says {replication}", node.url()));
                }
            }
            Ok(())
        })
        .await;
    }
}

/// A slot on its way from one master to another. Dropped without [`SlotMove::finish`] it stays half
/// moved.
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: Claim<'a>,
    to: Claim<'a>,
}

impl SlotMove<'_> {
    /// Moves at most so many keys, and says how many it moved.
    pub async fn move_keys(&self, max_keys: usize) -> usize {
        let mut listing = cluster("GETKEYSINSLOT");
        listing.arg(self.slot).arg(max_keys);
        let keys: Vec<Vec<u8>> = self.from.node.query(&listing).await;
        if keys.is_empty() {
            return 0;
        }
        let address = self.to.node.address();
        let mut migrate = cmd("MIGRATE");
        migrate.arg(address.ip().to_string()).arg(address.port());
        migrate
            .arg("")
            .arg(0)
            .arg(MIGRATE_LIMIT_MS)
            .arg("KEYS")
            .arg(&keys);
        self.from.node.query::<()>(&migrate).await;
        keys.len()
    }

    /// Gives the slot to its new owner, and waits until every node that answers says so. All keys
    /// must have been moved.
    pub async fn finish(self) {
        let given = set_slot(self.slot, "NODE", &self.to.id);
        self.to.node.query::<()>(&given).await;
        self.from.node.query::<()>(&given).await;
        for claim in self.cluster.claims().await {
            if claim.master.is_none() {
                claim.node.query::<()>(&given).await;
            }
        }
        let owner = self.to.node.address().port();
        until(AGREEMENT_LIMIT, "the slot's new owner", || async {
            for claim in self.cluster.claims().await {
                let told = slots_of(claim.node).await?;
                let named = told.iter().find(|(slots, _)| slots.contains(&self.slot));
                if named.is_none_or(|(_, port)| *port != owner) {
                    return Err(format!("{} names {named:?}", claim.node.url()));
                }
            }
            Ok(())
        })
        .await;
    }
}

/// Which master has which slots, as this node sees it.
async fn slots_of(node: &Redis) -> Result<Vec<(RangeInclusive<u16>, u16)>, String> {
    // First slot, last slot, the master, the replicas.
    let rows: Vec<Vec<redis::Value>> = answer(node, &cluster("SLOTS")).await?;
    let read = |row: &Vec<redis::Value>| {
        let first: u16 = redis::from_redis_value_ref(row.first()?).ok()?;
        let last: u16 = redis::from_redis_value_ref(row.get(1)?).ok()?;
        let redis::Value::Array(master) = row.get(2)? else {
            return None;
        };
        Some((
            first..=last,
            redis::from_redis_value_ref(master.get(1)?).ok()?,
        ))
    };
    let slots: Option<Vec<_>> = rows.iter().map(read).collect();
    slots.ok_or_else(|| format!("{}: CLUSTER SLOTS: {rows:?}", node.url()))
}

async fn is_ok(node: &Redis) -> Result<(), String> {
    let told: String = answer(node, &cluster("INFO")).await?;
    if told.contains("cluster_state:ok") {
        return Ok(());
    }
    Err(format!("{} says {told}", node.url()))
}

async fn answer<T: redis::FromRedisValue>(node: &Redis, question: &Cmd) -> Result<T, String> {
    let answered = node.try_query(question).await;
    answered.map_err(|error| format!("{}: {error}", node.url()))
}

fn cluster(command: &str) -> Cmd {
    let mut question = cmd("CLUSTER");
    question.arg(command);
    question
}

fn set_slot(slot: u16, state: &str, id: &str) -> Cmd {
    let mut order = cluster("SETSLOT");
    order.arg(slot).arg(state).arg(id);
    order
}
