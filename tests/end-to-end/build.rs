//! Finds the bytes of the hostile guest.

#[path = "../../host/symbolon/build/guest.rs"]
mod guest;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let crate_directory = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = crate_directory.join("../..");
    let committed = crate_directory.join("hostile-guest.wasm");
    let guest = guest::find(&workspace, "tests/hostile-guest", "symbolon-hostile-guest", &committed)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("hostile-guest.wasm"), &guest.bytes)?;
    println!("cargo::rustc-env=HOSTILE_GUEST_ORIGIN={}", guest.origin);
    Ok(())
}
