//! Rate limits: how many requests each client, consumer or value of a field may make, and what the response says about
//! it (draft-ietf-httpapi-ratelimit-headers-11). Exact over all workers. It never keeps a key, only a secret hash of it,
//! and never refunds: a request that a later stage refuses has been made all the same.

mod table;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringgate_config::{LimitBy, RateLimit};
use ringgate_engine::rate::Rate;

use table::{Answer, Table};

/// IPv6 addresses that share so many leading bits are one client: what one customer gets (RFC 6177).
const IPV6_PREFIX: u32 = 64;

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// What the response calls a limit that is alone.
const ALONE: &str = "default";

/// Moments further than this from the limit's beginning are this one: 146 years.
const MOMENT_MAX: u64 = u64::MAX / 4;

/// Whom a request counts for. Keys of different kinds are different, whatever they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The client's address: an IPv4 one also where it is mapped into IPv6, an IPv6 one by its /64.
    Client(IpAddr),
    /// The consumer's name.
    Consumer(&'a str),
    /// The value of the field that the limit is about.
    Field(&'a [u8]),
}

/// What a limit says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a request that is not admitted has to be refused"]
pub struct Verdict {
    /// Whether the request may go on. Then it is counted, and else it is not.
    pub admitted: bool,
    /// How many more the key may make at once.
    pub remaining: u64,
    /// Until it may make one more than that. Never zero.
    pub until_more: Duration,
}

impl Verdict {
    /// `Retry-After` of the refusal, and the effective window of `RateLimit`: whole seconds, at least one. They are the
    /// same, since the draft wants the first not to be earlier than the end of the second (§6).
    pub fn seconds(&self) -> u64 {
        let seconds = self.until_more.as_nanos().div_ceil(1_000_000_000);
        u64::try_from(seconds).map_or(INTEGER_MAX, |seconds| seconds.clamp(1, INTEGER_MAX))
    }
}

/// One rate limit; all workers share it.
#[derive(Debug)]
pub struct Limiter {
    limit: RateLimit,
    rate: Rate,
    /// Between its quotes, as both fields say it.
    name: String,
    policy: String,
    table: Table,
    /// Keeps clients from choosing keys that meet in one bucket or pass for each other.
    secret: RandomState,
    /// Times are counted from here.
    epoch: Instant,
}

impl Limiter {
    /// A limit that is alone on its route. Nobody has made a request yet.
    pub fn new(limit: &RateLimit) -> Self {
        Self::named(limit, ALONE.to_owned())
    }

    /// The limits of one route, in their order: where there are several, the response calls each by whom it counts.
    pub fn all(limits: &[RateLimit]) -> Vec<Arc<Self>> {
        if let [alone] = limits {
            return vec![Arc::new(Self::new(alone))];
        }
        let named = |(at, limit): (usize, &RateLimit)| {
            let same = |before: &&RateLimit| before.by == limit.by;
            let name = match limits[..at].iter().filter(same).count() {
                0 => limit.by.to_string(),
                others => format!("{}-{}", limit.by, others + 1),
            };
            Arc::new(Self::named(limit, name))
        };
        limits.iter().enumerate().map(named).collect()
    }

    fn named(limit: &RateLimit, name: String) -> Self {
        // Parts of a second are not supported (§3.1.3): a shorter period is told by what a second makes of it.
        let period = limit.rate.period.max(Duration::from_nanos(1));
        let window = period.as_nanos().div_ceil(1_000_000_000).max(1);
        let quota = u128::from(limit.rate.count.get()) * window * 1_000_000_000 / period.as_nanos();
        let bounded = |number: u128| number.min(INTEGER_MAX.into());
        Self {
            policy: format!("\"{name}\";q={};w={}", bounded(quota), bounded(window)),
            limit: limit.clone(),
            rate: Rate::with_burst(limit.rate.count, limit.rate.period, limit.burst),
            name,
            table: Table::new(),
            secret: RandomState::new(),
            epoch: Instant::now(),
        }
    }

    /// Whom it counts.
    pub fn by(&self) -> &LimitBy {
        &self.limit.by
    }

    /// Counts a request, when the key may make it.
    pub fn admit(&self, key: Key<'_>, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.epoch).as_nanos();
        let now_ns = u64::try_from(passed).map_or(MOMENT_MAX, |ns| ns.min(MOMENT_MAX));
        let answer = self.table.admit(self.hash(key), &self.rate, now_ns);
        let (admitted, due_ns) = match answer {
            Answer::Admitted { due_ns } => (true, due_ns),
            Answer::Refused { due_ns } => (false, due_ns),
        };
        let until_more = Duration::from_nanos(self.rate.until_more_ns(due_ns, now_ns));
        Verdict {
            admitted,
            remaining: self.rate.left(due_ns, now_ns),
            until_more,
        }
    }

    /// The item of `RateLimit-Policy`: `"default";q=100;w=10`. It is always the same.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Appends the item of `RateLimit`, `"default";r=50;t=30`.
    pub fn write(&self, verdict: &Verdict, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.push(b'"');
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\";r=");
        let remaining = verdict.remaining.min(INTEGER_MAX);
        out.extend_from_slice(digits.format(remaining).as_bytes());
        out.extend_from_slice(b";t=");
        out.extend_from_slice(digits.format(verdict.seconds()).as_bytes());
    }

    /// What stands for a key. The first byte that is hashed tells the kinds apart.
    fn hash(&self, key: Key<'_>) -> u64 {
        match key {
            Key::Client(address) => self.secret.hash_one(
                match address.to_canonical() {
                    IpAddr::V4(address) => u128::from(address.to_bits()) << 8,
                    IpAddr::V6(address) => address.to_bits() >> (128 - IPV6_PREFIX) << 8 | 1,
                }
                .to_le(),
            ),
            Key::Consumer(name) => self.secret.hash_one((2u8, name.as_bytes())),
            Key::Field(value) => self.secret.hash_one((3u8, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    const SECOND: Duration = Duration::from_secs(1);

    fn written(limiter: &Limiter, verdict: &Verdict) -> String {
        let mut out = Vec::new();
        limiter.write(verdict, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn limit(count: u32, period: Duration, burst: u32) -> RateLimit {
        let some = |number| NonZeroU32::new(number).unwrap();
        RateLimit {
            rate: ringgate_config::Rate {
                count: some(count),
                period,
            },
            burst: some(burst),
            by: LimitBy::ClientIp,
        }
    }

    fn client(text: &str) -> Key<'static> {
        Key::Client(text.parse().unwrap())
    }

    #[test]
    fn ten_runs_with_one_thread_or_four_admit_the_burst_and_the_rate_within_a_hundredth() {
        let (count, burst, seconds) = (1000, 50, 10);
        for threads in [1, 4] {
            for run in 0..10 {
                let limiter = Limiter::new(&limit(count, SECOND, burst));
                let begun = Instant::now() + SECOND;
                let (admitted, turns) = (AtomicU64::new(0), AtomicU64::new(0));
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            // Three times as many as may come, evenly; whichever thread has time for the next.
                            for _ in 0..u64::from(count) * seconds * 3 / threads {
                                let turn = turns.fetch_add(1, Relaxed) as u32;
                                let now = begun + SECOND * turn / (count * 3);
                                if limiter.admit(client("1.2.3.4"), now).admitted {
                                    admitted.fetch_add(1, Relaxed);
                                }
                            }
                        });
                    }
                });
                let admitted = admitted.load(Relaxed);
                let most = u64::from(count) * seconds + u64::from(burst);
                assert!(admitted <= most, "run {run}: {admitted} of {most}");
                let least = most * 99 / 100;
                assert!(admitted >= least, "run {run}: {admitted} of {least}");
            }
        }
    }

    #[test]
    fn kinds_of_keys_are_apart_and_an_ipv6_network_is_one_client() {
        let check = |one: Key<'_>, other: Key<'_>, same: bool| {
            let limiter = Limiter::new(&limit(1, 60 * SECOND, 1));
            let now = Instant::now();
            assert!(limiter.admit(one, now).admitted);
            let admitted = limiter.admit(other, now).admitted;
            assert_eq!(!admitted, same, "{one:?} and {other:?}");
        };
        check(client("2001:db8::1"), client("2001:db8::ffff:0:0:2"), true);
        check(client("2001:db8::1"), client("2001:db8:0:1::1"), false);
        check(client("1.2.3.4"), client("::ffff:1.2.3.4"), true);
        check(client("1.2.3.4"), client("1.2.3.5"), false);
        check(client("0.0.0.1"), client("::1"), false);
        check(client("0.0.0.0"), client("::"), false);
        check(Key::Consumer("a"), Key::Consumer("a"), true);
        check(Key::Consumer("a"), Key::Field(b"a"), false);
        check(Key::Field(b"a"), Key::Field(b"a\0"), false);
        check(Key::Field(b""), Key::Consumer(""), false);
        let octets = [0, 1, 2, 3, 4, 0, 0, 0];
        check(client("1.2.3.4"), Key::Field(&octets), false);
    }

    #[test]
    fn a_clock_that_goes_back_admits_nothing_that_was_not_due_and_does_no_lasting_harm() {
        let limiter = Limiter::new(&limit(10, SECOND, 10));
        let begun = Instant::now() + 3600 * SECOND;
        let at = |now: Instant| {
            (0..100)
                .filter(|_| limiter.admit(client("::1"), now).admitted)
                .count()
        };
        assert_eq!(at(begun), 10);
        assert_eq!(at(begun - SECOND / 2), 0);
        let back = limiter.admit(client("::1"), begun - 3600 * SECOND);
        assert_eq!((back.admitted, back.remaining), (false, 0));
        assert_eq!(at(begun - 7200 * SECOND), 0);
        assert_eq!(at(begun), 0);
        assert_eq!(at(begun + SECOND / 2), 5);
        assert_eq!(at(begun + 3600 * SECOND), 10);
    }

    #[test]
    fn each_of_many_keys_has_its_own_allowance() {
        let limiter = Limiter::new(&limit(3, 3600 * SECOND, 3));
        let now = Instant::now();
        for turn in 0..5 {
            for number in 0..100_000u32 {
                let admitted = limiter
                    .admit(Key::Field(&number.to_le_bytes()), now)
                    .admitted;
                assert_eq!(admitted, turn < 3, "{number}");
            }
        }
    }

    #[test]
    fn the_response_says_what_is_left_and_when_more_comes() {
        let check = |limit: RateLimit, requests: u32, policy: &str, item: &str, admitted: bool| {
            let limiter = Limiter::new(&limit);
            let now = Instant::now();
            let verdicts = (0..requests).map(|_| limiter.admit(client("::1"), now));
            let last = verdicts.last().unwrap();
            assert_eq!(limiter.policy(), policy);
            assert_eq!(
                (written(&limiter, &last).as_str(), last.admitted),
                (item, admitted)
            );
        };
        let ten = 10 * SECOND;
        let policy = "\"default\";q=100;w=10";
        check(limit(100, ten, 20), 1, policy, "\"default\";r=19;t=1", true);
        check(limit(100, ten, 20), 20, policy, "\"default\";r=0;t=1", true);
        check(
            limit(100, ten, 20),
            21,
            policy,
            "\"default\";r=0;t=1",
            false,
        );
        let policy = "\"default\";q=6;w=60";
        check(
            limit(6, 60 * SECOND, 6),
            6,
            policy,
            "\"default\";r=0;t=10",
            true,
        );
        check(
            limit(6, 60 * SECOND, 6),
            9,
            policy,
            "\"default\";r=0;t=10",
            false,
        );
        let policy = "\"default\";q=200;w=1";
        check(
            limit(20, SECOND / 10, 1),
            1,
            policy,
            "\"default\";r=0;t=1",
            true,
        );
        let policy = "\"default\";q=1;w=2";
        check(
            limit(1, SECOND * 3 / 2, 1),
            2,
            policy,
            "\"default\";r=0;t=2",
            false,
        );
    }

    #[test]
    fn several_limits_have_names() {
        let mut limits = vec![limit(10, SECOND, 10); 3];
        limits[1].by = LimitBy::Header("x-key".to_owned());
        let limiters = Limiter::all(&limits);
        let policies: Vec<&str> = limiters.iter().map(|limiter| limiter.policy()).collect();
        assert_eq!(
            policies.join(", "),
            "\"client_ip\";q=10;w=1, \"header:x-key\";q=10;w=1, \"client_ip-2\";q=10;w=1"
        );
        let items: Vec<String> = limiters
            .iter()
            .map(|limiter| written(limiter, &limiter.admit(client("::1"), Instant::now())))
            .collect();
        assert_eq!(
            items.join(", "),
            "\"client_ip\";r=9;t=1, \"header:x-key\";r=9;t=1, \"client_ip-2\";r=9;t=1"
        );
        assert!(Limiter::all(&[]).is_empty());
        assert!(
            Limiter::all(&limits[..1])[0]
                .policy()
                .starts_with("\"default\"")
        );
    }

    #[test]
    fn no_rate_and_no_moment_is_too_extreme() {
        let forever = Duration::from_secs(u64::MAX);
        for (count, period) in [
            (1, forever),
            (u32::MAX, Duration::from_nanos(1)),
            (u32::MAX, forever),
        ] {
            for burst in [1, u32::MAX] {
                let limiter = Limiter::new(&limit(count, period, burst));
                let begun = Instant::now();
                for now in [
                    begun,
                    begun + SECOND,
                    begun + Duration::from_secs(1 << 40),
                    begun,
                ] {
                    let verdict = limiter.admit(client("::1"), now);
                    assert!(verdict.seconds() >= 1 && verdict.seconds() <= INTEGER_MAX);
                    let items = written(&limiter, &verdict);
                    assert!(limiter.policy().len() < 60 && items.len() < 60, "{items}");
                }
            }
        }
        let once = Limiter::new(&limit(1, forever, 1));
        let now = Instant::now();
        assert!(once.admit(client("::1"), now).admitted);
        assert!(
            !once
                .admit(client("::1"), now + Duration::from_secs(1 << 30))
                .admitted
        );
    }
}
