//! Finds the component's bytes, and compiles them to native code where that is asked for.

mod guest;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "precompiled")]
#[path = "../src/engine/config.rs"]
mod config;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/engine/config.rs");
    let crate_directory = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let workspace = crate_directory.join("../..");
    let committed = crate_directory.join("component/symbolon.wasm");

    let guest = guest::find(&workspace, "guest/component", "symbolon-guest", &committed)?;
    fs::write(out.join("symbolon.wasm"), &guest.bytes)?;
    println!("cargo::rustc-env=SYMBOLON_COMPONENT_ORIGIN={}", guest.origin);
    precompile(&guest.bytes, &out)
}

#[cfg(not(feature = "precompiled"))]
fn precompile(_bytes: &[u8], _out: &Path) -> Result<(), Box<dyn Error>> {
    Ok(())
}

#[cfg(feature = "precompiled")]
fn precompile(bytes: &[u8], out: &Path) -> Result<(), Box<dyn Error>> {
    let mut config = config::engine_config();
    // The target's baseline, not the features of the machine that happens to build.
    config.target(&env::var("TARGET")?)?;
    let engine = wasmtime::Engine::new(&config)?;
    fs::write(out.join("symbolon.cwasm"), engine.precompile_component(bytes)?)?;
    Ok(())
}
