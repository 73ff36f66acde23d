//! Finds the bytes of the components that the tests need.

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
    let out = env::var("OUT_DIR")?;
    let mut origin = "";
    for (file, directory, package) in [
        ("hostile-guest.wasm", "tests/hostile-guest", "symbolon-hostile-guest"),
        ("hostile-provider.wasm", "tests/hostile-provider", "symbolon-hostile-provider"),
        ("credential-provider.wasm", "examples/credential-provider", "symbolon-example-credential-provider"),
    ] {
        let guest = guest::find(&workspace, directory, package, &crate_directory.join(file))?;
        fs::write(Path::new(&out).join(file), &guest.bytes)?;
        origin = guest.origin;
    }
    println!("cargo::rustc-env=HOSTILE_GUEST_ORIGIN={origin}");
    Ok(())
}
