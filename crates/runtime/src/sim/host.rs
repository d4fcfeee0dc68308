//! The simulated host: its clock, its table of descriptors, and what happens by itself. What we
//! ask of it is in `operations.rs` and `splice.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc::{ECONNRESET, EMFILE, ETIMEDOUT};
use socket2::SockAddr;

use super::faults::Faults;
use super::link::{Link, PipeBytes};
use super::operations::{Queued, Reading, Writing};
use super::random::Random;
use super::script::Script;
use super::turn::Done;
use super::watch::Watching;
use super::{Attempt, Connection, Left, Scene};
use crate::buffers::{BufferId, Buffers};

/// The host and all peers.
pub(super) struct Host {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) start: Instant,
    pub(super) clock: Duration,
    due: BinaryHeap<Reverse<Due>>,
    events: u64,
    /// Indexed by number, as in a process: the lowest free one is taken next.
    descriptors: Vec<Option<Descriptor>>,
    pub(super) links: Vec<Link>,
    pub(super) pipes: Vec<PipeBytes>,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) door: Door,
    pub(super) queued: VecDeque<Queued>,
    pub(super) done: VecDeque<Done>,
    pub(super) attempts: Vec<Attempt>,
    /// Since when every turn left spare buffers.
    pub(super) spare_since: Duration,
    /// Buffers that a seed keeps from the runtime.
    pub(super) hidden: Vec<BufferId>,
    pub(super) violations: Vec<String>,
    pub(super) fingerprint: u64,
    traced: bool,
}

/// The one listening socket, and who comes to it.
pub(super) struct Door {
    /// The number under which the system knows the socket that will be adopted.
    expected: Option<RawFd>,
    pub(super) fd: Option<RawFd>,
    refuses: bool,
    /// Connections that wait to be accepted.
    pub(super) waiting: VecDeque<usize>,
    clients_to_come: usize,
}

/// An open descriptor.
pub(super) struct Descriptor {
    pub(super) thing: Thing,
    /// Operations whose last completion we have not got, and those of them that read and write.
    pub(super) in_flight: u32,
    pub(super) reads: u32,
    pub(super) writes: u32,
    pub(super) reading: Option<Reading>,
    pub(super) writing: Option<Writing>,
    pub(super) watching: Option<Watching>,
    pub(super) nonblocking: bool,
    pub(super) reset_on_close: bool,
}

/// What a descriptor stands for.
pub(super) enum Thing {
    /// A stream socket, with the connection that it has got.
    Socket(Option<usize>),
    Listener(#[expect(dead_code, reason = "held until it is closed")] OwnedFd),
    /// A descriptor of the system that only tells when it is readable.
    Bell(OwnedFd),
    PipeRead(usize),
    PipeWrite(usize),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    number: u64,
    event: Event,
}

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The next client connects.
    Come,
    /// The peer of a connection acts.
    Act(usize),
    /// The peer of a connection, or the network, resets it.
    Fail(usize, i32),
    /// An attempt to connect ends with this result.
    Connected {
        fd: RawFd,
        attempt: usize,
        result: i32,
    },
}

impl Host {
    pub(super) fn new(scene: Scene) -> Self {
        let mut random = Random::new(scene.seed);
        let faults = Faults::draw(&mut random);
        let mut host = Self {
            start: Instant::now(),
            clock: Duration::ZERO,
            due: BinaryHeap::new(),
            events: 0,
            descriptors: vec![],
            links: Vec::new(),
            pipes: Vec::new(),
            servers: scene.servers,
            door: Door {
                expected: None,
                fd: None,
                refuses: false,
                waiting: VecDeque::new(),
                clients_to_come: scene.clients,
            },
            queued: VecDeque::new(),
            done: VecDeque::new(),
            attempts: Vec::new(),
            spare_since: Duration::ZERO,
            hidden: Vec::new(),
            violations: Vec::new(),
            fingerprint: 0,
            traced: scene.traced,
            random,
            faults,
        };
        for _ in 0..scene.clients {
            let after = host.random.time(Duration::ZERO, Duration::from_millis(40));
            host.happens_in(after, Event::Come);
        }
        if host.traced {
            eprintln!("{:?}", host.faults);
        }
        host
    }

    /// Keeps all buffers but a few out of the runtime's reach.
    pub(super) fn hide_buffers(&mut self, buffers: &mut Buffers) {
        let hidden = super::BUFFERS.saturating_sub(self.faults.buffers_max);
        self.hidden
            .extend((0..hidden).filter_map(|_| buffers.take_for_driver()));
    }

    /// Notes what happens, for the trace and the fingerprint.
    pub(super) fn note(&mut self, what: &str, place: impl Into<i64>, value: impl Into<i64>) {
        let (place, value) = (place.into(), value.into());
        let mut mixed = self.fingerprint ^ self.clock.as_nanos() as u64;
        for part in [what.len() as u64, place as u64, value as u64] {
            mixed = (mixed.rotate_left(5) ^ part).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        self.fingerprint = mixed;
        if self.traced {
            let micros = self.clock.as_micros();
            eprintln!(
                "{:>9}.{:03} {place:>4} {what} {value}",
                micros / 1000,
                micros % 1000
            );
        }
    }

    /// Notes that a rule was broken.
    pub(super) fn violated(&mut self, rule: &str, fd: RawFd) {
        self.note(rule, fd, 0);
        self.violations.push(format!(
            "{rule} (descriptor {fd}, {:.6} s)",
            self.clock.as_secs_f64()
        ));
    }

    pub(super) fn happens_in(&mut self, after: Duration, event: Event) {
        self.events += 1;
        self.due.push(Reverse(Due {
            at: self.clock + after,
            number: self.events,
            event,
        }));
    }

    /// When the next thing happens by itself.
    pub(super) fn next_event(&self) -> Option<Duration> {
        self.due.peek().map(|due| due.0.at)
    }

    /// Lets everything happen that is due.
    pub(super) fn happen(&mut self, buffers: &mut Buffers) {
        while self.next_event().is_some_and(|at| at <= self.clock)
            && let Some(Reverse(due)) = self.due.pop()
        {
            match due.event {
                Event::Come => self.come(buffers),
                Event::Act(link) => self.act(buffers, link),
                Event::Fail(link, error) => {
                    self.note("fails", link as i64, error);
                    self.links[link].fail(error);
                    self.move_on(buffers, link);
                }
                Event::Connected {
                    fd,
                    attempt,
                    result,
                } => self.connected(fd, attempt, result),
            }
        }
    }

    /// A client connects: into the queue, whether anybody accepts or not.
    fn come(&mut self, buffers: &mut Buffers) {
        let number = self.door.clients_to_come as u16;
        self.door.clients_to_come -= 1;
        let Some(fd) = self.door.fd.filter(|_| !self.door.refuses) else {
            return self.note("comes in vain", i64::from(number), 0);
        };
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 40_000 + number));
        let script = Script::client(&mut self.random);
        let link = self.link(address, script);
        self.door.waiting.push_back(link);
        self.read(buffers, fd);
    }

    /// A new connection, whose peer begins to act.
    pub(super) fn link(&mut self, peer: SocketAddr, script: Script) -> usize {
        let index = self.links.len();
        if self.traced {
            eprintln!("{index}: {peer} {script:?}");
        }
        let link = Link::new(peer, index as u32, script);
        let reset_after = link.reset_after();
        self.links.push(link);
        self.note("made", index as i64, i64::from(peer.port()));
        self.wake(index);
        if let Some(after) = reset_after {
            let error = if self.random.chance(900) {
                ECONNRESET
            } else {
                ETIMEDOUT
            };
            self.happens_in(after, Event::Fail(index, error));
        }
        index
    }

    /// Lets a peer act soon.
    pub(super) fn wake(&mut self, link: usize) {
        let after = Duration::from_micros(self.random.between(1, 200));
        self.act_at(link, self.clock + after);
    }

    fn act_at(&mut self, link: usize, at: Duration) {
        let peer = &mut self.links[link];
        if peer.over || peer.act_at.is_some_and(|planned| planned <= at) {
            return;
        }
        peer.act_at = Some(at);
        self.happens_in(at - self.clock, Event::Act(link));
    }

    fn act(&mut self, buffers: &mut Buffers, index: usize) {
        let link = &mut self.links[index];
        let read_before = link.unread();
        if link.act_at.is_none_or(|planned| planned > self.clock) {
            return;
        }
        link.act_at = None;
        let before = (link.account.written, link.account.ended);
        let again = link.act(self.clock, &mut self.random);
        let after = (link.account.written, link.account.ended);
        if before != after || read_before != link.unread() {
            link.acted_at = self.clock;
        }
        if before.0 != after.0 {
            self.note("writes", index as i64, (after.0 - before.0) as i64);
        }
        if before.1 != after.1 {
            self.note("ends", index as i64, 0);
        }
        if let Some(again) = again {
            self.act_at(index, again);
        }
        self.move_on(buffers, index);
    }

    /// Moves the operations on that wait for a connection.
    fn move_on(&mut self, buffers: &mut Buffers, link: usize) {
        if let Some(fd) = self.links[link].fd {
            self.read(buffers, fd);
            self.write(buffers, fd);
            self.tell(fd);
        }
    }

    /// The bells that somebody waits for.
    pub(super) fn bells(&self) -> Vec<RawFd> {
        let is_awaited = |descriptor: &Descriptor| {
            matches!(descriptor.thing, Thing::Bell(_)) && descriptor.reading.is_some()
        };
        (0..)
            .zip(&self.descriptors)
            .filter(|(_, descriptor)| descriptor.as_ref().is_some_and(is_awaited))
            .map(|(fd, _)| fd)
            .collect()
    }

    /// The descriptor of that number; one that is not open is a violation.
    pub(super) fn descriptor(&mut self, fd: RawFd, call: &str) -> Option<&mut Descriptor> {
        let index = usize::try_from(fd).unwrap_or(usize::MAX);
        if !matches!(self.descriptors.get(index), Some(Some(_))) {
            self.violated(&format!("{call} on a descriptor that is not open"), fd);
        }
        self.descriptors.get_mut(index)?.as_mut()
    }

    /// The connection of a socket.
    pub(super) fn link_of(&mut self, fd: RawFd, call: &str) -> Option<usize> {
        match self.descriptor(fd, call)?.thing {
            Thing::Socket(link) => link,
            _ => None,
        }
    }

    /// A descriptor for a thing, the lowest that is free.
    pub(super) fn open(&mut self, thing: Thing) -> RawFd {
        let descriptor = Descriptor {
            thing,
            in_flight: 0,
            reads: 0,
            writes: 0,
            reading: None,
            writing: None,
            watching: None,
            nonblocking: false,
            reset_on_close: false,
        };
        let index = match self.descriptors.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.descriptors.push(None);
                self.descriptors.len() - 1
            }
        };
        self.descriptors[index] = Some(descriptor);
        index as RawFd
    }

    /// As [`Host::open`], as far as the process may.
    pub(super) fn open_one_more(&mut self, thing: Thing) -> Result<RawFd, i32> {
        if self.descriptors_open() >= self.faults.descriptors_max {
            return Err(EMFILE);
        }
        Ok(self.open(thing))
    }

    pub(super) fn descriptors_open(&self) -> usize {
        self.descriptors.iter().flatten().count()
    }

    pub(super) fn adopt(&mut self, owned: OwnedFd) -> RawFd {
        if self.door.expected == Some(owned.as_raw_fd()) {
            self.door.expected = None;
            let fd = self.open(Thing::Listener(owned));
            self.door.fd = Some(fd);
            return fd;
        }
        self.open(Thing::Bell(owned))
    }

    pub(super) fn expect_listener(&mut self, descriptor: RawFd) {
        self.door.expected = Some(descriptor);
    }

    pub(super) fn refuse_new(&mut self, fd: RawFd) {
        if self.door.fd == Some(fd) {
            self.note("refuses", fd, 0);
            self.door.refuses = true;
        }
    }

    pub(super) fn peer(&mut self, fd: RawFd) -> io::Result<SockAddr> {
        let clock = self.clock;
        let gone = || io::ErrorKind::NotConnected.into();
        let link = self.link_of(fd, "getpeername").ok_or_else(gone)?;
        let link = &mut self.links[link];
        link.account.known_at.get_or_insert(clock);
        if link.account.failed {
            link.account.nameless = true;
            return Err(gone());
        }
        Ok(link.peer.into())
    }

    pub(super) fn shutdown_write(&mut self, fd: RawFd) {
        let Some(descriptor) = self.descriptor(fd, "shutdown") else {
            return;
        };
        let sending = descriptor.writes > 0;
        if sending {
            self.violated("shutdown while something is being sent", fd);
        }
        let Some(link) = self.link_of(fd, "shutdown") else {
            return;
        };
        self.note("shutdown", fd, link as i64);
        let account = &mut self.links[link].account;
        if account.left == Left::Open {
            account.left = Left::Ended;
            account.shut_at = Some(self.clock);
        }
        self.wake(link);
    }

    pub(super) fn close(&mut self, fd: RawFd) {
        let Some(descriptor) = self.descriptor(fd, "close") else {
            return;
        };
        let in_flight = descriptor.in_flight;
        let closed = self.descriptors[fd as usize].take();
        self.note("close", fd, in_flight);
        if in_flight > 0 {
            self.violated("close with operations in flight", fd);
        }
        match closed {
            Some(Descriptor {
                thing: Thing::Socket(Some(link)),
                reset_on_close,
                ..
            }) => self.leave(link, reset_on_close),
            Some(Descriptor {
                thing: Thing::Listener(_),
                ..
            }) => self.close_door(fd),
            _ => {}
        }
    }

    fn leave(&mut self, link: usize, reset: bool) {
        let clock = self.clock;
        let peer = &mut self.links[link];
        peer.fd = None;
        peer.account.closed_at = Some(clock);
        peer.account.unreceived = peer.waiting();
        peer.account.roomy = peer.writable();
        peer.account.unhindered_since = peer.acted_at.max(self.spare_since);
        // What nobody has received makes a close a reset (RFC 2525 §2.17).
        if reset || peer.waiting() > 0 {
            peer.account.left = Left::Reset;
        } else if peer.account.left == Left::Open {
            peer.account.left = Left::Ended;
        }
        self.wake(link);
    }

    /// Nobody may be left waiting behind a door that closes, unless no descriptor was left.
    fn close_door(&mut self, fd: RawFd) {
        self.door.fd = None;
        let waiting = std::mem::take(&mut self.door.waiting);
        let excused = self.faults.descriptors_max < usize::MAX || self.faults.accept_fails > 0;
        if !waiting.is_empty() && !excused {
            self.violated("the listening socket closed on clients that waited", fd);
        }
        for link in waiting {
            self.leave(link, true);
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        let closed = |link: &Link| link.account.closed_at.is_some();
        self.door.clients_to_come == 0 && self.links.iter().all(closed)
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        let is_client = |link: &&Link| !self.servers.contains(&link.peer);
        let clients = self.links.iter().filter(is_client);
        let account = |link: &Link| super::Account {
            delivered: link.heard.len,
            ..link.account.clone()
        };
        clients
            .map(|client| {
                let is_partner = |link: &&Link| {
                    link.stream != client.stream
                        && (link.heard.stream == Some(client.stream)
                            || client.heard.stream == Some(link.stream))
                };
                Connection {
                    address: client.peer,
                    client: account(client),
                    server: self.links.iter().find(is_partner).map(account),
                }
            })
            .collect()
    }
}
