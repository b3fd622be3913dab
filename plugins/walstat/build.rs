//! Linker settings of the extension library.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // PostgreSQL loads libraries RTLD_GLOBAL: our own symbols must win inside
    // our own library, whatever other extensions export.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-Bsymbolic");
    // pgrx keeps its SQL entities in a section nothing refers to.
    println!("cargo::rustc-link-arg-cdylib=-Wl,--no-gc-sections");
}
