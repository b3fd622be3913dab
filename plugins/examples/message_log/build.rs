//! Linker settings of the plugin's library.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // PostgreSQL loads libraries RTLD_GLOBAL: our own symbols must win inside
    // our own library, whatever other plugins export.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-Bsymbolic");
    // An allocation that fails must end this process alone, not every session:
    // walker_plugin has its own end for what would abort.
    println!("cargo::rustc-link-arg-cdylib=-Wl,--wrap=abort,--wrap=__cxa_thread_atexit_impl");
}
