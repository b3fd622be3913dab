//! The time of the pure parts: `cargo bench -p walker-bench`. Figures of two
//! machines say nothing to each other; for that there is `make bench-check`.

use criterion::{BatchSize, Criterion, Throughput};
use walker_bench::cases;

fn pure(c: &mut Criterion) {
    for case in cases::all() {
        let mut group = c.benchmark_group(case.name);
        group.throughput(Throughput::Elements(case.units as u64));
        group.sample_size(20);
        group.bench_function("once", |b| {
            b.iter_batched(|| case.prepare(), |work| work(), BatchSize::PerIteration);
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    pure(&mut criterion);
    criterion.final_summary();
}
