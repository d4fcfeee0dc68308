//! Cores: how many workers there are and on which core each runs. It never moves a thread; a worker pins itself.

use std::thread;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use ringgate_config::Workers;

/// The most workers that `auto` starts, the same bound that the configuration sets for a number.
const AUTO_MAX: usize = 256;

/// The core of each worker; `None` leaves the choice to the kernel.
///
/// Workers are pinned only when there is exactly one for each core that the process may use: with fewer, the kernel
/// keeps them off busy cores better than a fixed choice; with more, two would share one core while another idles.
pub(crate) fn place(workers: Workers) -> Vec<Option<usize>> {
    let allowed = allowed();
    let count = match workers {
        Workers::Exactly(count) => usize::from(count.get()),
        // Also heeds the CPU quota of the control group, so that a small container gets few workers.
        Workers::Auto => thread::available_parallelism()
            .map_or(1, usize::from)
            .min(AUTO_MAX),
    };
    if count == allowed.len() {
        allowed.into_iter().map(Some).collect()
    } else {
        vec![None; count]
    }
}

/// The cores that the process may use; empty when the kernel does not say.
fn allowed() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|core| set.is_set(*core).unwrap_or(false))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn one_worker_per_allowed_core_gets_a_core_of_its_own() {
        let cores = allowed();
        let count = NonZeroU16::new(u16::try_from(cores.len()).unwrap()).unwrap();
        let placed: HashSet<_> = place(Workers::Exactly(count))
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(placed.len(), cores.len());
    }

    #[test]
    fn any_other_number_is_left_to_the_kernel() {
        let more = NonZeroU16::new(u16::try_from(allowed().len()).unwrap() + 1).unwrap();
        assert!(place(Workers::Exactly(more)).iter().all(Option::is_none));
    }
}
