//! What the workers count of the requests of one HTTP listener, cells of its own for each worker. A cell is made when
//! something is counted in it first, so that 4096 routes cost nothing until they are used, and there is an end to them
//! whatever clients and servers send. Nothing here is reset; a reader adds the workers up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringgate_engine::counters::{Count, Histogram, PerWorker, WorkerId};

/// What requests that no route matched are counted under.
const NO_ROUTE: &str = "-";

/// The methods of RFC 9110 §9.3 and RFC 5789, and what all others are counted under.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other",
];

/// Different statuses that a worker counts of one method of one route; the rest of what a server makes up is counted by
/// class.
const STATUSES_MAX: usize = 32;

/// Classes of statuses (RFC 9110 §15).
const CLASSES: usize = 5;

/// Different words that a worker counts refused credentials by; the code has far fewer.
const WORDS_MAX: usize = 24;

/// What is counted of one listener.
#[derive(Debug)]
pub struct HttpCounters {
    /// By route; the first is none.
    routes: Box<[Arc<str>]>,
    workers: PerWorker<HttpWorkerCounters>,
}

/// What one worker counts of one listener.
#[derive(Debug)]
pub struct HttpWorkerCounters {
    /// By route; the first is none.
    routes: Box<[OnceLock<Box<RouteCounters>>]>,
    denied: [(OnceLock<&'static str>, Count); WORDS_MAX],
}

/// What one worker counts of one route.
#[derive(Debug, Default)]
struct RouteCounters {
    methods: [OnceLock<Box<Statuses>>; METHODS.len()],
    seconds: Histogram,
    limited: Count,
}

/// Requests by status. A status keeps its slot, so a reader never takes one for another.
#[derive(Debug, Default)]
struct Statuses {
    slots: [Slot; STATUSES_MAX],
    rest: [Count; CLASSES],
}

#[derive(Debug, Default)]
struct Slot {
    /// 0 while the slot is nobody's.
    status: Count,
    requests: Count,
}

/// How many requests of one kind there have been: a row of `ringgate_http_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests<'a> {
    /// The route's name, `-` for none.
    pub route: &'a str,
    /// The method, `other` for one that is not of the standards.
    pub method: &'static str,
    /// The status that the client got.
    pub status: Status,
    /// How many.
    pub count: u64,
}

/// A status, or those of a class that are too many to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// This one.
    One(u16),
    /// Others of this class, from 1 to 5.
    Others(u16),
}

impl Status {
    /// The class: 5 for 503.
    pub fn class(self) -> u16 {
        match self {
            Self::One(status) => status / 100,
            Self::Others(class) => class,
        }
    }
}

impl fmt::Display for Status {
    /// `503`, or `5xx` for others of its class.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => status.fmt(f),
            Self::Others(class) => write!(f, "{class}xx"),
        }
    }
}

impl HttpCounters {
    /// For so many workers and the routes with these names, in their order. Route `i` of them has the index `i + 1`;
    /// 0 stands for no route.
    pub fn new(workers: usize, routes: &[Arc<str>]) -> Self {
        let none = [Arc::from(NO_ROUTE)];
        let routes: Box<[Arc<str>]> = none.into_iter().chain(routes.iter().cloned()).collect();
        Self {
            workers: PerWorker::with(workers, || HttpWorkerCounters {
                routes: routes.iter().map(|_| OnceLock::new()).collect(),
                denied: Default::default(),
            }),
            routes,
        }
    }

    /// Where one worker counts.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn of(&self, worker: WorkerId) -> &HttpWorkerCounters {
        self.workers.of(worker)
    }

    /// How many routes the listener has.
    pub fn routes(&self) -> usize {
        self.routes.len() - 1
    }

    /// The requests that there have been, by route, method and status.
    pub fn requests(&self) -> impl Iterator<Item = Requests<'_>> {
        let kinds = (0..self.routes.len())
            .flat_map(|route| (0..METHODS.len()).map(move |method| (route, method)));
        kinds.flat_map(move |(route, method)| {
            let statuses = self.sum(route, method).into_iter();
            statuses.map(move |(status, count)| Requests {
                route: &self.routes[route],
                method: METHODS[method],
                status,
                count,
            })
        })
    }

    /// How long requests took, of each route that has had any: one histogram for each worker.
    pub fn seconds(&self) -> impl Iterator<Item = (&str, Vec<&Histogram>)> {
        self.used_routes()
            .map(|(route, cells)| (route, cells.into_iter().map(|cell| &cell.seconds).collect()))
    }

    /// Requests over their rate, of each route that has been used; that of no route is always there.
    pub fn limited(&self) -> impl Iterator<Item = (&str, u64)> {
        let unused = self.cells(0).next().is_none().then_some((NO_ROUTE, 0));
        let used = self.used_routes().map(|(route, cells)| {
            let limited = cells.iter().map(|cell| cell.limited.get());
            (route, limited.fold(0, u64::wrapping_add))
        });
        unused.into_iter().chain(used)
    }

    /// Refused credentials by reason, of each reason that there has been.
    pub fn denied(&self) -> BTreeMap<&'static str, u64> {
        let mut denied = BTreeMap::new();
        for (word, count) in self.workers.iter().flat_map(|worker| &worker.denied) {
            if let Some(word) = word.get() {
                *denied.entry(*word).or_default() += count.get();
            }
        }
        denied
    }

    fn used_routes(&self) -> impl Iterator<Item = (&str, Vec<&RouteCounters>)> {
        let routes = self.routes.iter().enumerate();
        routes
            .map(|(at, route)| (&**route, self.cells(at).collect::<Vec<_>>()))
            .filter(|(_, cells)| !cells.is_empty())
    }

    /// What the workers have counted of a route.
    fn cells(&self, route: usize) -> impl Iterator<Item = &RouteCounters> {
        let workers = self.workers.iter();
        workers.filter_map(move |worker| worker.routes[route].get().map(|cell| &**cell))
    }

    fn sum(&self, route: usize, method: usize) -> BTreeMap<Status, u64> {
        let mut sum = BTreeMap::new();
        let statuses = self
            .cells(route)
            .filter_map(|cell| cell.methods[method].get());
        for (status, count) in statuses.flat_map(|statuses| statuses.counts()) {
            *sum.entry(status).or_default() += count;
        }
        sum
    }
}

impl HttpWorkerCounters {
    /// A request of that route was answered with `status`, `took` after its first byte.
    pub fn request(&self, route: usize, method: &str, status: u16, took: Duration) {
        let cell = self.route(route);
        let other = METHODS.len() - 1;
        let method = METHODS[..other].iter().position(|known| *known == method);
        let statuses = cell.methods[method.unwrap_or(other)].get_or_init(Box::default);
        statuses.count(status).add(1);
        cell.seconds.record(took);
    }

    /// The credentials of a request were refused; `word` says why.
    pub fn denied(&self, word: &'static str) {
        let slot = self
            .denied
            .iter()
            .find(|(known, _)| *known.get_or_init(|| word) == word);
        if let Some((_, count)) = slot {
            count.add(1);
        }
    }

    /// A request of that route was over its rate.
    pub fn limited(&self, route: usize) {
        self.route(route).limited.add(1);
    }

    fn route(&self, route: usize) -> &RouteCounters {
        self.routes[route].get_or_init(Box::default)
    }
}

impl Statuses {
    fn count(&self, status: u16) -> &Count {
        for slot in &self.slots {
            let known = slot.status.get();
            if known == u64::from(status) {
                return &slot.requests;
            }
            if known == 0 {
                slot.status.set(status.into());
                return &slot.requests;
            }
        }
        &self.rest[usize::from(status / 100).clamp(1, CLASSES) - 1]
    }

    fn counts(&self) -> impl Iterator<Item = (Status, u64)> {
        let told = self.slots.iter().map(|slot| {
            let status = u16::try_from(slot.status.get()).unwrap_or(u16::MAX);
            (Status::One(status), slot.requests.get())
        });
        let rest = (1..).zip(&self.rest);
        let rest = rest.map(|(class, requests)| (Status::Others(class), requests.get()));
        told.chain(rest).filter(|(_, requests)| *requests > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: [WorkerId; 2] = [WorkerId(0), WorkerId(1)];

    fn counters(routes: &[&str]) -> HttpCounters {
        let routes: Vec<Arc<str>> = routes.iter().map(|name| Arc::from(*name)).collect();
        HttpCounters::new(WORKERS.len(), &routes)
    }

    #[test]
    fn requests_of_all_workers_are_told_apart_by_route_method_and_status() {
        let counters = counters(&["a", "b"]);
        let took = Duration::from_millis(20);
        for worker in WORKERS {
            counters.of(worker).request(1, "GET", 200, took);
            counters.of(worker).request(0, "BREW", 404, took);
        }
        counters.of(WORKERS[1]).request(1, "GET", 503, took);
        counters.of(WORKERS[1]).request(1, "get", 200, took);
        let seen: Vec<_> = counters
            .requests()
            .map(|row| (row.route, row.method, row.status, row.count))
            .collect();
        let expected = [
            ("-", "other", Status::One(404), 2),
            ("a", "GET", Status::One(200), 2),
            ("a", "GET", Status::One(503), 1),
            ("a", "other", Status::One(200), 1),
        ];
        assert_eq!(seen, expected);
        let timed = |histograms: Vec<&Histogram>| {
            let buckets = histograms.iter().flat_map(|histogram| histogram.buckets());
            buckets.map(|bucket| bucket.count.get()).sum::<u64>()
        };
        let seconds: Vec<_> = counters
            .seconds()
            .map(|(route, each)| (route, timed(each)))
            .collect();
        assert_eq!(seconds, [("-", 2), ("a", 4)]);
        assert_eq!(counters.routes(), 2);
    }

    #[test]
    fn what_nobody_uses_is_not_made_and_what_a_server_makes_up_has_an_end() {
        let names = vec!["r"; 4096];
        let counters = counters(&names);
        assert_eq!(counters.requests().count(), 0);
        assert_eq!(counters.seconds().count(), 0);
        let worker = counters.of(WORKERS[0]);
        for status in 100..600 {
            worker.request(4096, "GET", status, Duration::ZERO);
        }
        let rows: Vec<_> = counters
            .requests()
            .map(|row| (row.status, row.count))
            .collect();
        assert_eq!(rows.len(), STATUSES_MAX + CLASSES);
        assert_eq!(rows[0], (Status::One(100), 1));
        let told = STATUSES_MAX as u64;
        assert_eq!(rows[STATUSES_MAX], (Status::Others(1), 100 - told));
        assert_eq!(rows.last(), Some(&(Status::Others(5), 100)));
        assert_eq!(Status::Others(5).to_string(), "5xx");
        let made = worker.routes.iter().filter(|cell| cell.get().is_some());
        assert_eq!(made.count(), 1);
    }

    #[test]
    fn refusals_are_counted_by_word_and_by_route() {
        let counters = counters(&["a"]);
        assert_eq!(counters.limited().collect::<Vec<_>>(), [("-", 0)]);
        counters.of(WORKERS[0]).denied("expired");
        counters.of(WORKERS[1]).denied("unknown");
        counters.of(WORKERS[1]).denied("expired");
        counters.of(WORKERS[0]).limited(1);
        counters.of(WORKERS[1]).limited(1);
        assert_eq!(
            counters.denied(),
            BTreeMap::from([("expired", 2), ("unknown", 1)])
        );
        assert_eq!(counters.limited().collect::<Vec<_>>(), [("-", 0), ("a", 2)]);
    }
}
