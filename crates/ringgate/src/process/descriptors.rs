//! File descriptors: how many the process may open, and how many connections that is. It never opens one.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringgate_config::{ConnectionLimit, Plan};

/// A connection is two sockets: the client's and the server's.
const PER_CONNECTION: u64 = 2;

/// Of connections for which there is room, one in so many is left for clients of HTTP/2, whose requests need one to a
/// server each.
const SHARE_OF_FURTHER: u64 = 10;

/// What the process itself keeps open: two admin doors with up to 64 connections each, standard streams, signals, log.
const FIXED: u64 = 160;

/// What each worker keeps open besides its listening sockets: its ring, its inbox, and spare ones to refuse with.
const PER_WORKER: u64 = 8;

/// Raises the soft limit of open files to the hard one, if the system lets it, and returns the limit that holds.
///
/// # Errors
/// When the system does not tell the limit.
pub(crate) fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(if raised { hard } else { soft })
}

/// How many connections may be open at once, and where the number comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConnectionBudget {
    /// The limit that holds.
    pub(crate) connections_max: u32,
    /// How many the limit of open files leaves room for.
    pub(crate) room: u32,
    /// How many connections to servers there may be besides.
    pub(crate) further_max: u32,
    /// That limit of open files.
    pub(crate) files_max: u64,
}

impl ConnectionBudget {
    /// What `plan` may hold with `workers` workers and `files_max` open files.
    pub(crate) fn of(plan: &Plan, workers: usize, files_max: u64) -> Self {
        let workers = workers as u64;
        let listening: usize = plan
            .listeners
            .iter()
            .map(|listener| listener.binds.len())
            .sum();
        let checked: usize = plan.pools.iter().map(|pool| pool.servers.len()).sum();
        let reserve = FIXED + workers * (PER_WORKER + listening as u64) + checked as u64;
        // Where there are few files, the process gets no more than half: it seldom needs all of its share.
        let reserve = reserve.min(files_max / 2);
        let free = files_max - reserve;
        let has_http = plan.listeners.iter().any(|each| each.http.is_some());
        let left = if has_http { free / SHARE_OF_FURTHER } else { 0 };
        let room = u32::try_from((free - left) / PER_CONNECTION).unwrap_or(u32::MAX);
        let connections_max = match plan.limits.connections {
            ConnectionLimit::Auto => room,
            ConnectionLimit::Exactly(connections) => connections.get(),
        };
        let further = free.saturating_sub(PER_CONNECTION * u64::from(connections_max));
        Self {
            connections_max,
            room,
            further_max: u32::try_from(further.max(left)).unwrap_or(u32::MAX),
            files_max,
        }
    }

    /// Whether there are files enough for as many connections.
    pub(crate) fn fits(&self) -> bool {
        self.connections_max <= self.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: &str, files_max: u64) -> ConnectionBudget {
        let text = format!(
            "limits: {{ connections: {limit} }}\nlisteners: {{ a: {{ bind: \":80\", pool: p }} }}\npools: {{ p: [10.0.0.1:80] }}\n"
        );
        let plan = ringgate_config::parse("test.yaml", &text, &[]).expect("the text is good");
        ConnectionBudget::of(&plan, 2, files_max)
    }

    #[test]
    fn auto_is_what_the_open_files_leave_room_for() {
        let budget = budget("auto", 20_179);
        assert_eq!((budget.connections_max, budget.fits()), (10_000, true));
    }

    #[test]
    fn a_part_is_left_for_clients_of_http_2() {
        let of = |limit: &str| {
            let text = format!(
                "limits: {{ connections: {limit} }}\nlisteners: {{ a: {{ bind: \":80\", pool: p, http: {{}} }} }}\npools: {{ p: [10.0.0.1:80] }}\n"
            );
            let plan = ringgate_config::parse("test.yaml", &text, &[]).expect("the text is good");
            let budget = ConnectionBudget::of(&plan, 2, 20_179);
            (budget.connections_max, budget.room, budget.further_max)
        };
        assert_eq!(of("auto"), (9_000, 9_000, 2_000));
        assert_eq!(of("1000"), (1_000, 9_000, 18_000));
        assert_eq!(of("20000"), (20_000, 9_000, 2_000));
    }

    #[test]
    fn a_number_that_does_not_fit_is_kept_and_known() {
        let budget = budget("20000", 20_179);
        assert_eq!(
            (budget.connections_max, budget.room, budget.fits()),
            (20_000, 10_000, false)
        );
    }

    #[test]
    fn few_files_are_shared_by_halves() {
        assert_eq!(budget("auto", 64).connections_max, 16);
    }

    #[test]
    fn more_files_than_there_are_numbers_are_bounded() {
        assert_eq!(budget("auto", u64::MAX).connections_max, u32::MAX);
    }
}
