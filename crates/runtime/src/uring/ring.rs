//! One ring: made with the best flags the kernel takes, restricted to the operations in use, and
//! entered once per turn. It knows nothing of what the entries mean.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;

use io_uring::register::Restriction;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{
    CompletionQueue, EnterFlags, IoUring, Probe, SubmissionQueue, Submitter, cqueue, opcode, squeue,
};
use nix::libc;

use crate::driver::Wait;

use super::refused::Refused;

/// Submission entries. A turn that has more flushes in between.
const SQ_ENTRIES: u32 = 1024;

/// Completion entries: several per submission entry, since an accept completes many times and
/// overflowing costs (facts of liburing's io_uring_setup(2), CQSIZE).
const CQ_ENTRIES: u32 = 8 * SQ_ENTRIES;

/// The operations that a worker submits; the kernel refuses all others once the ring is enabled.
const OPCODES: [u8; 6] = [
    opcode::AcceptMulti::CODE,
    opcode::AsyncCancel2::CODE,
    opcode::Connect::CODE,
    opcode::PollAdd::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
];

/// A ring and its queues.
pub(super) struct Ring {
    // The queues and the submitter borrow the ring. They are dropped before it, by hand.
    queues: ManuallyDrop<Queues>,
    ring: *mut IoUring,
    /// Entries that found the submission queue full and the kernel unwilling to take any.
    backlog: VecDeque<squeue::Entry>,
    flags: Vec<&'static str>,
    /// Turns after which completions waited in the kernel for room in their queue.
    overflows: u64,
    no_iowait: EnterFlags,
}

struct Queues {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
}

impl Ring {
    /// A ring that is not enabled yet.
    pub(super) fn new() -> Result<Self, Refused> {
        let (ring, flags) = build()?;
        check_opcodes(&ring)?;
        let no_iowait = if ring.params().is_feature_no_iowait() {
            EnterFlags::NO_IOWAIT
        } else {
            EnterFlags::empty()
        };
        let ring = Box::into_raw(Box::new(ring));
        // SAFETY: the pointer comes from a box just made, nothing else refers to it, and `drop`
        // ends these borrows before it frees the box.
        let (submitter, submissions, completions) = unsafe { (*ring).split() };
        Ok(Self {
            queues: ManuallyDrop::new(Queues {
                submitter,
                submissions,
                completions,
            }),
            ring,
            backlog: VecDeque::new(),
            flags,
            overflows: 0,
            no_iowait,
        })
    }

    pub(super) fn submitter(&self) -> &Submitter<'static> {
        &self.queues.submitter
    }

    /// Allows the operations in use and nothing else, no further registration either, then starts
    /// the ring with this thread as its only submitter.
    pub(super) fn restrict_and_enable(&mut self) -> Result<(), Refused> {
        let submitter = &mut self.queues.submitter;
        // Saves looking the descriptor up at each enter; a kernel that refuses costs only that.
        if submitter.register_ring_fd().is_ok() {
            self.flags.push("registered_ring");
        }
        let mut restrictions: Vec<Restriction> = OPCODES.map(Restriction::sqe_op).into();
        restrictions.push(Restriction::sqe_flags_allowed(
            squeue::Flags::BUFFER_SELECT.bits(),
        ));
        submitter
            .register_restrictions(&mut restrictions)
            .map_err(|error| Refused::new("restricting the ring", error))?;
        self.flags.push("restricted");
        submitter
            .register_enable_rings()
            .map_err(|error| Refused::new("enabling the ring", error))
    }

    /// What the kernel accepted, for people.
    pub(super) fn describe(&self) -> String {
        let no_iowait = if self.no_iowait.is_empty() {
            ""
        } else {
            " no_iowait"
        };
        format!("uring ({}{no_iowait})", self.flags.join(" "))
    }

    /// Turns after which completions waited in the kernel for room in their queue; none is lost, but
    /// those that go on many times end (io_uring(7), IORING_FEAT_NODROP).
    pub(super) fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Queues an entry. When the queue is full, what is in it is handed to the kernel first; when
    /// the kernel takes none, since completions must be reaped before, the entry waits for the
    /// next turn.
    ///
    /// # Safety
    /// What the entry points to must stay valid until its last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() {
            // SAFETY: the caller's promise is the one that `push` asks for.
            if unsafe { self.queues.submissions.push(&entry) }.is_ok() {
                return;
            }
            // An error of the ring itself comes again from the next turn, which reports it.
            let _ = self.enter(Wait::Not);
            // SAFETY: as above.
            if unsafe { self.queues.submissions.push(&entry) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    /// Moves entries that waited into the queue, as far as there is room.
    fn take_up_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: `push` was promised that what the entry points to stays valid.
            if unsafe { self.queues.submissions.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits what is queued and waits for a completion.
    ///
    /// # Errors
    /// Those that no later turn can mend.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.take_up_backlog();
        let wait = if self.backlog.is_empty() {
            wait
        } else {
            Wait::Not
        };
        let queues = &mut *self.queues;
        queues.submissions.sync();
        let timespec;
        let mut arguments = SubmitArgs::new();
        let want = match wait {
            Wait::Not => 0,
            Wait::Forever => 1,
            Wait::AtMost(time) => {
                timespec = Timespec::from(time);
                arguments = arguments.timespec(&timespec);
                1
            }
        };
        // Deferred completions become visible only by an enter with GETEVENTS (DEFER_TASKRUN).
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG | self.no_iowait;
        let queued = queues.submissions.len() as u32;
        // SAFETY: the arguments are of the type that EXT_ARG announces and outlive the call.
        let entered = unsafe {
            queues
                .submitter
                .enter(queued, want, flags.bits(), Some(&arguments))
        };
        queues.submissions.sync();
        self.overflows += u64::from(queues.submissions.cq_overflow());
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// Hands every completion that has come to `each`.
    pub(super) fn reap(&mut self, mut each: impl FnMut(cqueue::Entry)) {
        let completions = &mut self.queues.completions;
        completions.sync();
        for entry in completions.by_ref() {
            each(entry);
        }
        completions.sync();
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: dropped once, here, and not used after; then nothing borrows the ring, whose
        // pointer came from a box.
        unsafe {
            ManuallyDrop::drop(&mut self.queues);
            drop(Box::from_raw(self.ring));
        }
    }
}

/// Makes a ring with the most flags that the kernel takes; the names tell which.
fn build() -> Result<(IoUring, Vec<&'static str>), Refused> {
    // Flags that only save work, newest first: each refusal (EINVAL) drops one.
    let optional: [&[&str]; 3] = [&["no_sqarray", "taskrun_flag"], &["taskrun_flag"], &[]];
    let mut refusal = None;
    for extras in optional {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(CQ_ENTRIES)
            .setup_r_disabled()
            .dontfork();
        if extras.contains(&"no_sqarray") {
            builder.setup_no_sqarray();
        }
        if extras.contains(&"taskrun_flag") {
            builder.setup_taskrun_flag();
        }
        match builder.build(SQ_ENTRIES) {
            Ok(ring) => {
                let mut flags = vec!["single_issuer", "defer_taskrun", "submit_all"];
                flags.extend(extras);
                return Ok((ring, flags));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = Some(error),
            Err(error) => return Err(Refused::new("io_uring_setup", error)),
        }
    }
    let error = refusal.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL));
    Err(Refused::new("io_uring_setup", error))
}

fn check_opcodes(ring: &IoUring) -> Result<(), Refused> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| Refused::new("probing the operations", error))?;
    match OPCODES.iter().find(|code| !probe.is_supported(**code)) {
        None => Ok(()),
        Some(_) => {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            Err(Refused::new("an operation that is missing", error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_is_not_in_use_is_refused() {
        let mut ring = Ring::new().expect("io_uring works here");
        ring.restrict_and_enable().expect("restrictions work here");
        for entry in [
            opcode::Nop::new().build(),
            opcode::Socket::new(libc::AF_NETLINK, libc::SOCK_RAW, 0).build(),
            opcode::Close::new(io_uring::types::Fd(0)).build(),
        ] {
            // SAFETY: the entries point to nothing.
            unsafe { ring.push(entry) };
        }
        ring.enter(Wait::Forever).expect("the ring works");
        let mut results = Vec::new();
        ring.reap(|entry| results.push(entry.result()));
        assert_eq!(results, [-libc::EACCES; 3]);
    }

    #[test]
    fn more_entries_than_both_queues_hold_all_complete() {
        const ENTRIES: usize = 3 * CQ_ENTRIES as usize;
        let mut ring = Ring::new().expect("io_uring works here");
        ring.restrict_and_enable().expect("restrictions work here");
        for _ in 0..ENTRIES {
            // SAFETY: the entry points to nothing.
            unsafe { ring.push(opcode::Nop::new().build()) };
        }
        let mut completed = 0;
        for _ in 0..ENTRIES {
            ring.enter(Wait::Not).expect("the ring works");
            ring.reap(|_| completed += 1);
            if completed == ENTRIES {
                assert!(
                    ring.overflows() > 0,
                    "the queue was too small, and nobody counted"
                );
                return;
            }
        }
        panic!("{completed} of {ENTRIES} completed");
    }
}
