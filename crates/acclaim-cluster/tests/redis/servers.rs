//! The servers that a test is played on.

use acclaim_cluster::redis::keys::Partition;
use acclaim_servers::{Redis as Server, RedisCluster};

pub enum Servers {
    One(Box<Server>),
    Cluster(RedisCluster),
}

/// The URL of a Cluster.
pub fn cluster_url(cluster: &RedisCluster) -> String {
    format!("redis+cluster://{}", hosts(cluster.nodes()))
}

/// Addresses as they stand in a URL of several.
pub fn hosts(servers: &[Server]) -> String {
    let hosts: Vec<_> = servers
        .iter()
        .map(|node| node.address().to_string())
        .collect();
    hosts.join(",")
}

impl Servers {
    pub async fn one() -> Self {
        Self::One(Box::new(Server::start().await))
    }

    pub async fn cluster() -> Self {
        Self::Cluster(RedisCluster::start().await)
    }

    pub fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Cluster(cluster) => cluster_url(cluster),
        }
    }

    pub async fn master_of(&self, partition: Partition) -> &Server {
        match self {
            Self::One(server) => server,
            Self::Cluster(cluster) => {
                let slot = cluster.slot_of(&partition.to_string()).await;
                cluster.master_of(slot).await
            }
        }
    }

    /// Nothing where there is only one.
    pub async fn fail_over(&self, partition: Partition) {
        if let Self::Cluster(cluster) = self {
            let slot = cluster.slot_of(&partition.to_string()).await;
            cluster.await_health().await;
            cluster.fail_over(slot).await;
        }
    }
}
