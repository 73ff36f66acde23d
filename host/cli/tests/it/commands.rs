//! The other commands: `demo`, `emulator`, `check`, `component`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::site::{SCOPE, Site, command, run};

#[test]
fn the_demo_is_ok_in_every_row() {
    const LOGIN: &str = "login.microsoftonline.com";
    const MTLS: &str = "mtlsauth.microsoft.com";
    let rows = run(command().args(["demo", "--json"])).json();
    let shape = |row: &Value| {
        assert_eq!(row.as_object().unwrap().len(), 9, "{row}");
        assert_eq!(row["ok"], true, "{row}");
        assert!(row["coldMicros"].as_u64() > Some(0) && row["cachedNanos"].as_u64() > Some(0), "{row}");
        // A call with the certificate alone has no token, and no type of one.
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let certificate = if row["certificatePresented"].as_bool().unwrap() { "certificate" } else { "-" };
        let [flow, transport, host, kind] = ["flow", "transport", "endpointHost", "tokenType"].map(text);
        format!("{flow} {transport} {host} {certificate} {kind} {}", row["requests"])
    };
    let mut expected = vec![
        format!("for-client secret {LOGIN} - Bearer 1"),
        format!("for-client assertion {LOGIN} - Bearer 1"),
        format!("for-client assertion {LOGIN} - Bearer 1"),
        format!("for-client certificate-over-mtls {MTLS} certificate Bearer 1"),
        format!("for-client certificate-over-mtls westus2.{MTLS} certificate Bearer 1"),
        format!("for-client mtls-pop {MTLS} certificate mtls_pop 1"),
    ];
    for (flow, requests) in [
        ("on-behalf-of", 1),
        ("long-running", 1),
        ("by-refresh-token", 1),
        ("silent", 1),
        ("by-authorization-code", 1),
        ("by-username-password", 1),
        ("by-user-federated-identity-credential", 1),
        ("for-agent", 2),
        ("for-agent", 3),
        ("for-agent", 2),
    ] {
        expected.push(format!("{flow} assertion {LOGIN} - Bearer {requests}"));
        expected.push(format!("{flow} certificate-over-mtls {MTLS} certificate Bearer {requests}"));
    }
    // Two requests before it bring the certificate.
    expected.push(format!("for-managed-identity mtls-pop westus2.{MTLS} certificate mtls_pop 3"));
    for row in ["secret - Bearer 1", "mtls-pop certificate mtls_pop 1", "mtls-only certificate - 0"] {
        let (transport, rest) = row.split_once(' ').unwrap();
        expected.push(format!("downstream-api {transport} api.contoso.test {rest}"));
    }
    assert_eq!(rows.as_array().unwrap().iter().map(shape).collect::<Vec<_>>(), expected);
}

#[test]
fn the_demo_prints_what_the_authority_saw() {
    let text = run(command().arg("demo")).ok();
    let rows = text.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(rows, 30, "{text}");
    for words in [
        "client_secret=(redacted)",
        "client certificate ",
        "no client certificate",
        "x5c)",
        "POST https://",
        "(app-only)",
        "(user)",
        "(as the agent)",
        "password=(redacted)",
        "refresh_token=(redacted)",
        "client-assertion-type:jwt-pop client_assertion=(alg ",
        "API: GET /orders/1 HTTP/2, a Bearer token, no client certificate: 200",
        "API: GET /orders/1 HTTP/2, a mtls_pop token bound to ",
        "API: GET /orders/1 HTTP/2, no token, client certificate ",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
}

/// Ends the emulator when the test ends, whichever way.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn the_emulator_serves_until_it_is_terminated() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = command();
    // A relative directory, to see that the configurations work from elsewhere.
    child.current_dir(directory.path()).args([
        "emulator",
        "--listen",
        "127.0.0.1:0",
        "--data",
        "data",
        "--json",
    ]);
    let mut emulator = Emulator(child.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(emulator.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();

    let path = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(fs::read_to_string(path(&ready["caPath"])).unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(ready["connectTo"]["*.mtlsauth.microsoft.com"], ready["address"]);
    assert!(ready["controlAddress"].is_string());
    assert!(ready["clientIds"].as_array().unwrap().contains(&"11111111-0000-4000-8000-000000000001".into()));
    for (configuration, scheme) in [("secret", "bearer"), ("bound", "mtls-pop")] {
        let file = path(&ready["configurations"][configuration]);
        run(command().args(["token", "--config", &file, "--scope", SCOPE, "--scheme", scheme])).ok();
    }
    let file = path(&ready["configurations"]["web-api"]);
    let mut on_behalf_of = command();
    on_behalf_of.args(["token", "--config", &file, "--scope", SCOPE, "--flow", "on-behalf-of"]);
    let assertion = path(&ready["userAssertions"]["alice"]);
    run(on_behalf_of.args(["--user-assertion-file", &assertion])).ok();
    assert!(ready["userAssertions"]["bob-blueprint-bound"].is_string(), "{ready}");

    let pid = emulator.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(emulator.0.wait().unwrap().success());
}

#[test]
fn an_address_that_is_taken_is_a_usage_error() {
    let site = Site::start();
    let address = site.authority.address().to_string();
    let text = site.run(&["emulator", "--listen", &address]).failed(2);
    assert!(text.contains(&address), "{text}");
}

#[test]
fn a_check_reports_and_contacts_nothing() {
    let site = Site::start();
    let configuration = site.edited("mtls", |json| {
        json["Symbolon"]["BoundFlows"] = json!(["for-agent"]);
        let broken = json!({ "SourceType": "Path", "CertificateDiskPath": "nowhere.pem" });
        json["AzureAd"]["ClientCredentials"].as_array_mut().unwrap().insert(0, broken);
        json["AzureAd"]["Unheard"] = "of".into();
    });
    let configuration = configuration.to_str().unwrap();
    let report = site.run(&["check", "--config", configuration, "--json"]).json();
    let [broken, good] = report["credentials"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&broken["usable"], &broken["selected"]), (&false.into(), &false.into()));
    assert!(broken["problem"].as_str().unwrap().contains("found no file"));
    assert_eq!(
        (&good["usable"], &good["selected"], &good["useBoundCredential"]),
        (&true.into(), &true.into(), &true.into())
    );
    assert!(good["certificate"]["x5t#S256"].is_string() && good["certificate"]["notAfter"].is_string());
    assert!(
        report["tokenEndpoints"]["bound"]["url"]
            .as_str()
            .unwrap()
            .starts_with("https://mtlsauth.microsoft.com/")
    );
    assert_eq!(report["boundFlows"], json!(["for-agent"]));
    let address = site.authority.address().to_string();
    assert_eq!(report["connectTo"]["*.mtlsauth.microsoft.com"], address);
    assert!(report["warnings"][0].as_str().unwrap().contains("AzureAd:Unheard"));
    assert_eq!(report["online"], Value::Null);
    assert!(site.authority.log().is_empty() && site.authority.stats().tcp_connections == 0);

    let text = site.run(&["check", "--config", configuration, "--online"]).ok();
    assert!(text.contains("online: a Bearer token from https://mtlsauth.microsoft.com/"), "{text}");
    assert_eq!(site.authority.log().len(), 1);
}

#[test]
fn a_check_without_a_usable_credential_fails() {
    let site = Site::start();
    let configuration = site.configuration("expired-certificate");
    let ran = site.run(&["check", "--config", configuration.to_str().unwrap()]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(
        ran.stdout.contains("NOT usable") && ran.stderr.contains("no client credential can be used"),
        "{ran:?}"
    );
}

#[test]
fn a_check_that_goes_online_ends_as_the_request_does() {
    let site = Site::start();
    let configuration = site.configuration("expired-secret");
    let ran = site.run(&["check", "--config", configuration.to_str().unwrap(), "--online", "--json"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["online"]["ok"], false);
    assert!(report["online"]["error"].as_str().unwrap().contains("7000222"), "{report}");
}

#[test]
fn the_component_can_be_taken_out() {
    let directory = tempfile::tempdir().unwrap();
    let (file, wit) = (directory.path().join("symbolon.wasm"), directory.path().join("wit"));
    let mut component = command();
    component.args(["component", "--digest", "--output"]).arg(&file).arg("--wit").arg(&wit);
    let line = run(&mut component).ok();
    let bytes = fs::read(&file).unwrap();
    // The preamble of a component: magic, version 13, layer 1.
    assert_eq!(bytes[..8], [0, b'a', b's', b'm', 13, 0, 1, 0]);
    let digest = symbolon_resources::digest::sha256_hex(&bytes);
    assert!(line == format!("{digest} source\n") || line == format!("{digest} committed\n"), "{line}");
    let bill: Value = serde_json::from_str(&run(command().args(["component", "--sbom", "-"])).ok()).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], digest);
    assert!(fs::read_to_string(wit.join("token/world.wit")).unwrap().contains("world token-acquisition"));
    assert!(wit.join("deps/http/types.wit").exists());
}
