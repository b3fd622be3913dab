//! `pure-case NAME`: does the work of one case once. callgrind counts what
//! happens within [`measured`]. Without a name it lists the cases. A name with
//! a slash is a directory below `$WALKER_CACHE/bench`: the ledger alone on that
//! workload's WAL, which is also timed.

use walker_bench::{cases, cpu, real};

/// A worker that has much to read has it shown after about so many records.
const BACKLOG: u32 = 1 << 16;

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        for case in cases::all() {
            println!("{} {}", case.name, case.units);
        }
        return;
    };
    if name.contains('/') {
        let (mut ledger, wal) = real::ledger_and_wal(name.as_ref());
        let began = cpu::of_thread();
        let n = wal.len();
        measured(Box::new(move || {
            cases::apply_and_show(&mut ledger, &wal, BACKLOG);
            std::mem::forget((ledger, wal));
        }));
        let ns = (cpu::of_thread() - began) * 1e9;
        println!(
            "{n} records, {:.1} ns each, {:.1} ms",
            ns / n as f64,
            ns / 1e6
        );
        return;
    }
    let all = cases::all();
    let case = all.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    measured(case.prepare());
}

/// A name that callgrind can be told; never inlined, so that it has one.
#[inline(never)]
fn measured(work: Box<dyn FnOnce()>) {
    work();
}
