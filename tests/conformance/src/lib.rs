//! Runs vectors against Symbolon's own crates: what the runner does, for tests that want more of it.

mod authority;
mod cache;
mod categories;
mod certificates;
mod checks;
mod events;
mod host;
mod input;
mod ordered;
mod rules;
mod runtime;
mod server;
mod sources;
mod vault;
mod vectors;
mod world;

pub use checks::Verdict;
pub use host::{Host, drive_acquisitions};

/// A vector's name, and what came of it.
pub type Outcome = (String, Verdict);

/// Runs the vectors of all files, which are read first, so that a broken file is found at once.
///
/// # Errors
///
/// A file that can't be read as vectors.
pub fn run(files: &[String]) -> anyhow::Result<Vec<Outcome>> {
    let mut vectors = Vec::new();
    for file in files {
        vectors.extend(vectors::read(file)?);
    }
    Ok(vectors.iter().map(|vector| (vector.id.clone(), categories::run(vector))).collect())
}

/// The rules by which Symbolon deviates, as lines of a table.
pub fn rules() -> Vec<String> {
    rules::table()
}
