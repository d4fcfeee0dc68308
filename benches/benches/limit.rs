//! What a rate limit costs a request: the client's key hashed, looked up and counted. `hot` asks for one client over and
//! over, `cold` for another of 100,000 each time, `over` for one that is refused; `field` has a key of 32 bytes.

use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_config::{LimitBy, Rate, RateLimit};
use ringgate_gateway::limit::{Key, Limiter};

const SECOND: Duration = Duration::from_secs(1);

fn limit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limit");
    for (name, clients, count) in [
        ("hot", 1, u32::MAX),
        ("cold", 100_000, u32::MAX),
        ("over", 1, 1),
    ] {
        let limiter = limiter(count);
        let begun = Instant::now();
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn += 1;
                let now = begun + Duration::from_nanos(turn);
                limiter.admit(Key::Client(address(turn % clients)), black_box(now))
            });
        });
    }
    let limiter = limiter(u32::MAX);
    let value = [b'x'; 32];
    group.bench_function("field", |bencher| {
        bencher.iter(|| limiter.admit(Key::Field(black_box(&value)), black_box(Instant::now())));
    });
    group.bench_function("field_clock_alone", |bencher| bencher.iter(Instant::now));
    let verdict = limiter.admit(Key::Field(&value), Instant::now());
    let mut items = Vec::new();
    group.bench_function("written", |bencher| {
        bencher.iter(|| {
            items.clear();
            limiter.write(black_box(&verdict), &mut items);
        });
    });
}

/// So many an hour, all of them at once.
fn limiter(count: u32) -> Limiter {
    let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Limiter::new(&RateLimit {
        rate: Rate {
            count,
            period: 3600 * SECOND,
        },
        burst: count,
        by: LimitBy::ClientIp,
    })
}

fn address(number: u64) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(number) << 64).into()
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(SECOND)
}

criterion_group! { name = benches; config = short(); targets = limit }
criterion_main!(benches);
