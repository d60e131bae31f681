//! Which server has a partition: one server, the master that Sentinels name, the masters of a
//! Cluster by slots.
//!
//! A task asks the Sentinels or the nodes of the Cluster once in an interval, and at once when a
//! call fails. All are asked together; the view that most of them have holds, else the one with the
//! latest epoch. A server that hangs so delays nothing, and one that was cut off and missed a
//! failover is outvoted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::{Cmd, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::access::Access;
use super::address::{Address, RedisUrl, Shape};
use super::error::RedisError;
use super::keys::Partition;
use super::limits::RedisLimits;
use super::node::Node;
use super::seat::Seats;
use super::slots::{SlotMap, slot_of, slot_of_key};

/// The least time between two rounds of questions, however many calls fail.
const MIN_INTERVAL: Duration = Duration::from_millis(25);

/// What is known of the servers now.
#[derive(Default)]
struct Routes {
    slots: Slots,
    nodes: BTreeMap<Address, Arc<Node>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Slots {
    /// Nobody has said yet.
    #[default]
    Unknown,
    One(Address),
    Shared(SlotMap),
}

impl Slots {
    fn masters(&self) -> BTreeSet<Address> {
        match self {
            Self::Unknown => BTreeSet::new(),
            Self::One(address) => BTreeSet::from([address.clone()]),
            Self::Shared(map) => map.masters().cloned().collect(),
        }
    }
}

/// The servers.
pub struct Topology {
    url: RedisUrl,
    access: Access,
    limits: RedisLimits,
    routes: ArcSwap<Routes>,
    hurry: Notify,
}

impl Topology {
    /// What the URL says; who is master is found out by [`watch`].
    pub fn new(
        url: RedisUrl,
        trusted_pem: Option<&[u8]>,
        limits: RedisLimits,
        seats: Option<Arc<Seats>>,
    ) -> Self {
        let mut access = Access::new(&url, trusted_pem).with_seats(seats);
        if matches!(url.shape, Shape::Sentinel(_)) {
            access = access.for_master();
        }
        let topology = Self {
            access,
            limits,
            routes: ArcSwap::default(),
            hurry: Notify::new(),
            url,
        };
        if topology.url.shape == Shape::Single {
            topology.adopt(Slots::One(topology.url.hosts[0].clone()));
        }
        topology
    }

    /// Whether there is anything to watch.
    pub fn can_change(&self) -> bool {
        self.url.shape != Shape::Single
    }

    /// The server of a partition.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`] while nobody has told.
    pub fn node_of(&self, partition: Partition) -> Result<Arc<Node>, RedisError> {
        let routes = self.routes.load();
        let address = match &routes.slots {
            Slots::Unknown => None,
            Slots::One(address) => Some(address),
            Slots::Shared(map) => map.master(slot_of(partition)),
        };
        let node = address.and_then(|address| routes.nodes.get(address));
        node.cloned().ok_or_else(|| self.nowhere())
    }

    /// The server of any key.
    ///
    /// # Errors
    /// As [`Topology::node_of`].
    pub fn address_of_key(&self, key: &[u8]) -> Result<Address, RedisError> {
        let routes = self.routes.load();
        let address = match &routes.slots {
            Slots::Unknown => None,
            Slots::One(address) => Some(address),
            Slots::Shared(map) => map.master(slot_of_key(key)),
        };
        address.cloned().ok_or_else(|| self.nowhere())
    }

    fn nowhere(&self) -> RedisError {
        let hosts: Vec<_> = self.url.hosts.iter().map(Address::to_string).collect();
        let reason = match &self.url.shape {
            Shape::Sentinel(name) => format!("no Sentinel names a master for {name:?} yet"),
            Shape::Single | Shape::Cluster => "no node names a master for the slot yet".to_owned(),
        };
        RedisError::Unavailable {
            address: hosts.join(","),
            reason,
        }
    }

    /// The server at an address that another has named.
    pub fn node_at(&self, address: &Address) -> Arc<Node> {
        if let Some(node) = self.routes.load().nodes.get(address) {
            return Arc::clone(node);
        }
        let node = Arc::new(self.node(address.clone()));
        self.routes.rcu(|routes| {
            let mut nodes = routes.nodes.clone();
            nodes.entry(address.clone()).or_insert(Arc::clone(&node));
            Routes {
                slots: routes.slots.clone(),
                nodes,
            }
        });
        node
    }

    fn node(&self, address: Address) -> Node {
        Node::new(address, self.access.clone(), self.limits)
    }

    /// All masters.
    pub fn masters(&self) -> Vec<Arc<Node>> {
        let routes = self.routes.load();
        let masters = routes.slots.masters();
        let known = routes.nodes.iter();
        known
            .filter(|(address, _)| masters.contains(*address))
            .map(|(_, node)| Arc::clone(node))
            .collect()
    }

    /// Has the servers asked at once who is master.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    fn adopt(&self, slots: Slots) {
        let before = self.routes.load();
        if before.slots == slots {
            return;
        }
        let masters = slots.masters();
        let names: Vec<_> = masters.iter().map(Address::to_string).collect();
        tracing::info!(masters = names.join(","), "the masters of Redis are known");
        let node = |address: Address| {
            let node = before.nodes.get(&address).cloned();
            let node = node.unwrap_or_else(|| Arc::new(self.node(address.clone())));
            (address, node)
        };
        let nodes = masters.into_iter().map(node).collect();
        self.routes.store(Arc::new(Routes { slots, nodes }));
    }
}

/// Keeps a topology up to date until nobody has it any more.
pub async fn watch(topology: Weak<Topology>) {
    let mut asked = BTreeMap::new();
    loop {
        let Some(topology) = topology.upgrade() else {
            return;
        };
        if let Some(slots) = topology.look(&mut asked).await {
            topology.adopt(slots);
        }
        tokio::time::sleep(MIN_INTERVAL).await;
        let interval = topology.limits.topology_interval();
        // Either way the next round comes.
        let _ = tokio::time::timeout(interval, topology.hurry.notified()).await;
    }
}

/// What one server says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    /// Its part of the cluster works.
    is_whole: bool,
    epoch: u64,
    slots: Slots,
}

type Asked = BTreeMap<Address, Vec<Node>>;

impl Topology {
    /// Asks all servers, and says what is so.
    async fn look(&self, asked: &mut Asked) -> Option<Slots> {
        let mut addresses: BTreeSet<Address> = self.url.hosts.iter().cloned().collect();
        if self.url.shape == Shape::Cluster {
            addresses.extend(self.routes.load().slots.masters());
        }
        asked.retain(|address, _| addresses.contains(address));
        for address in &addresses {
            let known = asked.entry(address.clone());
            known.or_insert_with(|| self.doors(address));
        }
        let questions = asked.values().map(|doors| self.ask(doors));
        let mut answers: FuturesUnordered<_> = questions.collect();
        let mut views: Vec<View> = Vec::new();
        while let Some(answer) = answers.next().await {
            let Some(view) = answer else { continue };
            let same = views.iter().filter(|other| **other == view).count() + 1;
            if view.is_whole && same * 2 > asked.len() {
                return Some(view.slots);
            }
            views.push(view);
        }
        let latest = views
            .into_iter()
            .max_by_key(|view| (view.is_whole, view.epoch));
        latest.map(|view| view.slots)
    }

    /// The ways to ask a server, best first. Sentinels often have no password where the servers
    /// have one.
    fn doors(&self, address: &Address) -> Vec<Node> {
        let node = |access| Node::new(address.clone(), access, self.limits);
        match self.url.shape {
            Shape::Sentinel(_) if self.access.has_password() => vec![
                node(self.access.to_sentinel(true)),
                node(self.access.to_sentinel(false)),
            ],
            Shape::Sentinel(_) => vec![node(self.access.to_sentinel(false))],
            Shape::Single | Shape::Cluster => vec![node(self.access.clone())],
        }
    }

    async fn ask(&self, doors: &[Node]) -> Option<View> {
        for door in doors {
            let view = match &self.url.shape {
                Shape::Sentinel(name) => self.ask_sentinel(door, name).await,
                Shape::Single | Shape::Cluster => self.ask_node(door).await,
            };
            if view.is_some() {
                return view;
            }
        }
        None
    }

    async fn query<const N: usize>(&self, node: &Node, cmds: [&Cmd; N]) -> Option<[Value; N]> {
        let deadline = Instant::now() + self.limits.call_timeout();
        let answers = node.send(&cmds, &[], deadline).await;
        let answers =
            answers.and_then(|answers| answers.into_iter().collect::<Result<Vec<_>, _>>());
        match answers {
            Ok(answers) => answers.try_into().ok(),
            Err(refusal) => {
                let why = RedisError::from(refusal);
                tracing::debug!(%why, "a server does not say who is master");
                None
            }
        }
    }

    async fn ask_node(&self, node: &Node) -> Option<View> {
        let (mut info, mut slots) = (redis::cmd("CLUSTER"), redis::cmd("CLUSTER"));
        info.arg("INFO");
        slots.arg("SLOTS");
        let [info, slots] = self.query(node, [&info, &slots]).await?;
        let info = text(&info)?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let map = SlotMap::read(&slots, node.address())?;
        (map.covered() > 0).then_some(View {
            is_whole: field("cluster_state:")?.trim() == "ok",
            epoch: field("cluster_current_epoch:")?.trim().parse().ok()?,
            slots: Slots::Shared(map),
        })
    }

    async fn ask_sentinel(&self, sentinel: &Node, name: &str) -> Option<View> {
        let mut master = redis::cmd("SENTINEL");
        master.arg("MASTER").arg(name);
        let [master] = self.query(sentinel, [&master]).await?;
        let fields = pairs(&master)?;
        let field = |name: &str| {
            fields
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value)
        };
        let address = Address {
            host: field("ip")?.clone(),
            port: field("port")?.parse().ok()?,
        };
        Some(View {
            is_whole: true,
            epoch: field("config-epoch")?.parse().ok()?,
            slots: Slots::One(address),
        })
    }
}

/// What a value says as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Names and values, of a map or of a list that has them in turn.
pub(super) fn pairs(value: &Value) -> Option<Vec<(String, String)>> {
    match value {
        Value::Map(map) => map
            .iter()
            .map(|(k, v)| Some((text(k)?, text(v)?)))
            .collect(),
        Value::Array(list) => {
            let pairs = list.chunks_exact(2);
            pairs
                .map(|pair| Some((text(&pair[0])?, text(&pair[1])?)))
                .collect()
        }
        _ => None,
    }
}
