//! One partition with one target, two servers, two nodes that each have a worker.
//!
//! Every transition is a like of another user, so a count is a number of events.

/// How far the search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    pub decisions: u8,
    pub losses: u8,
    pub asks: u8,
    pub leases: u8,
}

/// What keeps it right. The search takes them away one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing is decided on a server whose name was not compared with the seat's.
    AskFirst,
    /// A server that is behind what was applied begins anew.
    CompareApplied,
    /// Taking a seat ends the lease.
    FenceOnTake,
    /// A seat is taken only if nothing was applied since it was read.
    TakeComparesApplied,
    /// A server takes a seat only from one that it follows.
    OnlyFollowers,
    /// A life that was begun, and decided in, is not begun again.
    BeginOnce,
    /// A journal is read only from the server whose seat the lease belongs to.
    LeaseHasTurn,
}

impl Guard {
    pub const EVERY: [Self; 7] = [
        Self::AskFirst,
        Self::CompareApplied,
        Self::FenceOnTake,
        Self::TakeComparesApplied,
        Self::OnlyFollowers,
        Self::BeginOnce,
        Self::LeaseHasTurn,
    ];
}

const NODES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node sends a like to the server that it takes for the master.
    Decide(usize),
    /// The second server has all that the first has.
    Replicate,
    /// The second becomes a master; the first lives on, cut off.
    Promote,
    /// A node learns of that.
    Learn(usize),
    /// The first writes a copy of its data.
    Save,
    /// The first starts again with its copy.
    Restart,
    AskRead(usize),
    AskLook(usize),
    AskTake(usize),
    Lease(usize),
    ReadBatch(usize),
    Commit(usize),
    Tell(usize),
}

impl Step {
    pub fn every() -> Vec<Self> {
        let mut steps = vec![Self::Replicate, Self::Promote, Self::Save, Self::Restart];
        for node in 0..NODES {
            steps.extend([
                Self::Decide(node),
                Self::Learn(node),
                Self::AskRead(node),
                Self::AskLook(node),
                Self::AskTake(node),
                Self::Lease(node),
                Self::ReadBatch(node),
                Self::Commit(node),
                Self::Tell(node),
            ]);
        }
        steps
    }
}

/// Its place, which says who it is, and the count that it publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event {
    id: u8,
    place: u8,
    count: u8,
}

/// A partition in one life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Data {
    life: u8,
    last: u8,
    durable: u8,
    count: u8,
    journal: Vec<Event>,
}

impl Data {
    /// The last place given in a life; 0 for one that is not there.
    fn last_of(&self, life: u8) -> u8 {
        if self.life == life { self.last } else { 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    name: u8,
    /// What it was a replica of.
    before: u8,
    is_master: bool,
    data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    seat: u8,
    /// At which of the two servers.
    address: usize,
    turn: u8,
    life: u8,
    applied: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ask {
    Idle,
    Read(Row),
    /// The life that a server was made ready for: where it is, and its name.
    Looked(Row, u8, (usize, u8)),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    /// The server that it takes for the master.
    server: usize,
    /// The name, the life and the turn that it knows.
    held: (u8, u8, u8),
    ask: Ask,
    /// The fence and the turn of its lease.
    lease: Option<(u8, u8)>,
    /// What was read, under which fence.
    batch: Option<(u8, Vec<Event>)>,
    told: Option<(u8, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    left: Bounds,
    servers: [Server; 2],
    copy: Option<Data>,
    names: u8,
    events: u8,
    nodes: [Node; NODES],
    row: Row,
    fence: u8,
    ledger: Vec<Event>,
    wrong: Option<&'static str>,
}

impl World {
    pub fn new(bounds: Bounds) -> Self {
        let data = Data {
            life: 0,
            last: 0,
            durable: 0,
            count: 0,
            journal: Vec::new(),
        };
        let server = |name, before, is_master| Server {
            name,
            before,
            is_master,
            data: data.clone(),
        };
        let node = Node {
            server: 0,
            held: (1, 0, 1),
            ask: Ask::Idle,
            lease: None,
            batch: None,
            told: None,
        };
        Self {
            left: bounds,
            servers: [server(1, 0, true), server(1, 0, false)],
            copy: None,
            names: 1,
            events: 0,
            nodes: [node.clone(), node],
            row: Row {
                seat: 1,
                address: 0,
                turn: 1,
                life: 0,
                applied: 0,
            },
            fence: 0,
            ledger: Vec::new(),
            wrong: None,
        }
    }

    pub fn life(&self) -> u8 {
        self.row.life
    }

    /// Takes a step. Answers whether it could be taken.
    pub fn take(&mut self, step: Step, without: Option<Guard>) -> bool {
        match step {
            Step::Decide(node) => self.decide(node, without),
            Step::Replicate => self.replicate(),
            Step::Promote => self.promote(),
            Step::Learn(node) => {
                let learns = self.servers[1].is_master && self.nodes[node].server == 0;
                self.nodes[node].server = usize::from(self.servers[1].is_master);
                learns
            }
            Step::Save => {
                let copy = Some(self.servers[0].data.clone());
                std::mem::replace(&mut self.copy, copy.clone()) != copy
            }
            Step::Restart => self.restart(),
            Step::AskRead(node) => self.ask_read(node),
            Step::AskLook(node) => self.ask_look(node, without),
            Step::AskTake(node) => self.ask_take(node, without),
            Step::Lease(node) => self.lease(node),
            Step::ReadBatch(node) => self.read_batch(node, without),
            Step::Commit(node) => self.commit(node),
            Step::Tell(node) => self.tell(node),
        }
    }

    fn is_seated(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.held.0 == self.servers[node.server].name
    }

    fn decide(&mut self, node: usize, without: Option<Guard>) -> bool {
        if self.left.decisions == 0 {
            return false;
        }
        let seated = self.is_seated(node);
        if !seated && without != Some(Guard::AskFirst) {
            return false;
        }
        let life = self.nodes[node].held.1;
        let data = &mut self.servers[self.nodes[node].server].data;
        // A life that is not there has no place to go on from.
        if data.life != life {
            return false;
        }
        self.left.decisions -= 1;
        self.events += 1;
        data.last += 1;
        data.count += 1;
        data.journal.push(Event {
            id: self.events,
            place: data.last,
            count: data.count,
        });
        true
    }

    fn replicate(&mut self) -> bool {
        let [first, second] = &mut self.servers;
        // A replica of a server that has started again is its replica from then on.
        if second.is_master || (second.data == first.data && second.name == first.name) {
            return false;
        }
        second.data = first.data.clone();
        second.name = first.name;
        true
    }

    fn promote(&mut self) -> bool {
        if self.left.losses == 0 || self.servers[1].is_master {
            return false;
        }
        self.left.losses -= 1;
        self.names += 1;
        let second = &mut self.servers[1];
        second.before = second.name;
        second.name = self.names;
        second.is_master = true;
        true
    }

    fn restart(&mut self) -> bool {
        let Some(copy) = &self.copy else {
            return false;
        };
        // One that was replaced stays cut off.
        if self.left.losses == 0 || self.servers[1].is_master {
            return false;
        }
        self.left.losses -= 1;
        self.names += 1;
        let first = &mut self.servers[0];
        first.data = copy.clone();
        first.before = 0;
        first.name = self.names;
        true
    }

    fn ask_read(&mut self, node: usize) -> bool {
        let seated = self.is_seated(node);
        let row = self.row;
        // A node that knows an older turn than the ledger asks again too.
        let is_old = self.nodes[node].held.2 != row.turn;
        if self.left.asks == 0 || (seated && !is_old) || self.nodes[node].ask != Ask::Idle {
            return false;
        }
        self.left.asks -= 1;
        self.nodes[node].ask = Ask::Read(row);
        if is_old {
            self.nodes[node].held.0 = 0;
        }
        true
    }

    fn ask_look(&mut self, node: usize, without: Option<Guard>) -> bool {
        let Ask::Read(row) = self.nodes[node].ask else {
            return false;
        };
        let address = self.nodes[node].server;
        let server = &mut self.servers[address];
        if row.seat == server.name {
            self.nodes[node].held = (server.name, row.life, row.turn);
            self.nodes[node].ask = Ask::Idle;
            return true;
        }
        let follows = server.before == row.seat || row.address == address;
        if !follows && without != Some(Guard::OnlyFollowers) {
            self.nodes[node].ask = Ask::Idle;
            return true;
        }
        let last = server.data.last_of(row.life);
        let mut life = row.life;
        if last < row.applied && without != Some(Guard::CompareApplied) {
            life += 1;
            let data = &server.data;
            // Another who asked may have begun it, and may have decided in it already.
            let lives = data.life == life && !data.journal.is_empty();
            if without == Some(Guard::BeginOnce) || !lives && data.last_of(life) < row.applied {
                // Empty; the target is loaded from the ledger, which has all of it.
                server.data = Data {
                    life,
                    last: row.applied,
                    durable: row.applied,
                    count: u8::try_from(self.ledger.len()).unwrap(),
                    journal: Vec::new(),
                };
            }
        }
        self.nodes[node].ask = Ask::Looked(row, life, (address, server.name));
        true
    }

    fn ask_take(&mut self, node: usize, without: Option<Guard>) -> bool {
        let Ask::Looked(found, life, (address, name)) = self.nodes[node].ask else {
            return false;
        };
        self.nodes[node].ask = Ask::Idle;
        let same = self.row.turn == found.turn
            && (self.row.applied == found.applied || without == Some(Guard::TakeComparesApplied));
        if !same {
            return true;
        }
        self.row.seat = name;
        self.row.address = address;
        self.row.turn += 1;
        self.row.life = life;
        if without != Some(Guard::FenceOnTake) {
            self.fence += 1;
        }
        self.nodes[node].held = (name, life, self.row.turn);
        true
    }

    fn lease(&mut self, node: usize) -> bool {
        if self.left.leases == 0 || self.nodes[node].lease.is_some_and(|(f, _)| f == self.fence) {
            return false;
        }
        self.left.leases -= 1;
        self.fence += 1;
        self.nodes[node].lease = Some((self.fence, self.row.turn));
        true
    }

    fn read_batch(&mut self, node: usize, without: Option<Guard>) -> bool {
        let seated = self.is_seated(node);
        let one = &self.nodes[node];
        let Some((fence, turn)) = one.lease else {
            return false;
        };
        let is_its = one.held.2 == turn || without == Some(Guard::LeaseHasTurn);
        let data = &self.servers[one.server].data;
        if !seated || !is_its || one.batch.is_some() || data.life != one.held.1 {
            return false;
        }
        let batch = data.journal.iter();
        let batch = batch.filter(|event| event.place > data.durable);
        let batch: Vec<Event> = batch.copied().collect();
        if batch.is_empty() {
            return false;
        }
        self.nodes[node].batch = Some((fence, batch));
        true
    }

    fn commit(&mut self, node: usize) -> bool {
        let Some((fence, batch)) = self.nodes[node].batch.take() else {
            return false;
        };
        if fence != self.fence {
            self.nodes[node].lease = None;
            return true;
        }
        let last = batch.last().map_or(0, |event| event.place);
        for event in batch {
            if !self.ledger.iter().any(|known| known.id == event.id) {
                if event.place <= self.row.applied {
                    self.wrong = Some("an event comes below what was applied");
                }
                self.ledger.push(event);
            }
        }
        self.row.applied = self.row.applied.max(last);
        self.nodes[node].told = Some((last, self.nodes[node].held.1));
        true
    }

    /// The journal's own entry is looked for, as `persisted.lua` does.
    fn tell(&mut self, node: usize) -> bool {
        let Some((place, life)) = self.nodes[node].told.take() else {
            return false;
        };
        let seated = self.is_seated(node);
        let data = &mut self.servers[self.nodes[node].server].data;
        let has = data.journal.iter().any(|event| event.place == place);
        if seated && data.life == life && has {
            data.durable = data.durable.max(place);
        }
        true
    }

    /// What must hold in every state.
    pub fn check(&self) -> Result<(), String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.to_owned());
        }
        // Counts come as values: the last one says how many there are.
        for (n, event) in self.ledger.iter().enumerate() {
            if usize::from(event.count) != n + 1 {
                return Err(format!("event {n} says {}: {:?}", event.count, self.ledger));
            }
        }
        // The server that decides has everything that the ledger has.
        let seat = &self.servers[self.row.address];
        let is_it = seat.name == self.row.seat && seat.data.life == self.row.life;
        if is_it && usize::from(seat.data.count) < self.ledger.len() {
            return Err(format!(
                "the seat has {} of {:?}",
                seat.data.count, self.ledger
            ));
        }
        Ok(())
    }
}
