//! Links the component without the adapter for preview 1 of WASI, which nothing in it imports: merging the adapter's world
//! would raise the versions of the imports beyond those of the vendored interfaces.
//!
//! Its memory is what an acquisition needs, and no more: all of it is cleared when an instance ends, and growing it while one
//! runs costs its host two calls to the system.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo:rustc-link-arg-cdylib=--wasi-adapter=none");
        println!("cargo:rustc-link-arg-cdylib=-zstack-size={STACK}");
        println!("cargo:rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}

/// A recursion that goes deeper is a trap: the stack ends where memory begins.
const STACK: usize = 64 * 1024;

/// Stack, static data (37 kB) and heap.
const MEMORY: usize = 256 * 1024;
