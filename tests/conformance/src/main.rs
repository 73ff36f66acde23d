//! Runs files of acceptance vectors against Symbolon's own crates.
//!
//! A vector says what goes in and what must come out. The runner gives the input to the code that ships, compares every
//! member of the expectation exactly, and prints one line for each vector: `ok`, `FAIL` with what was expected and what
//! was got, `deviates` with the rule that says what Symbolon does instead, or `uncovered` with the reason. An input
//! or an expectation that isn't understood to the last member is never `ok`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

const USAGE: &str = "\
Usage: symbolon-conformance FILE…
       symbolon-conformance --rules

Runs files of acceptance vectors. --rules prints the rules by which Symbolon deviates, as a table.
Exit codes: 0 no vector failed, 1 a vector failed, 2 a file can't be read as vectors.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [] => Err(anyhow::anyhow!("{USAGE}")),
        [flag] if flag == "--help" || flag == "-h" => print(&[USAGE.into()]).map(|()| ExitCode::SUCCESS),
        [flag] if flag == "--rules" => print(&symbolon_conformance::rules()).map(|()| ExitCode::SUCCESS),
        files => run(files),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::from(2)
    })
}

/// Runs the vectors of all files, and prints what came of each.
fn run(files: &[String]) -> anyhow::Result<ExitCode> {
    let outcomes = symbolon_conformance::run(files)?;
    let mut lines: Vec<String> = outcomes.iter().map(|(id, verdict)| verdict.line(id)).collect();
    let count = |word: &str| outcomes.iter().filter(|(_, verdict)| verdict.word() == word).count();
    let failed = count("FAIL");
    lines.push(format!(
        "total {}: {} ok, {} deviates, {} uncovered, {failed} FAIL",
        outcomes.len(),
        count("ok"),
        count("deviates"),
        count("uncovered"),
    ));
    print(&lines)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints lines. A reader that has seen enough is no failure.
fn print(lines: &[String]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
