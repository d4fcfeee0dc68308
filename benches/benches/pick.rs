//! What one pick costs, for each algorithm and pools of 4, 64 and 1024 servers, on one thread.
//! Between two picks one server's load changes; `change_only` is the cost of that alone.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringgate_balance::{Algorithm, Cursor, Table, Tried};
use ringgate_benches::Pool;

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("round_robin", Algorithm::RoundRobin),
    ("least_conn", Algorithm::LeastConn),
    ("p2c", Algorithm::P2c),
    ("random", Algorithm::Random),
];

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for size in [4, 64, 1024] {
        let pool = Pool::new(size);
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("change_only", size), |bencher| {
            bencher.iter(|| {
                turn += 1;
                pool.change(turn);
            });
        });
        for (name, algorithm) in ALGORITHMS {
            let table = Table::new(algorithm, &pool.members);
            let mut cursor = Cursor::new(1);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    turn += 1;
                    pool.change(turn);
                    table.pick(&mut cursor, &pool, black_box(&Tried::new()))
                });
            });
        }
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = pick }
criterion_main!(benches);
