//! `--trace FILE`: what was done, in a file, whether it worked or not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "the process under test lives by the machine's time")]
#![allow(dead_code, reason = "the site is shared with the other tests of the binary, which need more of it")]

#[cfg(unix)]
mod serve;
#[cfg(unix)]
#[path = "../serve/server.rs"]
mod server;
#[path = "../it/site.rs"]
mod site;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::site::{Site, command, read_json, run};

/// The kinds of the steps of all acquisitions.
fn kinds(trace: &Value) -> Vec<String> {
    let acquisitions = trace["acquisitions"].as_array().unwrap();
    let steps = acquisitions.iter().flat_map(|acquisition| acquisition["steps"].as_array().unwrap());
    steps.map(|step| step["kind"].as_str().unwrap().to_owned()).collect()
}

fn trace(directory: &Path, name: &str) -> (String, String) {
    let file = directory.join(name).to_str().unwrap().to_owned();
    (file.clone(), file)
}

#[test]
fn a_token_leaves_a_trace() {
    let (site, directory) = (Site::start(), tempfile::tempdir().unwrap());
    let (file, argument) = trace(directory.path(), "trace.json");
    let token = site.token(&site.configuration("certificate"), &["--trace", &argument]).ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(token.trim()) && !text.contains("eyJ"), "a token is in the trace");
    let kinds = kinds(&read_json(Path::new(&file)));
    for kind in ["began", "assertion-made", "request-sent", "request-ended", "ended"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind} is not among {kinds:?}");
    }

    let (file, argument) = trace(directory.path(), "trace.html");
    site.token(&site.configuration("secret"), &["--trace", &argument]).ok();
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg") && page.ends_with("</html>\n"));
    let settings = read_json(&site.configuration("secret"));
    let secret = settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().unwrap();
    assert!(!page.contains(secret), "the secret is in the trace");
}

#[test]
fn a_failure_leaves_one_too() {
    let (site, directory) = (Site::start(), tempfile::tempdir().unwrap());
    let (file, argument) = trace(directory.path(), "trace.json");
    let configuration = site.edited("secret", |json| json["AzureAd"]["TenantId"] = "nobody.test".into());
    site.token(&configuration, &["--trace", &argument]).failed(3);
    let trace = read_json(Path::new(&file));
    assert!(kinds(&trace).contains(&"request-ended".to_owned()), "{trace:#}");
    assert!(trace.to_string().contains("invalid"), "{trace:#}");
}

#[test]
fn another_form_and_a_place_that_is_none_are_errors() {
    let (site, directory) = (Site::start(), tempfile::tempdir().unwrap());
    let (_, argument) = trace(directory.path(), "trace.txt");
    let message = site.token(&site.configuration("secret"), &["--trace", &argument]).failed(2);
    assert!(message.contains("trace.txt; accepted: a name that ends in .html or .json"), "{message}");
    assert!(site.authority.log().is_empty(), "it is said before anything is sent");
    let nowhere = directory.path().join("none/trace.json");
    let ran = site.token(&site.configuration("secret"), &["--trace", nowhere.to_str().unwrap()]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("trace.json"), "{}", ran.stderr);
}

#[test]
fn the_demo_leaves_one_for_each_row() {
    let directory = tempfile::tempdir().unwrap();
    let (file, argument) = trace(directory.path(), "trace.json");
    let rows = run(command().args(["demo", "--json", "--trace", &argument])).json();
    let trace = read_json(Path::new(&file));
    let flows = |value: &Value, of: &str| -> Vec<String> {
        value.as_array().unwrap().iter().map(|it| it[of].as_str().unwrap().to_owned()).collect()
    };
    let traced = flows(&trace["acquisitions"], "flow");
    let known = ["for-client", "on-behalf-of", "for-agent", "downstream-api", "silent"];
    let shown = flows(&rows, "flow");
    for flow in known {
        assert!(
            shown.iter().any(|it| it == flow) && traced.iter().any(|it| it == flow),
            "{flow}: {traced:?}"
        );
    }
    assert!(!fs::read_to_string(&file).unwrap().contains("eyJ"), "a token is in the trace");
}
