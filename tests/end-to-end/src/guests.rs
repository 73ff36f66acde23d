//! Guests of this workspace that are built when a test wants them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The component of that package, built from source. `None` where the compiler hasn't the target: the test is skipped, and
/// has said so.
///
/// # Panics
///
/// Where it can't be built, and where the target is missing though `CI` is set.
pub fn component(package: &str) -> Option<Vec<u8>> {
    read(package, "wasm32-wasip2")
}

/// The same of a package that is a core module for hosts with the first preview of WASI.
///
/// # Panics
///
/// As [`component`].
pub fn module(package: &str) -> Option<Vec<u8>> {
    read(package, "wasm32-wasip1")
}

#[expect(clippy::expect_used, clippy::panic, reason = "a test can't go on without it")]
fn read(package: &str, target: &str) -> Option<Vec<u8>> {
    if !is_installed(target) {
        let needed = format!("skipped: needs the target {target} (rustup target add {target})");
        assert!(std::env::var_os("CI").is_none(), "{needed}");
        eprintln!("{needed}");
        return None;
    }
    let directory = target_directory().join("guest");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace())
        .args(["build", "--quiet", "--package", package, "--target", target, "--profile", "guest"])
        .arg("--target-dir")
        .arg(&directory)
        .status()
        .expect("cargo");
    assert!(status.success(), "{package} can't be built");
    let file = directory.join(target).join("guest").join(package.replace('-', "_")).with_extension("wasm");
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// Where this workspace is.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where it is built: what `.ci/run` installs for tests is there too.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

fn is_installed(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
