//! Where the queues of a topic are, as the name server says.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The bit of a queue's permissions that lets it be written.
const MAY_WRITE: u32 = 2;
/// Which of a broker's addresses is the master's.
const MASTER: &str = "0";
/// The most queues of a broker in an order that is configured: far more than there are.
const MAX_QUEUES: u32 = 65_536;

/// A queue of a topic. Their order makes the bus partitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// The broker's name. Where it is changes; its name does not.
    pub broker: String,
    /// Its number there.
    pub number: u32,
}

/// The answer of a name server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// `broker:queues;…` of a topic that is kept ordered: its queues also while a broker is away.
    order_topic_conf: Option<String>,
    broker_datas: Vec<BrokerData>,
    queue_datas: Vec<QueueData>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BrokerData {
    broker_name: String,
    broker_addrs: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueueData {
    broker_name: String,
    write_queue_nums: u32,
    perm: u32,
}

impl Route {
    /// The names of the brokers, and where their masters are.
    pub fn masters(&self) -> impl Iterator<Item = (String, String)> {
        self.broker_datas.iter().filter_map(|data| {
            let address = data.broker_addrs.get(MASTER)?;
            Some((data.broker_name.clone(), address.clone()))
        })
    }

    /// The queues that may be written, in their order.
    pub fn queues(&self) -> Vec<Queue> {
        let mut queues = self.ordered().unwrap_or_else(|| {
            let open = self.queue_datas.iter();
            let open = open.filter(|data| data.perm & MAY_WRITE != 0);
            let open = open.filter(|data| self.has_master(&data.broker_name));
            open.flat_map(|data| queues(&data.broker_name, data.write_queue_nums))
                .collect()
        });
        queues.sort();
        queues
    }

    fn has_master(&self, broker: &str) -> bool {
        self.masters().any(|(name, _)| name == broker)
    }

    fn ordered(&self) -> Option<Vec<Queue>> {
        let text = self.order_topic_conf.as_deref()?;
        let mut all = Vec::new();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (broker, count) = part.rsplit_once(':')?;
            let count = count.parse().ok().filter(|count| *count <= MAX_QUEUES)?;
            all.extend(queues(broker, count));
        }
        (!all.is_empty()).then_some(all)
    }
}

fn queues(broker: &str, count: u32) -> impl Iterator<Item = Queue> {
    let broker = broker.to_owned();
    (0..count).map(move |number| Queue {
        broker: broker.clone(),
        number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(order: &str) -> Route {
        let text = format!(
            r#"{{"orderTopicConf":{order},"filterServerTable":{{}},
                "brokerDatas":[
                    {{"brokerName":"b","brokerAddrs":{{"0":"10.0.0.2:1","1":"10.0.0.3:1"}}}},
                    {{"brokerName":"a","brokerAddrs":{{"0":"10.0.0.1:1"}}}},
                    {{"brokerName":"c","brokerAddrs":{{"1":"10.0.0.4:1"}}}}],
                "queueDatas":[
                    {{"brokerName":"b","writeQueueNums":1,"readQueueNums":9,"perm":6}},
                    {{"brokerName":"a","writeQueueNums":2,"readQueueNums":2,"perm":6}},
                    {{"brokerName":"a","writeQueueNums":7,"readQueueNums":7,"perm":4}},
                    {{"brokerName":"c","writeQueueNums":7,"readQueueNums":7,"perm":6}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn names(route: &Route) -> Vec<String> {
        let queues = route.queues().into_iter();
        queues
            .map(|queue| format!("{}{}", queue.broker, queue.number))
            .collect()
    }

    #[test]
    fn queues_are_those_of_masters_that_may_be_written() {
        for order in ["null", "\"\"", "\"nonsense\"", "\"a:x\"", "\"a:99999999\""] {
            assert_eq!(names(&route(order)), ["a0", "a1", "b0"], "{order}");
        }
        let masters: BTreeMap<_, _> = route("null").masters().collect();
        assert_eq!(masters["b"], "10.0.0.2:1");
        assert_eq!(masters.len(), 2);
    }

    #[test]
    fn an_ordered_topic_has_its_queues_also_where_a_broker_is_away() {
        assert_eq!(names(&route("\"c:2;a:1\"")), ["a0", "c0", "c1"]);
    }

    #[test]
    fn an_order_has_so_many_queues_and_no_more() {
        let most = usize::try_from(MAX_QUEUES).unwrap();
        let count = |queues: u32| route(&format!("\"c:{queues}\"")).queues().len();
        assert_eq!(count(MAX_QUEUES), most);
        // Then it is passed over.
        assert_eq!(count(MAX_QUEUES + 1), 3);
    }
}
