//! A null relay: epoll and splice(2) through pooled pipes, on one thread. The measure of what a
//! relay without io_uring can cost at bulk; it has no limits, no timeouts, no counters.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use ringgate_benches::{Event, Interest, Readiness, Relay, accept, connect, listen};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes a pipe is to hold; what the kernel gives otherwise will do.
const PIPE_BYTES: usize = 1 << 20;

const LISTENER: u64 = u64::MAX;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut relay = Relay::from_arguments()?;
    let listener = listen(relay.listen)?;
    Relay::announce(listener.local_addr()?);
    let mut readiness = Readiness::new()?;
    readiness.add(&listener, LISTENER, Interest::Readable)?;
    let (mut pairs, mut free, mut pipes) = (Vec::<Option<Pair>>::new(), Vec::new(), Vec::new());
    let mut events = Vec::new();
    loop {
        events.extend(readiness.wait(None)?);
        for event in events.drain(..) {
            if event.key == LISTENER {
                accept_all(&listener, &mut relay, &readiness, &mut pairs, &mut free)?;
                continue;
            }
            let place = (event.key / 2) as usize;
            let Some(pair) = &mut pairs[place] else {
                continue;
            };
            // A side that fails ends its connection, which is all a null relay has to say.
            let result = pair.advance(event, &readiness, &mut pipes);
            if result.is_err() || pair.ways.iter().all(|way| way.ended) {
                pairs[place] = None;
                free.push(place);
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    relay: &mut Relay,
    readiness: &Readiness,
    pairs: &mut Vec<Option<Pair>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    while let Some(client) = accept(listener)? {
        let Ok(server) = connect(relay.next_server()) else {
            continue;
        };
        let place = free.pop().unwrap_or_else(|| {
            pairs.push(None);
            pairs.len() - 1
        });
        let key = 2 * place as u64;
        readiness.add(&client, key, Interest::Nothing)?;
        // Writable means connected: only then may the client's bytes go there.
        readiness.add(&server, key + 1, Interest::Writable)?;
        pairs[place] = Some(Pair {
            ends: [client, server],
            ways: [Way::default(), Way::default()],
            interests: [Interest::Nothing, Interest::Writable],
        });
    }
    Ok(())
}

/// A client (end 0) and its server (end 1), and the ways from each to the other.
struct Pair {
    ends: [TcpStream; 2],
    ways: [Way; 2],
    interests: [Interest; 2],
}

/// One direction: a pipe while it holds bytes that the other end does not take.
#[derive(Default)]
struct Way {
    pipe: Option<Pipe>,
    held: usize,
    /// Its end has come and was passed on.
    ended: bool,
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pair {
    fn advance(
        &mut self,
        event: Event,
        readiness: &Readiness,
        pipes: &mut Vec<Pipe>,
    ) -> io::Result<()> {
        let end = (event.key % 2) as usize;
        if event.writable {
            self.write(1 - end, pipes)?;
        }
        if event.readable && self.ways[end].held == 0 && !self.ways[end].ended {
            self.read(end, pipes)?;
        }
        self.watch(readiness, event.key - end as u64)
    }

    /// Moves what has come from an end, and as much as possible on to the other.
    fn read(&mut self, from: usize, pipes: &mut Vec<Pipe>) -> io::Result<()> {
        let pipe = match pipes.pop() {
            Some(pipe) => pipe,
            None => Pipe::new()?,
        };
        let moved = splice_some(&self.ends[from], &pipe.write, PIPE_BYTES)?;
        let way = &mut self.ways[from];
        way.pipe = Some(pipe);
        match moved {
            None => {}
            Some(0) => {
                way.ended = true;
                self.ends[1 - from].shutdown(Shutdown::Write)?;
            }
            Some(count) => way.held = count,
        }
        self.write(from, pipes)
    }

    /// Moves on what a way holds; an empty pipe goes back to the others.
    fn write(&mut self, from: usize, pipes: &mut Vec<Pipe>) -> io::Result<()> {
        let way = &mut self.ways[from];
        while let Some(pipe) = way.pipe.take() {
            if way.held == 0 {
                pipes.push(pipe);
                break;
            }
            let moved = splice_some(&pipe.read, &self.ends[1 - from], way.held)?;
            way.pipe = Some(pipe);
            match moved {
                None => break,
                Some(count) => way.held -= count,
            }
        }
        Ok(())
    }

    /// Watches each end for what can happen next: to be read while its way is empty, to be written
    /// while the other way is not.
    fn watch(&mut self, readiness: &Readiness, key: u64) -> io::Result<()> {
        for end in 0..2 {
            let way = &self.ways[end];
            let reads = way.held == 0 && !way.ended;
            let interest = match (reads, self.ways[1 - end].held > 0) {
                (true, true) => Interest::Both,
                (true, false) => Interest::Readable,
                (false, true) => Interest::Writable,
                (false, false) => Interest::Nothing,
            };
            if interest != self.interests[end] {
                readiness.change(&self.ends[end], key + end as u64, interest)?;
                self.interests[end] = interest;
            }
        }
        Ok(())
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // A refusal leaves the usual size.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Self { read, write })
    }
}

/// One splice that does not wait; `None` when it would have to.
fn splice_some(
    from: &impl std::os::fd::AsFd,
    to: &impl std::os::fd::AsFd,
    len: usize,
) -> io::Result<Option<usize>> {
    match splice(from, None, to, None, len, SpliceFlags::NONBLOCK) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
