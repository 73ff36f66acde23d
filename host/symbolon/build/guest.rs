// Finds the bytes of a guest: shared by the build scripts that need one.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler whose output is reproducible bit by bit with ours.
const PINNED_COMPILER: &str = "1.95.0";
const TARGET: &str = "wasm32-wasip2";

/// A guest's bytes, and where they come from.
pub(crate) struct Guest {
    pub(crate) bytes: Vec<u8>,
    /// `source` or `committed`.
    pub(crate) origin: &'static str,
}

/// The guest of that package: from its source where that is there (`directory`, in `workspace`), the compiler is the pinned
/// one and its WebAssembly target is installed; else the committed file. A failure to build from source is an error.
pub(crate) fn find(
    workspace: &Path,
    directory: &str,
    package: &str,
    committed: &Path,
) -> Result<Guest, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", committed.display());
    println!("cargo::rerun-if-env-changed=SYMBOLON_COMMITTED_COMPONENT");
    let sources =
        [directory, "guest/protocol", "wit", "Cargo.toml", "Cargo.lock"].map(|source| workspace.join(source));
    let has_source = sources.iter().all(|source| source.exists());
    if has_source {
        sources.iter().for_each(|source| println!("cargo::rerun-if-changed={}", source.display()));
    }
    let wanted = env::var_os("SYMBOLON_COMMITTED_COMPONENT").is_none();
    if wanted && has_source && is_pinned_compiler() && has_wasm_target() {
        Ok(Guest { bytes: build(workspace, package)?, origin: "source" })
    } else {
        let bytes = fs::read(committed).map_err(|error| format!("{}: {error}", committed.display()))?;
        Ok(Guest { bytes, origin: "committed" })
    }
}

fn rustc(arguments: &[&str]) -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()
}

fn is_pinned_compiler() -> bool {
    rustc(&["--version"]).is_some_and(|version| version.split(' ').nth(1) == Some(PINNED_COMPILER))
}

fn has_wasm_target() -> bool {
    rustc(&["--print", "target-libdir", "--target", TARGET])
        .is_some_and(|directory| Path::new(directory.trim()).is_dir())
}

fn build(workspace: &Path, package: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let target_directory = target_directory(Path::new(&env::var("OUT_DIR")?));
    // Offline first: a machine that has the crates must not need the network.
    let built = cargo(workspace, package, &target_directory, true)?
        || cargo(workspace, package, &target_directory, false)?;
    if !built {
        return Err(
            format!("{package} could not be built from source; see the messages of cargo above").into()
        );
    }
    let file = format!("{}.wasm", package.replace('-', "_"));
    let file = target_directory.join(TARGET).join("guest").join(file);
    let linked = fs::read(&file)?;
    let bytes = without_names(&linked).ok_or("the linker wrote no component")?;
    if bytes != linked {
        fs::write(file, &bytes)?;
    }
    Ok(bytes)
}

/// The component without its custom sections. The linker names every part of a component for debuggers, and has no switch
/// for it; nobody debugs the shipped one.
fn without_names(component: &[u8]) -> Option<Vec<u8>> {
    const PREAMBLE: usize = 8;
    const CUSTOM: u8 = 0;
    let (preamble, mut rest) = component.split_at_checked(PREAMBLE)?;
    let mut kept = preamble.to_vec();
    while let Some((&id, after_id)) = rest.split_first() {
        let (length, content) = leb128(after_id)?;
        let section = rest.len() - content.len() + length;
        let (section, next) = rest.split_at_checked(section)?;
        if id != CUSTOM {
            kept.extend_from_slice(section);
        }
        rest = next;
    }
    Some(kept)
}

/// An unsigned number of WebAssembly's binary format, and what follows.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(end);
    let number = number.iter().rev().fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f));
    Some((number, rest))
}

/// A directory of the guests' own, because cargo holds a lock on the one that it builds the host in. All guests and profiles
/// of the host share it: beside `target/debug` and `target/release`, four levels above `OUT_DIR`.
fn target_directory(out: &Path) -> PathBuf {
    let shared = out.ancestors().nth(4).filter(|target| target.join("CACHEDIR.TAG").is_file());
    shared.unwrap_or(out).join("guest")
}

fn cargo(
    workspace: &Path,
    package: &str,
    target_directory: &Path,
    offline: bool,
) -> Result<bool, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--package", package, "--target", TARGET, "--profile", "guest"])
        .arg("--target-dir")
        .arg(target_directory);
    if offline {
        cargo.arg("--offline");
    }
    // What is set for the host's build must not change the guest's bytes.
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        let foreign = [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_LINKER",
        ];
        let foreign = foreign.contains(&name.as_ref())
            || ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_FEATURE_", "CARGO_CFG_", "CARGO_TARGET_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
        if foreign {
            cargo.env_remove(&variable);
        }
    }
    Ok(cargo.status()?.success())
}
