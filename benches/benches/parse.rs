//! What it costs to turn a configuration into a plan: a small file, and pools of many servers. It
//! reads no file.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A configuration of so many pools with 16 servers each, and a listener for every pool.
fn document(pools: usize) -> String {
    let mut listeners = String::from("listeners:\n");
    let mut text = String::from("pools:\n");
    for pool in 0..pools {
        let port = 10_000 + pool;
        let _ = writeln!(
            listeners,
            "  l{pool}: {{ bind: \":{port}\", pool: p{pool} }}"
        );
        let _ = writeln!(text, "  p{pool}:\n    balance: least_conn\n    servers:");
        for server in 0..16 {
            let _ = writeln!(text, "      - 10.{}.{}.{server}:80", pool / 250, pool % 250);
        }
    }
    listeners + &text
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for pools in [1, 64, 1024] {
        let text = document(pools);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("pools", pools), |bencher| {
            bencher.iter(|| {
                ringgate_config::parse("bench", black_box(&text), &[])
                    .expect("the document is a good one")
            });
        });
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = parse }
criterion_main!(benches);
