//! Links the component without the adapter for preview 1 of WASI, which nothing in it imports: merging the adapter's world
//! would raise the versions of the imports beyond those of the vendored interfaces.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo:rustc-link-arg-cdylib=--wasi-adapter=none");
    }
}
