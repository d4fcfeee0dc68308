//! What it costs to come from a listener to a server's address, as each accepted connection does:
//! load the snapshot, then listener, pool and choice. `load` is the first step alone, `changed` is
//! the same when a new snapshot was published since. Listeners come in random order.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringgate_balance::{Algorithm, Cursor, Member, PoolId, ServerId, Table, Tried, Weight};
use ringgate_config::{Address, Retry, TimeoutOverrides, Timeouts};
use ringgate_engine::admit::Admission;
use ringgate_engine::counters::PerWorker;
use ringgate_engine::routes::Routes;
use ringgate_engine::snapshot::{Listener, ListenerId, Pool, Server, Snapshot};

const SERVERS: u16 = 4;

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for size in [1, 100, 1000] {
        let published = Arc::new(ArcSwap::from_pointee(snapshot(size)));
        let mut cache = Cache::new(published.clone());
        let mut cursor = Cursor::new(1);
        let mut random = 1_u32;
        group.bench_function(BenchmarkId::new("load", size), |bencher| {
            bencher.iter(|| cache.load().clone());
        });
        group.bench_function(BenchmarkId::new("changed", size), |bencher| {
            let (one, other) = (published.load_full(), Arc::new(snapshot(size)));
            let mut turn = 0;
            bencher.iter(|| {
                turn += 1;
                published.store(if turn % 2 == 0 { &one } else { &other }.clone());
                cache.load().clone()
            });
        });
        group.bench_function(BenchmarkId::new("to_a_server", size), |bencher| {
            bencher.iter(|| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let id = ListenerId((random >> 16) as u16 % size);
                let snapshot = cache.load().clone();
                let pool = snapshot.pool(snapshot.listener(black_box(id)).pool?);
                let server = pool.table.pick(&mut cursor, &**pool, &Tried::new());
                server.map(|id| pool.server(id).clone())
            });
        });
    }
}

/// So many listeners, each with a pool of its own.
fn snapshot(size: u16) -> Snapshot {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        connect: second,
        handshake: second,
        first_byte: second,
        idle: second,
        half_closed: second,
        header: second,
        response: second,
    };
    let listener = |number| Listener {
        name: format!("listener-{number}").into(),
        pool: Some(PoolId(number)),
        routes: Routes::default(),
        trusted: None,
        tls: None,
        plugin: None,
        timeouts,
        admission: Admission::default(),
        bandwidth: None,
        counters: Arc::new(PerWorker::new(1)),
    };
    Snapshot {
        generation: 1,
        listeners: (0..size).map(|number| Arc::new(listener(number))).collect(),
        pools: (0..size).map(|number| Arc::new(pool(number))).collect(),
        connections_max: 1,
        further_max: 1,
        handshakes_max: 1,
    }
}

fn pool(number: u16) -> Pool {
    let server = |_| Server {
        name: "server".into(),
        address: Address::Ip(([127, 0, 0, 1], 1).into()),
        active: AtomicU32::new(0),
        counters: PerWorker::new(1),
    };
    let member = |number| Member {
        id: ServerId(number),
        weight: Weight::default(),
    };
    let members: Vec<Member> = (0..SERVERS).map(member).collect();
    Pool {
        id: PoolId(number),
        name: format!("pool-{number}").into(),
        table: Table::new(Algorithm::RoundRobin, &members),
        servers: (0..SERVERS)
            .map(|number| Arc::new(server(number)))
            .collect(),
        timeouts: TimeoutOverrides::default(),
        tls: None,
        proxy_protocol: None,
        retry: Retry {
            attempts: 2,
            budget_percent: 20,
            statuses: Vec::new(),
        },
        hold: None,
        held: Arc::default(),
        http2: false,
        counters: Arc::new(PerWorker::new(1)),
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = route }
criterion_main!(benches);
