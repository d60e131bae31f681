//! A TCP proxy between a client and a server that a test breaks while it runs.
//!
//! It knows no protocol. A **reply** is what the server begins to say after the client said
//! something, as much as arrives at once.
//!
//! It works on a thread of its own, so that a test may block while its clients go through it.

mod rules;
mod traffic;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

pub use rules::Direction;
use rules::{Shared, Trap};

/// How long the proxy waits for a connection to the server before it closes the client's.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A proxy on a port of 127.0.0.1 of its own. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    doors: mpsc::UnboundedSender<Door>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Door {
    Open(oneshot::Sender<Result<(), String>>),
    Close(oneshot::Sender<Result<(), String>>),
}

impl Proxy {
    /// Starts one that passes everything on to this address.
    ///
    /// # Panics
    /// If there is no port or no thread for it.
    pub async fn start(target: SocketAddr) -> Self {
        match Self::try_start(target).await {
            Ok(proxy) => proxy,
            Err(why) => panic!("the proxy to {target} did not start: {why}"),
        }
    }

    async fn try_start(target: SocketAddr) -> Result<Self, String> {
        let port = crate::port::Port::reserve(&[])?;
        let address = (Ipv4Addr::LOCALHOST, port.number()).into();
        let shared = Arc::new(Shared::new());
        let (doors, told) = mpsc::unbounded_channel();
        let of_thread = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let thread = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || {
                // The port stays reserved while connections are refused.
                let _reserved = port;
                runtime.block_on(serve(address, target, of_thread, told));
            })
            .map_err(|error| error.to_string())?;
        let proxy = Self {
            address,
            shared,
            doors,
            thread: Some(thread),
        };
        proxy.tell(Door::Open).await?;
        Ok(proxy)
    }

    async fn tell(
        &self,
        door: fn(oneshot::Sender<Result<(), String>>) -> Door,
    ) -> Result<(), String> {
        let (done, is_done) = oneshot::channel();
        let ended = "the proxy's thread has ended";
        self.doors.send(door(done)).map_err(|_| ended.to_owned())?;
        is_done.await.map_err(|_| ended.to_owned())?
    }

    /// Where clients come to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How many bytes were passed on.
    pub fn passed_bytes(&self, direction: Direction) -> u64 {
        self.shared.passed_bytes(direction)
    }

    /// Closes all open connections in order (FIN). New ones are taken.
    pub fn cut(&self) {
        self.shared.end_connections(false);
    }

    /// Closes all open connections with RST. New ones are taken.
    pub fn reset(&self) {
        self.shared.end_connections(true);
    }

    /// Refuses new connections, as a server that is not there. Open ones go on; [`Proxy::cut`] them.
    ///
    /// # Panics
    /// If the proxy's thread has ended.
    pub async fn refuse(&self) {
        if let Err(why) = self.tell(Door::Close).await {
            panic!("{} cannot be closed: {why}", self.address);
        }
    }

    /// Takes new connections again.
    ///
    /// # Panics
    /// If the port cannot be listened on.
    pub async fn accept(&self) {
        if let Err(why) = self.tell(Door::Open).await {
            panic!("{} cannot be opened: {why}", self.address);
        }
    }

    /// Holds every piece of at most 64 KiB for so long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|rules| rules.delay = delay);
    }

    /// Passes at most so many bytes a second, on each connection in each direction.
    ///
    /// # Panics
    /// If it is zero; that is [`Proxy::stall`].
    pub fn throttle(&self, bytes_per_second: u64) {
        assert_ne!(bytes_per_second, 0, "a throttle passes something");
        self.shared
            .change(|rules| rules.bytes_per_second = Some(bytes_per_second));
    }

    /// Keeps connections open and throws away what comes in this direction. A connection that lost
    /// bytes stays lost, whatever the rules become, until it is closed: what came behind them would
    /// make no sense.
    pub fn black_hole(&self, direction: Direction) {
        self.shared
            .change(|rules| rules.black_hole[direction as usize] = true);
    }

    /// Keeps connections open and everything that comes in this direction with it, until
    /// [`Proxy::heal`]: a network that was parted and came together again.
    pub fn stall(&self, direction: Direction) {
        self.shared
            .change(|rules| rules.stall[direction as usize] = true);
    }

    /// Passes this many replies on, counted over all connections, and cuts the connection of the
    /// last one right behind it. Once.
    ///
    /// # Panics
    /// If it is zero; that is [`Proxy::cut`].
    pub fn cut_after_replies(&self, replies: u32) {
        assert_ne!(replies, 0, "a cut comes after a reply");
        self.shared.set_trap(Trap::Replies { left: replies });
    }

    /// Passes on everything up to the end of this pattern, on whichever connection it comes first,
    /// and cuts that connection there. Once.
    ///
    /// # Panics
    /// If the pattern is empty.
    pub fn cut_after(&self, direction: Direction, pattern: &[u8]) {
        self.set_pattern_trap(direction, pattern, false);
    }

    /// Passes on a request with this pattern, waits until the server replies to it, throws the
    /// reply away and cuts the connection: what was done, was done, and the client cannot know.
    /// Once.
    ///
    /// # Panics
    /// If the pattern is empty.
    pub fn lose_reply_to(&self, pattern: &[u8]) {
        self.set_pattern_trap(Direction::ToServer, pattern, true);
    }

    fn set_pattern_trap(&self, direction: Direction, pattern: &[u8], lose_reply: bool) {
        assert!(!pattern.is_empty(), "an empty pattern is everywhere");
        self.shared.set_trap(Trap::Pattern {
            direction,
            pattern: pattern.into(),
            lose_reply,
        });
    }

    /// How many connections were cut by [`Proxy::cut_after_replies`], [`Proxy::cut_after`] and
    /// [`Proxy::lose_reply_to`].
    pub fn sprung(&self) -> u64 {
        self.shared.sprung()
    }

    /// Takes back every delay, throttle, black hole and stall, and every cut that has not come yet,
    /// and takes connections again.
    ///
    /// # Panics
    /// If the port cannot be listened on.
    pub async fn heal(&self) {
        self.shared.heal();
        self.accept().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Without its sender the thread ends, and with its runtime every connection.
        let (nobody, _) = mpsc::unbounded_channel();
        self.doors = nobody;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    address: SocketAddr,
    target: SocketAddr,
    shared: Arc<Shared>,
    mut told: mpsc::UnboundedReceiver<Door>,
) {
    let mut listener: Option<TcpListener> = None;
    loop {
        tokio::select! {
            door = told.recv() => match door {
                None => return,
                Some(Door::Close(done)) => {
                    listener = None;
                    let _ = done.send(Ok(()));
                }
                Some(Door::Open(done)) => {
                    let opened = open(&mut listener, address).await;
                    let _ = done.send(opened.map_err(|error| error.to_string()));
                }
            },
            Some(client) = next_client(listener.as_ref()) => {
                tokio::spawn(connect(client, target, Arc::clone(&shared)));
            }
        }
    }
}

async fn open(listener: &mut Option<TcpListener>, address: SocketAddr) -> std::io::Result<()> {
    if listener.is_none() {
        *listener = Some(TcpListener::bind(address).await?);
    }
    Ok(())
}

/// None if the client was gone before it was taken; waits for ever while the door is closed.
async fn next_client(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

async fn connect(client: TcpStream, target: SocketAddr, shared: Arc<Shared>) {
    let mut end = shared.ends();
    let connecting = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(target));
    let Ok(Ok(server)) = connecting.await else {
        // The client sees the same as from a server that is not there, a moment later.
        let _ = client.set_zero_linger();
        return;
    };
    traffic::pass(client, server, &shared, &mut end).await;
}
