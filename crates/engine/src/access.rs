//! Which addresses a listener lets in: the networks of its access lists, laid flat into the points
//! of the address space at which the answer changes. Made once; it never looks at anything but an
//! address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address.
    pub first: IpAddr,
    /// How many leading bits its addresses share: at most 32 for IPv4 and 128 for IPv6.
    pub prefix: u8,
}

/// What happens to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may connect.
    Allowed,
    /// It may not.
    Denied,
}

impl Verdict {
    fn opposite(self) -> Self {
        match self {
            Self::Allowed => Self::Denied,
            Self::Denied => Self::Allowed,
        }
    }
}

/// The verdict on every address: that of the longest of the networks it lies in, otherwise the one
/// of the rest.
#[derive(Debug)]
pub struct AccessList {
    rest: Verdict,
    /// The addresses from which on the verdict is the opposite of the one before; in order.
    v4: Box<[u32]>,
    v6: Halves,
}

/// Numbers of 128 bits in order, by halves: the upper ones alone decide nearly every search, and
/// are compared several times faster than the whole.
#[derive(Debug)]
struct Halves {
    upper: Box<[u64]>,
    lower: Box<[u64]>,
}

impl AccessList {
    /// Of networks with their verdicts. Where one network is given twice, the later verdict holds.
    pub fn new(networks: impl IntoIterator<Item = (Network, Verdict)>, rest: Verdict) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, verdict) in networks {
            match network.first {
                IpAddr::V4(first) => {
                    v4.push(Span::new(
                        first.to_bits().into(),
                        32,
                        network.prefix,
                        verdict,
                    ));
                }
                IpAddr::V6(first) => {
                    v6.push(Span::new(first.to_bits(), 128, network.prefix, verdict));
                }
            }
        }
        let last_v4 = Ipv4Addr::BROADCAST.to_bits().into();
        Self {
            rest,
            v4: flips(v4, last_v4, rest)
                .into_iter()
                .map(|at| at as u32)
                .collect(),
            v6: Halves::new(&flips(v6, u128::MAX, rest)),
        }
    }

    /// The verdict on an address. An IPv4 address written as IPv6 (`::ffff:1.2.3.4`) is the IPv4
    /// address.
    pub fn verdict(&self, address: IpAddr) -> Verdict {
        let flips = match address.to_canonical() {
            IpAddr::V4(address) => {
                let at = Ipv4Addr::to_bits(address);
                self.v4.partition_point(|flip| *flip <= at)
            }
            IpAddr::V6(address) => self.v6.up_to(Ipv6Addr::to_bits(address)),
        };
        if flips.is_multiple_of(2) {
            self.rest
        } else {
            self.rest.opposite()
        }
    }
}

impl Halves {
    fn new(numbers: &[u128]) -> Self {
        Self {
            upper: numbers.iter().map(|number| (number >> 64) as u64).collect(),
            lower: numbers.iter().map(|number| *number as u64).collect(),
        }
    }

    /// How many of them are at most `number`.
    fn up_to(&self, number: u128) -> usize {
        let (upper, lower) = ((number >> 64) as u64, number as u64);
        let below = self.upper.partition_point(|half| *half < upper);
        if self.upper.get(below) != Some(&upper) {
            return below;
        }
        let same = self.upper[below..].partition_point(|half| *half == upper);
        below + self.lower[below..below + same].partition_point(|half| *half <= lower)
    }
}

/// A network in one address space, and its verdict.
struct Span {
    first: u128,
    last: u128,
    verdict: Verdict,
}

impl Span {
    fn new(first: u128, bits: u8, prefix: u8, verdict: Verdict) -> Self {
        let hosts = u128::MAX
            .checked_shr(128 - u32::from(bits.saturating_sub(prefix)))
            .unwrap_or(0);
        Self {
            first: first & !hosts,
            last: first | hosts,
            verdict,
        }
    }
}

/// The points at which the verdict changes. Two networks are disjoint or one holds the other, so
/// one pass in order of their first addresses with a stack of those still open finds them.
fn flips(mut spans: Vec<Span>, last: u128, rest: Verdict) -> Vec<u128> {
    spans.sort_by_key(|span| (span.first, std::cmp::Reverse(span.last)));
    let mut points = Points {
        last,
        rest,
        changes: Vec::with_capacity(2 * spans.len()),
    };
    let mut open: Vec<Span> = Vec::new();
    for span in spans {
        while let Some(ended) = open.pop_if(|open| open.last < span.first) {
            points.after(&ended, open.last());
        }
        points.change(span.first, span.verdict);
        open.push(span);
    }
    while let Some(ended) = open.pop() {
        points.after(&ended, open.last());
    }
    let mut before = rest;
    points
        .changes
        .retain(|(_, verdict)| std::mem::replace(&mut before, *verdict) != *verdict);
    points.changes.into_iter().map(|(at, _)| at).collect()
}

/// From which addresses on which verdict holds, in order.
struct Points {
    /// Of the address space.
    last: u128,
    rest: Verdict,
    changes: Vec<(u128, Verdict)>,
}

impl Points {
    fn change(&mut self, at: u128, verdict: Verdict) {
        match self.changes.last_mut() {
            Some(newest) if newest.0 == at => newest.1 = verdict,
            _ => self.changes.push((at, verdict)),
        }
    }

    /// After a network comes the rest of the one around it.
    fn after(&mut self, ended: &Span, around: Option<&Span>) {
        if ended.last < self.last {
            self.change(
                ended.last + 1,
                around.map_or(self.rest, |around| around.verdict),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn network(text: &str) -> Network {
        let (first, prefix) = text.split_once('/').unwrap();
        Network {
            first: first.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    fn check(allow: &[&str], deny: &[&str], rest: Verdict, expected: &[(&str, Verdict)]) {
        let with = |verdict| move |text: &&str| (network(text), verdict);
        let allow = allow.iter().map(with(Verdict::Allowed));
        let deny = deny.iter().map(with(Verdict::Denied));
        let list = AccessList::new(allow.chain(deny), rest);
        for (address, verdict) in expected {
            assert_eq!(
                list.verdict(address.parse().unwrap()),
                *verdict,
                "{address}"
            );
        }
    }

    #[test]
    fn the_longest_prefix_wins_over_both_lists() {
        use Verdict::{Allowed, Denied};
        check(
            &[
                "10.0.0.0/8",
                "10.1.2.0/24",
                "255.255.255.255/32",
                "fd00::/8",
            ],
            &["10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/1", "fd00::1/128"],
            Denied,
            &[
                ("9.255.255.255", Denied),
                ("10.0.0.0", Allowed),
                ("10.0.255.255", Allowed),
                ("10.1.0.0", Denied),
                ("10.1.2.2", Allowed),
                ("10.1.2.3", Denied),
                ("10.1.2.4", Allowed),
                ("10.1.3.0", Denied),
                ("10.255.255.255", Allowed),
                ("11.0.0.0", Denied),
                ("255.255.255.254", Denied),
                ("255.255.255.255", Allowed),
                ("::ffff:10.1.2.2", Allowed),
                ("::ffff:10.1.2.3", Denied),
                ("fd00::", Allowed),
                ("fd00::1", Denied),
                ("fd00::2", Allowed),
                ("fe00::", Denied),
                ("::", Denied),
            ],
        );
        check(
            &[],
            &["0.0.0.0/0"],
            Allowed,
            &[("1.2.3.4", Denied), ("::1", Allowed)],
        );
        check(
            &["::/0"],
            &[],
            Denied,
            &[("1.2.3.4", Denied), ("::1", Allowed)],
        );
        check(&[], &[], Allowed, &[("1.2.3.4", Allowed), ("::1", Allowed)]);
    }

    #[test]
    fn any_set_of_networks_gives_the_verdict_of_the_longest_that_holds_the_address() {
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let rest = random.verdict();
            let networks: Vec<(Network, Verdict)> = (0..random.below(60))
                .map(|_| (random.network(), random.verdict()))
                .collect();
            let list = AccessList::new(networks.iter().copied(), rest);
            for _ in 0..200 {
                let address = random.address();
                let longest = networks
                    .iter()
                    .filter(|(network, _)| holds(network, address))
                    .max_by_key(|(network, _)| network.prefix);
                let expected = longest.map_or(rest, |(_, verdict)| *verdict);
                assert_eq!(list.verdict(address), expected, "seed {seed}, {address}");
            }
        }
    }

    fn holds(network: &Network, address: IpAddr) -> bool {
        let shift = |bits: u32| bits - u32::from(network.prefix);
        match (network.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    impl Random {
        fn verdict(&mut self) -> Verdict {
            match self.below(2) {
                0 => Verdict::Allowed,
                _ => Verdict::Denied,
            }
        }

        /// Of few different bits, so that networks nest and addresses fall into them.
        fn address(&mut self) -> IpAddr {
            let ends = [0, 1, 0xffff_fffe, 0xffff_ffff];
            let bits = match self.below(4) {
                0 => ends[self.below(4) as usize],
                _ => self.below(1 << 8) << 24 | self.below(4) << 8 | self.below(4),
            } as u32;
            match self.below(2) {
                0 => Ipv4Addr::from_bits(bits).into(),
                _ if bits == u32::MAX => Ipv6Addr::from_bits(u128::MAX).into(),
                _ => Ipv6Addr::from_bits(u128::from(bits) << 64).into(),
            }
        }

        fn network(&mut self) -> Network {
            let first = self.address();
            let bits = if first.is_ipv4() { 33 } else { 129 };
            Network {
                first,
                prefix: self.below(bits) as u8,
            }
        }
    }
}
