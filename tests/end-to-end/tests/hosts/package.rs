//! The example packages for other languages: put together in the target directory and tested by their own commands.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon_end_to_end::{World, guests, workspace};

pub(crate) use symbolon_end_to_end::installed::installed;

/// A copy of a package with the core in it, and an authority for its tests.
pub(crate) struct Package {
    pub(crate) directory: PathBuf,
    pub(crate) world: World,
}

impl Package {
    /// The package in that directory of the examples. `core` is where it has the component. `None` where that can't be built.
    pub(crate) async fn assemble(example: &str, core: &str) -> Option<Self> {
        let component = guests::component("symbolon-core")?;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(example);
        let _ = fs::remove_dir_all(&directory);
        copy(&guests::workspace().join("examples").join(example), &directory);
        fs::write(directory.join(core), component).expect("the component is written");
        Some(Self { directory, world: World::start().await })
    }

    /// Runs a command of the package, which must succeed: what it writes.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env("SYMBOLON_AUTHORITY", self.world.path(""))
            .env("SYMBOLON_VECTORS", workspace("tests/conformance/vectors"))
            .env("NODE_EXTRA_CA_CERTS", self.world.path("ca.pem"))
            .env("SSL_CERT_FILE", self.world.path("ca.pem"))
            .env("PYTHONPATH", "src:tests")
            .env_remove("REGION_NAME");
        let output = tokio::task::block_in_place(|| command.output()).expect("the command starts");
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }
}

/// Copies the sources of a package; what was built beside them stays there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("the package") {
        let (source, target) =
            entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("a file of the package");
        if BUILT.iter().any(|built| source.ends_with(built)) {
            continue;
        }
        match source.is_dir() {
            true => copy(&source, &target),
            false => drop(fs::copy(&source, &target).expect("a copy")),
        }
    }
}

const BUILT: [&str; 5] = ["build", "core", "dist", "dist-tests", "node_modules"];
