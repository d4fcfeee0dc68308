//! What it costs to decide whether a connection may stay: its address against access lists of 100
//! and 50,000 networks, and its client against the table of clients. `hot` asks for one client over
//! and over, `cold` for another of 100,000 each time; `none` is the asking alone.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringgate_engine::access::{AccessList, Network, Verdict};
use ringgate_engine::clients::{ClientLimits, Clients};
use ringgate_engine::rate::Rate;

/// As many different clients as ask in turn.
const ASKING: usize = 100_000;

fn access(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access");
    for (family, address) in [("v4", v4 as Address), ("v6", v6)] {
        let asking: Vec<IpAddr> = (0..ASKING as u64)
            .map(|turn| address(mixed(turn)))
            .collect();
        let mut turn = 0;
        let mut next = || {
            turn = (turn + 1) % ASKING;
            asking[turn]
        };
        group.bench_function(BenchmarkId::new("none", family), |bencher| {
            bencher.iter(&mut next);
        });
        for size in [100, 50_000] {
            let networks = (0..size).map(|number| {
                let network = Network {
                    first: address(mixed(number + 1_000_000)),
                    prefix: 16 + (number % 17) as u8,
                };
                let verdict = match number % 2 {
                    0 => Verdict::Denied,
                    _ => Verdict::Allowed,
                };
                (network, verdict)
            });
            let list = AccessList::new(networks, Verdict::Allowed);
            group.bench_function(BenchmarkId::new(family, size), |bencher| {
                bencher.iter(|| list.verdict(black_box(next())));
            });
        }
    }
}

fn clients(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clients");
    let second = Duration::from_secs(1);
    let some = |count| NonZeroU32::new(count);
    let limits = ClientLimits {
        connections_max: some(100),
        rate: some(1_000_000).map(|count| Rate::new(count, second)),
        ipv6_prefix: 64,
    };
    let now = Instant::now() + second;
    for (name, asking) in [("hot", 1), ("cold", ASKING as u64)] {
        let clients = Clients::new(ASKING as u32);
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("come_and_go", name), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % asking;
                // The rate lets all of them in when time goes on.
                let now = now + Duration::from_micros(turn);
                if let Ok(place) = clients.admit(v4(mixed(turn)), &limits, black_box(now)) {
                    clients.leave(place);
                }
            });
        });
    }
    let clients = Clients::new(1);
    let mut turn = 0;
    group.bench_function("newcomers_to_a_full_table", |bencher| {
        bencher.iter(|| {
            turn += 1;
            if let Ok(place) = clients.admit(v4(mixed(turn)), &limits, black_box(now)) {
                clients.leave(place);
            }
        });
    });
}

/// Makes an address from bits.
type Address = fn(u64) -> IpAddr;

/// From 32 bits.
fn v4(bits: u64) -> IpAddr {
    Ipv4Addr::from_bits(bits as u32).into()
}

fn v6(bits: u64) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(bits) << 64).into()
}

/// Spreads numbers evenly (splitmix64).
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = access, clients }
criterion_main!(benches);
