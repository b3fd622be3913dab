//! Linker settings of the extension library.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // PostgreSQL loads libraries RTLD_GLOBAL: our own symbols must win inside
    // our own library, whatever other extensions export.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-Bsymbolic");
    // An allocation that fails must end this process alone, not every session:
    // walker_plugin has its own end for what would abort.
    println!("cargo::rustc-link-arg-cdylib=-Wl,--wrap=abort,--wrap=__cxa_thread_atexit_impl");
    // pgrx keeps its SQL entities in a section nothing refers to.
    println!("cargo::rustc-link-arg-cdylib=-Wl,--no-gc-sections");
}
