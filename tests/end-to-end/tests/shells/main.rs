//! The shells for WASI 0.2 and for 0.3 ask for the same, byte by byte, and it is what the protocol core asks for: every
//! acquisition of every vector is run three times, each time with the same time, the same seed and the same answers.

#![expect(clippy::expect_used, reason = "that is how a test fails")]

mod engine;
mod host;
mod words;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use symbolon::Component;
use symbolon_conformance::Host;
use symbolon_end_to_end::{guests, workspace};
use symbolon_protocol::error::Error;
use symbolon_protocol::request::{AccessToken, Context, Request};
use symbolon_protocol::token_request::HttpRequest;

use crate::host::Shell;

/// The two, compiled.
static SHELLS: OnceLock<[Shell; 2]> = OnceLock::new();

/// How many acquisitions were compared, and in what they differed.
static SEEN: Mutex<(usize, Vec<String>)> = Mutex::new((0, Vec::new()));

#[test]
fn both_shells_ask_for_what_the_core_asks_for() {
    let Some(newer) = guests::component("symbolon-guest-p3") else { return };
    let shells = [Shell::of_wasi_0_2(Component.bytes()), Shell::of_wasi_0_3(&newer)];
    assert!(SHELLS.set(shells.map(|shell| shell.expect("a shell"))).is_ok());
    symbolon_conformance::drive_acquisitions(compare);

    let vectors = workspace("tests/conformance/vectors");
    let files = std::fs::read_dir(vectors).expect("vectors").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.map(|file| file.display().to_string()).collect();
    files.sort();
    let outcomes = symbolon_conformance::run(&files).expect("vectors");
    let failed: Vec<_> = outcomes.iter().filter(|(_, verdict)| verdict.word() == "FAIL").collect();
    assert!(failed.is_empty(), "{:?}", failed.iter().map(|(id, _)| id).collect::<Vec<_>>());

    let (compared, differences) = std::mem::take(&mut *SEEN.lock().expect("no panic"));
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > 300, "only {compared} acquisitions were compared");
}

/// Runs an acquisition on the core and through both shells, each on a copy of the host as it was.
fn compare(
    host: &mut Host,
    request: &Request,
    context: &Context,
) -> anyhow::Result<Result<AccessToken, Error>> {
    let before = host.clone();
    let result = host.run(request, context)?;
    let seen = before.requests().len();
    let expected = written(&host.requests()[seen..]);
    let mut differences = Vec::new();
    for shell in SHELLS.get().expect("the shells") {
        match shell.acquire(before.clone(), request, context) {
            Ok((after, token)) => {
                if written(&after.requests()[seen..]) != expected {
                    let found = written(&after.requests()[seen..]);
                    differences.push(format!("{}: found {found:#?}\nexpected {expected:#?}", shell.name));
                }
                if after.delays() != host.delays() {
                    differences.push(format!("{}: waited {:?}", shell.name, after.delays()));
                }
                let expected =
                    result.as_ref().map(|token| token.token.as_str()).map_err(|error| error.code.as_str());
                if token.as_deref().map_err(String::as_str) != expected {
                    differences.push(format!("{}: found {token:?}, expected {expected:?}", shell.name));
                }
            }
            Err(error) => differences.push(format!("{}: {error:#}", shell.name)),
        }
    }
    let mut seen = SEEN.lock().expect("no panic");
    seen.0 += 1;
    seen.1.append(&mut differences);
    Ok(result)
}

/// Requests as they are on the wire, where the names of headers have neither case nor order.
fn written(requests: &[HttpRequest]) -> Vec<String> {
    let written = |request: &HttpRequest| {
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in &request.headers {
            headers.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
        let HttpRequest { method, scheme, authority, path_with_query, body, presentation, .. } = request;
        let limits = (request.connect_timeout_ms, request.answer_timeout_ms);
        format!(
            "{method:?} {scheme:?} {authority} {path_with_query} {headers:?} {presentation:?} {limits:?}\n{body}"
        )
    };
    requests.iter().map(written).collect()
}
