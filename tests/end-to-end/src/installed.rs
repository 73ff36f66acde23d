//! What `.ci/run` installs for tests.

use std::path::PathBuf;

use crate::guests;

/// Where `.ci/run` installed something. `None` where it didn't: the test is skipped, and has said so.
///
/// # Panics
///
/// In CI, where it isn't there.
pub fn installed(file: &str, what: &str) -> Option<PathBuf> {
    let file = guests::target_directory().join(file);
    if file.exists() {
        return Some(file);
    }
    let needed = format!("skipped: needs {what} ({}), which .ci/run installs", file.display());
    assert!(std::env::var_os("CI").is_none(), "{needed}");
    println!("{needed}");
    None
}
