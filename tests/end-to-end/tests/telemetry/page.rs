//! The page in a browser.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use symbolon::{AgentIdentity, ApplicationOptions};
use symbolon_authority::{Fault, FaultRule, RetryAfter, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, VAULT, World, workspace};

use crate::traces::traced;

/// Chromium draws the page: its script runs under its policy, every step has its row, and nothing is asked for beside it.
/// `docs/trace.png` is what it looks like; `SYMBOLON_WRITE_DOCS=1` writes it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_drawn_without_anything_else() {
    let Some(chromium) = chromium() else { return };
    let html = page().await;
    for foreign in ["http-equiv=\"refresh\"", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(foreign), "the page needs {foreign}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace.html");
    fs::write(&file, &html).expect("the page");

    let dom = run(&chromium, directory.path(), &file, &["--dump-dom"]);
    let rows = dom.matches("class=\"label\"").count() + dom.matches("class=\"note").count();
    assert!(rows > 30, "{rows} rows");
    let buttons = dom.matches("<button").count();
    assert_eq!(dom.matches("title=\"Copies the request\"").count(), buttons, "the script didn't run");
    assert!(buttons >= 4, "{buttons} requests to copy");
    // What an authority may say is text and nothing else.
    assert!(!dom.contains("<img"), "a part of the page comes from elsewhere");

    let picture = directory.path().join("trace.png");
    let screenshot = format!("--screenshot={}", picture.display());
    run(&chromium, directory.path(), &file, &[&screenshot, "--window-size=1420,1500"]);
    let picture = fs::read(&picture).expect("a picture");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{} bytes", picture.len());
    if std::env::var_os("SYMBOLON_WRITE_DOCS").is_some() {
        fs::write(workspace("docs/trace.png"), picture).expect("docs/trace.png");
    }
}

/// Some of everything.
async fn page() -> String {
    let (world, (symbolon, log)) = (World::start().await, traced());
    let api = world.api(of_tokens()).await;
    let mut settings = world.settings("bound");
    let missing = json!({ "SourceType": "Path", "CertificateDiskPath": "daemon.pem" });
    let credentials = settings["AzureAd"]["ClientCredentials"].as_array_mut().expect("credentials");
    credentials.insert(0, missing);
    fs::write(world.path("appsettings.json"), settings.to_string()).expect("a configuration");
    let options = ApplicationOptions::from_file(world.path("appsettings.json")).expect("options");
    let bound = symbolon.application(options).expect("an application");
    bound.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await.expect("a token");
    let orders = world.calling(&symbolon, "secret", &api, json!({}));
    orders.get("orders/1").send().await.expect("an answer");
    let application = world.application(&symbolon, "blueprint");
    let agent = AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE);
    application.acquire_token_for_agent(agent, [GRAPH]).await.expect("a token");
    let pause = Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(7)), body: None };
    world.authority.faults().add(FaultRule::once(pause));
    application.acquire_token_for_client([VAULT]).await.expect_err("a pause");
    application.acquire_token_for_client(["<img alt=x>/.default"]).await.expect_err("no such scope");
    // Where the test's files are is nobody's business in the documentation.
    log.trace().to_html().replace(&*world.path("").to_string_lossy(), "")
}

fn run(chromium: &str, directory: &Path, page: &Path, arguments: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", directory.join("profile").display());
    let mut command = Command::new(chromium);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &profile]);
    // No name is found: what isn't in the page isn't there.
    command.args([
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--force-color-profile=srgb",
        "--disable-dev-shm-usage",
    ]);
    command.args(arguments).arg(format!("file://{}", page.display())).stderr(Stdio::null());
    let output = tokio::task::block_in_place(|| command.output()).expect("chromium runs");
    assert!(output.status.success(), "chromium ended with {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The browser, where it is installed. Without it the test is skipped, except in CI.
fn chromium() -> Option<String> {
    let is_there = |program: &&str| {
        let version =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let program = ["chromium", "chromium-browser"].into_iter().find(is_there);
    if program.is_none() {
        let needed = "skipped: needs chromium, which .ci/run installs";
        assert!(std::env::var_os("CI").is_none(), "{needed}");
        println!("{needed}");
    }
    program.map(str::to_owned)
}
