//! What goes wrong in a simulated world, and how often. A seed draws it once; the world throws the
//! dice as it goes.

use std::time::Duration;

use super::random::Random;

/// Odds are per mille.
#[derive(Debug)]
pub(super) struct Faults {
    /// A receive gives fewer bytes than there are.
    pub(super) short_receives: u32,
    /// A send ends before all its bytes have gone.
    pub(super) short_sends: u32,
    /// A completion becomes visible late, and how late at most.
    pub(super) late: u32,
    pub(super) late_max: Duration,
    /// Completions of different sockets and directions come in any order.
    pub(super) reordered: bool,
    /// Completions that fit into one turn.
    pub(super) completions_max: usize,
    /// A wait with a deadline takes longer than it was told, by this at most.
    pub(super) oversleep_max: Duration,
    /// A wait ends before anything has come.
    pub(super) interruptions: u32,
    /// Operations begin when they are submitted, as with epoll, not with the next turn.
    pub(super) eager: bool,
    /// Sockets can be watched.
    pub(super) watches: bool,
    /// A watch ends by itself with what it tells.
    pub(super) watch_ends: u32,
    /// A send that must not wait finds no room although there is some.
    pub(super) send_blocks: u32,
    /// Receive buffers that there are; the others are never seen.
    pub(super) buffers_max: usize,
    /// Descriptors that may be open at once.
    pub(super) descriptors_max: usize,
    /// An accept ends by itself with a connection.
    pub(super) accept_ends: u32,
    /// An accept fails.
    pub(super) accept_fails: u32,
    /// A socket cannot be made.
    pub(super) socket_fails: u32,
    /// There is no pipe.
    pub(super) no_pipe: u32,
    /// A splice moves less than it could.
    pub(super) splice_partly: u32,
    /// A splice could move something and does not.
    pub(super) splice_blocks: u32,
}

impl Faults {
    /// The faults of a seed; some worlds have none.
    pub(super) fn draw(random: &mut Random) -> Self {
        const OFTEN: [u32; 4] = [0, 0, 50, 400];
        const RARELY: [u32; 4] = [0, 0, 20, 100];
        let mut faults = Self {
            short_receives: 0,
            short_sends: 0,
            late: 0,
            late_max: Duration::ZERO,
            reordered: false,
            completions_max: usize::MAX,
            oversleep_max: Duration::ZERO,
            interruptions: 0,
            eager: random.chance(300),
            watches: random.chance(700),
            watch_ends: 0,
            send_blocks: 0,
            buffers_max: usize::MAX,
            descriptors_max: usize::MAX,
            accept_ends: 0,
            accept_fails: 0,
            socket_fails: 0,
            no_pipe: 0,
            splice_partly: 0,
            splice_blocks: 0,
        };
        if random.chance(100) {
            return faults;
        }
        faults.short_receives = random.one_of(&OFTEN);
        faults.short_sends = random.one_of(&OFTEN);
        faults.late = random.one_of(&OFTEN);
        faults.late_max = random.one_of(&[Duration::from_micros(50), Duration::from_millis(3)]);
        faults.reordered = random.chance(600);
        faults.completions_max = random.one_of(&[1, 2, 4, usize::MAX, usize::MAX, usize::MAX]);
        faults.oversleep_max = random.one_of(&[Duration::ZERO, super::LATENESS_MAX]);
        faults.interruptions = random.one_of(&RARELY);
        faults.watch_ends = random.one_of(&OFTEN);
        faults.send_blocks = random.one_of(&[0, 50, 400, 1000]);
        faults.buffers_max = random.one_of(&[1, 2, 3, 6, usize::MAX, usize::MAX, usize::MAX]);
        faults.descriptors_max = random.one_of(&[7, 10, 14, usize::MAX, usize::MAX, usize::MAX]);
        faults.accept_ends = random.one_of(&OFTEN);
        faults.accept_fails = random.one_of(&RARELY);
        faults.socket_fails = random.one_of(&RARELY);
        faults.no_pipe = random.one_of(&[0, 0, 200, 1000]);
        faults.splice_partly = random.one_of(&OFTEN);
        faults.splice_blocks = random.one_of(&RARELY);
        faults
    }
}
