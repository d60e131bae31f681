//! What a case needs of a bus, and what the cases share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_bus::port::{Bus, Consumer, Lag, Outgoing, Publisher, Received};
use acclaim_bus::{BusUrl, Limits, open};
use async_trait::async_trait;

/// The bus partitions of the topics of most cases, fewer than the store's partitions in use.
pub const BUS_PARTITIONS: u32 = 3;
/// The group of most cases.
pub const GROUP: &str = "group";
/// How long a case waits for what must come. Far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A server of a bus.
#[async_trait]
pub trait Harness: Send + Sync + Sized + 'static {
    /// One that many cases share and none may harm.
    async fn shared() -> &'static Self;
    /// One for faults.
    async fn private() -> Self;
    /// Its URL without options.
    fn url(&self) -> String;
    /// Further options of its URLs, each behind an `&`.
    fn options(&self) -> String {
        String::new()
    }
    /// A topic that nobody else uses.
    fn topic(&self) -> String;
    /// `kill -9`.
    fn kill(&self);
    /// Starts it again on its data.
    async fn restart(&self);
    /// SIGSTOP.
    async fn pause(&self);
    /// SIGCONT.
    fn resume(&self);
}

/// A topic of its own on a server.
pub struct Rig {
    pub url: BusUrl,
    pub limits: Limits,
    pub bus: Box<dyn Bus>,
}

pub fn limits() -> Limits {
    Limits {
        session_timeout_millis: 6_000,
        backoff_min_millis: 300,
        ..Limits::default()
    }
}

impl Rig {
    pub fn new<H: Harness>(harness: &H, limits: Limits) -> Self {
        let topic = harness.topic();
        let url = format!(
            "{}?topic={topic}&partitions={BUS_PARTITIONS}{}",
            harness.url(),
            harness.options()
        );
        Self::of(&url, limits)
    }

    pub fn of(url: &str, limits: Limits) -> Self {
        let url = BusUrl::parse(url).unwrap();
        let bus = open(&url, &limits).unwrap();
        Self { url, limits, bus }
    }

    /// The topic of the dead letters as one of events.
    pub fn dead(&self) -> Self {
        let mut url = self.url.clone();
        url.topic.clone_from(&self.url.dead_topic);
        url.dead_topic = format!("{}-of-dead", url.topic);
        let bus = open(&url, &self.limits).unwrap();
        Self {
            url,
            limits: self.limits.clone(),
            bus,
        }
    }

    /// One of which nothing is lost to the group of [`Rig::consumer`].
    pub async fn publisher(&self) -> Arc<dyn Publisher> {
        let publisher = self.bus.publisher().await.unwrap();
        self.bus.keep_for(GROUP).await.unwrap();
        publisher.into()
    }

    pub async fn consumer(&self) -> Box<dyn Consumer> {
        self.bus.consumer(GROUP).await.unwrap()
    }
}

/// Runs calls at the same time.
pub async fn all<T, F>(calls: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// Event `number` of a partition of the store.
pub fn event(partition: u16, number: usize) -> Outgoing {
    Outgoing {
        partition,
        id: format!("{number}-{partition}"),
        payload: format!("{partition}:{number}").into(),
    }
}

pub fn events(partition: u16, numbers: std::ops::Range<usize>) -> Vec<Outgoing> {
    numbers.map(|number| event(partition, number)).collect()
}

/// Which event it is.
pub fn read(received: &Received) -> (u16, usize) {
    let text = std::str::from_utf8(&received.payload).unwrap();
    let (partition, number) = text.split_once(':').unwrap();
    (partition.parse().unwrap(), number.parse().unwrap())
}

pub fn read_all(received: &[Received]) -> Vec<(u16, usize)> {
    received.iter().map(read).collect()
}

/// The numbers by partition, in the order of their coming.
pub fn by_partition(received: &[Received]) -> BTreeMap<u16, Vec<usize>> {
    let mut lines: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (partition, number) in read_all(received) {
        lines.entry(partition).or_default().push(number);
    }
    lines
}

/// Receives until there are so many, and fails if more come at once than that.
pub async fn gather(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Received> {
    let begin = Instant::now();
    let mut gathered = Vec::new();
    while gathered.len() < count {
        let missing = (count - gathered.len()).min(1_000);
        let batch = consumer.receive(missing, Duration::from_millis(200)).await;
        gathered.extend(batch.unwrap());
        let waited = begin.elapsed();
        assert!(
            waited < PATIENCE,
            "{} of {count} after {waited:?}",
            gathered.len()
        );
    }
    gathered
}

/// Waits until a consumer has so many bus partitions.
pub async fn has_partitions(consumer: &mut Box<dyn Consumer>, wanted: std::ops::Range<usize>) {
    let begin = Instant::now();
    loop {
        let nothing = consumer
            .receive(1, Duration::from_millis(20))
            .await
            .unwrap();
        assert_eq!(nothing, Vec::new(), "nothing was published yet");
        let has = consumer.lag().await.unwrap().len();
        if wanted.contains(&has) {
            return;
        }
        let waited = begin.elapsed();
        assert!(
            waited < PATIENCE,
            "{has} bus partitions, not {wanted:?}, after {waited:?}"
        );
    }
}

/// How far behind every bus partition is, once a consumer that is alone has them all. They come one
/// by one: events of the first may be there before the last is.
pub async fn lag_of_all(consumer: &mut Box<dyn Consumer>) -> Vec<Lag> {
    let begin = Instant::now();
    loop {
        let lag = consumer.lag().await.unwrap();
        if lag.len() == BUS_PARTITIONS as usize {
            return lag;
        }
        let waited = begin.elapsed();
        assert!(waited < PATIENCE, "only {lag:?} after {waited:?}");
        tokio::task::yield_now().await;
    }
}

/// Nothing more comes for a moment.
pub async fn nothing_comes(consumer: &mut Box<dyn Consumer>) {
    let batch = consumer.receive(1_000, Duration::from_millis(500)).await;
    assert_eq!(read_all(&batch.unwrap()), Vec::new());
}

/// Makes a harness of a kind of server: what its own calls do under the same names, and what else is
/// given.
macro_rules! harness {
    ($server:ty; $($own:tt)*) => {
        #[async_trait::async_trait]
        impl crate::harness::Harness for $server {
            $($own)*

            fn url(&self) -> String {
                self.url()
            }

            fn kill(&self) {
                self.kill();
            }

            async fn restart(&self) {
                self.restart().await;
            }

            async fn pause(&self) {
                self.pause().await;
            }

            fn resume(&self) {
                self.resume();
            }
        }
    };
}

/// Every case on one kind of server.
macro_rules! every_case {
    ($server:ty) => {
        every_case!(
            $server;
            order::events_of_a_partition_come_in_order,
            order::one_call_may_carry_many_partitions,
            batches::batches_have_a_size_and_a_wait,
            batches::more_may_come_at_once_than_is_held,
            batches::what_is_published_has_limits,
            batches::only_so_many_events_are_held,
            batches::a_dropped_call_loses_nothing,
            redelivery::what_is_given_back_comes_again_in_order,
            redelivery::after_three_tries_it_is_a_dead_letter,
            redelivery::one_event_can_be_buried_at_once,
            groups::two_consumers_share,
            groups::another_group_gets_everything_too,
            groups::a_consumer_that_goes_leaves_its_batch_to_the_next,
            groups::a_rebalance_in_the_middle_of_a_batch,
            seeking::a_group_goes_where_it_is_told,
            seeking::lag_is_what_is_not_acknowledged,
            opening::topics_are_made_where_that_is_asked_for,
            opening::nobody_is_at_a_wrong_address,
            opening::a_group_has_a_name,
        );

        /// One after the other on one server: what the first leaves behind is nothing to the
        /// second.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn faults() {
            let server = <$server as crate::harness::Harness>::private().await;
            crate::faults::a_bus_that_hangs_holds_up_nobody(&server).await;
            crate::faults::a_bus_that_is_killed_loses_nothing(&server).await;
        }
    };
    ($server:ty; $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$module::$case::<$server>().await;
            }
        )*
    };
}
