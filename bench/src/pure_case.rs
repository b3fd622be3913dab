//! `pure-case NAME`: does the work of one case once. callgrind counts what
//! happens within [`measured`]. Without a name it lists the cases.

use walker_bench::cases;

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        for case in cases::all() {
            println!("{} {}", case.name, case.units);
        }
        return;
    };
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
