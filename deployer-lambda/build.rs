//! The Lambda's package is small: a cold start reads all of it.
//!
//! In the profile `lambda` a panic aborts: nothing unwinds, and its symbols are stripped, so that the tables for unwinding
//! would serve nobody. They are a tenth of the binary. std brings them, so that no compiler flag takes them away.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no-unwind-tables.ld");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // Cargo tells build scripts neither the profile's name nor its `panic`; only `lambda` builds this crate at "z".
    if is("OPT_LEVEL", "z") && is("CARGO_CFG_TARGET_OS", "linux") {
        let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{directory}/no-unwind-tables.ld");
    }
}
