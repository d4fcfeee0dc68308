//! Waiting until sockets are ready, by epoll(7). It knows sockets by the key they were added with
//! and never reads or writes one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Events taken at once.
const EVENTS_MAX: usize = 512;

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// To become readable or writable, each told once: the socket is to be used until it would
    /// block or gives less than it was asked for.
    Edges,
    /// To be readable, told as long as it is.
    Readable,
    /// To be writable, told as long as it is.
    Writable,
    /// Either, told as long as it is.
    Both,
    /// Nothing but its failure.
    Nothing,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        use epoll::EventFlags;
        match self {
            Self::Edges => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
            Self::Readable => EventFlags::IN,
            Self::Writable => EventFlags::OUT,
            Self::Both => EventFlags::IN | EventFlags::OUT,
            Self::Nothing => EventFlags::empty(),
        }
    }
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The key the socket was added with.
    pub key: u64,
    /// A read would not block.
    pub readable: bool,
    /// A write would not block.
    pub writable: bool,
    /// The peer's direction has ended or the connection failed, so a short read is no reason to
    /// wait.
    pub ended: bool,
}

/// The sockets that are waited for.
pub struct Readiness {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Readiness {
    /// Waits for nothing yet.
    ///
    /// # Errors
    /// Those of epoll_create(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Watches a socket; closing it ends that.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(&self, socket: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, socket, data, interest.flags())?)
    }

    /// Watches a socket for something else from now on.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn change(&self, socket: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::modify(&self.epoll, socket, data, interest.flags())?)
    }

    /// Waits until a socket is ready or the time is over; `None` waits without end. A signal may
    /// end it early.
    ///
    /// # Errors
    /// Those of epoll_pwait2(2), which Linux has since 5.11.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = Event> + use<'_>> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| {
            use epoll::EventFlags;
            let failed = EventFlags::ERR | EventFlags::HUP;
            let flags = event.flags;
            Event {
                key: event.data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP | failed),
                writable: flags.intersects(EventFlags::OUT | failed),
                ended: flags.intersects(EventFlags::RDHUP | failed),
            }
        }))
    }
}
