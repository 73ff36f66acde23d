//! What goes wrong: the exit status, what is said about it, and that no secret is said.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use symbolon_authority::{Fault, FaultRule};

use crate::site::{CANARY, SCOPE, Site, command, run};

/// Each word has to be in the text.
#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[test]
fn another_ca_is_a_tls_error() {
    let (site, other) = (Site::start(), Site::start());
    let trusting = |root: &Path| {
        let root = root.to_owned();
        site.edited("secret", move |json| json["Symbolon"]["TrustedRoots"] = json!([root]))
    };
    let text = site.token(&trusting(&site.path("client-issuer.pem")), &[]).failed(4);
    says(&text, &["login.microsoftonline.com", "certificate is not trusted", "TrustedRoots"]);
    // Another CA of the same name.
    let text = site.token(&trusting(&other.path("ca.pem")), &[]).failed(4);
    says(&text, &["login.microsoftonline.com", "certificate is not trusted"]);
    assert!(site.authority.log().is_empty());
}

#[test]
fn mistakes_in_the_configuration_are_named_before_the_first_request() {
    let site = Site::start();
    let credentials =
        |value: Value| move |json: &mut Value| json["AzureAd"]["ClientCredentials"] = json!([value]);
    type Edit = Box<dyn FnOnce(&mut Value)>;
    let pfx = site.path("client.pfx");
    let expired = site.path("client-expired.pem");
    let cases: Vec<(&str, Edit, &[&str])> = vec![
        (
            "wrong password",
            Box::new(credentials(
                json!({ "SourceType": "Path", "CertificateDiskPath": pfx, "CertificatePassword": CANARY }),
            )),
            &["edited.json", "AzureAd:ClientCredentials:0", "client.pfx", "CertificatePassword"],
        ),
        (
            "missing file",
            Box::new(credentials(json!({ "SourceType": "Path", "CertificateDiskPath": "nowhere.pem" }))),
            &["edited.json", "AzureAd:ClientCredentials:0", "nowhere.pem", "found no file"],
        ),
        (
            "expired certificate",
            Box::new(credentials(json!({ "SourceType": "Path", "CertificateDiskPath": expired }))),
            &["edited.json", "AzureAd:ClientCredentials:0", "expired at", "accepted"],
        ),
        (
            "unknown source",
            Box::new(credentials(json!({ "SourceType": "ClientSecrt", "ClientSecret": CANARY }))),
            &["edited.json", "AzureAd:ClientCredentials:0:SourceType", "ClientSecrt", "ClientSecret", "Path"],
        ),
        (
            "misspelt field",
            Box::new(credentials(json!({ "SourceType": "ClientSecret", "ClientSercet": CANARY }))),
            &["edited.json", "AzureAd:ClientCredentials:0:ClientSercet", "did you mean ClientSecret?"],
        ),
        (
            "misspelt key",
            Box::new(|json| json["AzureAd"]["TenatId"] = "x".into()),
            &["edited.json", "AzureAd:TenatId", "did you mean TenantId?"],
        ),
        (
            "tenant that is none",
            Box::new(|json| json["AzureAd"]["TenantId"] = "not a tenant".into()),
            &["edited.json", "AzureAd:TenantId", "not a tenant", "accepted"],
        ),
        (
            "region that is none",
            Box::new(|json| json["AzureAd"]["AzureRegion"] = "west us".into()),
            &["edited.json", "AzureAd:AzureRegion", "west us", "accepted"],
        ),
        ("no JSON", Box::new(|json| *json = "x".into()), &["edited.json"]),
    ];
    for (name, edit, words) in cases {
        let configuration = site.edited("secret", edit);
        let text = site.token(&configuration, &[]).failed(2);
        assert!(text.starts_with("error: "), "{name}: {text}");
        says(&text, words);
        site.run(&["check", "--config", configuration.to_str().unwrap()]);
    }
    assert!(site.authority.log().is_empty());
}

#[test]
fn a_bound_token_from_a_multi_tenant_authority_is_refused_before_the_first_request() {
    let site = Site::start();
    let configuration = site.edited("bound", |json| json["AzureAd"]["TenantId"] = "common".into());
    let text = site.token(&configuration, &["--scheme", "mtls-pop"]).failed(2);
    says(&text, &["common"]);
    assert!(site.authority.log().is_empty());
}

#[test]
fn usage_errors() {
    let site = Site::start();
    let configuration = site.configuration("secret");
    let configuration = configuration.to_str().unwrap();
    let steps = site.path("steps.json");
    fs::write(&steps, r#"[{"scope": "a/.default", "forseRefresh": true}]"#).unwrap();
    for (arguments, words) in [
        (&["token", "--config", configuration][..], &["scope"][..]),
        (&["token", "--config", "nowhere.json", "--scope", SCOPE], &["nowhere.json", "can't be read"]),
        (
            &["token", "--config", configuration, "--scope", SCOPE, "--section", "Other"],
            &["Other", "no such section"],
        ),
        (
            &["token", "--config", configuration, "--flow", "for-managed-identity", "--tenant", "x"],
            &["--tenant", "for-managed-identity", "--managed-identity-client-id"],
        ),
        (
            &["token", "--config", configuration, "--scope", SCOPE, "--flow", "implicit"],
            &["implicit", "for-client"],
        ),
        (&["token", "--config", configuration, "--scope", SCOPE, "--repeat", "0"], &["--repeat"]),
        (
            &["token", "--config", configuration, "--scope", SCOPE, "--correlation-id", "x"],
            &["--correlation-id"],
        ),
        (
            &["token", "--config", configuration, "--steps", steps.to_str().unwrap()],
            &["steps.json", "[0].forseRefresh", "forceRefresh"],
        ),
        (&["token", "--config", configuration, "--scope", SCOPE, "--log", "=="], &["--log"]),
        (&["nothing"], &["nothing"]),
    ] {
        says(&site.run(arguments).failed(2), words);
    }
    assert!(site.authority.log().is_empty());
}

#[test]
fn a_refusal_is_told_with_what_the_authority_said() {
    let site = Site::start();
    let configuration = site.edited("secret", |json| {
        json["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = CANARY.into();
    });
    let text = site.token(&configuration, &[]).failed(3);
    let trace_id = site.authority.log().pop().unwrap().trace_id.unwrap();
    says(&text, &["AADSTS7000215", "correlation id: ", "HTTP status: 401", "what helps: ", &trace_id]);

    let ran = site.token(&configuration, &["--output", "json"]);
    let error: Value = serde_json::from_str(&ran.failed(3)).unwrap();
    let error = &error["error"];
    assert_eq!((&error["kind"], &error["aadstsCodes"]), (&"invalid-client".into(), &json!([7000215])));
    assert_eq!((&error["httpStatus"], &error["exitStatus"]), (&401.into(), &3.into()));
}

#[test]
fn refusals_of_mutual_tls_name_it() {
    let site = Site::start();
    let unbound = site.edited("certificate", |json| {
        json["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = true.into();
    });
    says(&site.token(&unbound, &[]).failed(3), &["AADSTS51000", "bound-transport-not-enabled"]);
    let mtls = site.configuration("mtls");
    says(
        &site.token(&mtls, &["--scheme", "mtls-pop"]).failed(3),
        &["AADSTS392189", "bound-transport-not-enabled"],
    );
}

#[test]
fn faults_end_in_their_status_and_the_next_call_works() {
    let site = Site::start();
    let configuration = site.configuration("secret");
    let redirect = json!({ "kind": "redirect", "location": "https://login.windows.net/elsewhere" });
    for (fault, expected) in [
        (redirect, 3),
        (json!({ "kind": "largeBody" }), 3),
        (json!({ "kind": "malformedJson" }), 3),
        (json!({ "kind": "missingAccessToken" }), 3),
        (json!({ "kind": "tokenType", "value": "pop" }), 3),
        (json!({ "kind": "status", "status": 429, "retryAfter": { "seconds": 1 } }), 3),
        (json!({ "kind": "resetBeforeHeaders" }), 4),
        (json!({ "kind": "resetInsideBody" }), 4),
    ] {
        let rule: Fault =
            serde_json::from_value(fault.clone()).unwrap_or_else(|error| panic!("{fault}: {error}"));
        site.authority.reset();
        site.authority.faults().add(FaultRule::once(rule).always());
        let text = site.token(&configuration, &[]).failed(expected);
        assert!(text.starts_with("error: "), "{fault}: {text}");
        assert!(
            site.authority.log().iter().all(|entry| entry.host == "login.microsoftonline.com"),
            "{fault}"
        );
        site.authority.faults().clear();
        site.token(&configuration, &[]).ok();
    }
}

#[test]
fn more_acquisitions_than_may_be_under_way_are_refused_alone() {
    let site = Site::start();
    // Long enough for a busy machine to have the limit of 4,096 under way at once.
    site.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 10_000 }).always());
    let arguments = ["--force-refresh", "--repeat", "4200", "--concurrency", "4200", "--output", "json"];
    let ran = site.token(&site.configuration("secret"), &arguments);
    assert_eq!(ran.status, 5, "{}", ran.stderr);
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let error = lines.iter().find(|line| line["error"]["kind"] == "in-flight-limit").unwrap();
    assert_eq!(error["error"]["exitStatus"], 5);
    let summary = &lines.last().unwrap()["summary"];
    assert!(summary["failed"]["in-flight-limit"].as_u64() > Some(0), "{summary}");
    assert!(summary["succeeded"].as_u64() > Some(0), "{summary}");
}

#[test]
fn a_full_disk_is_an_error() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = run(command().args(["component", "--digest"]).stdout(full));
    says(&ran.failed(2), &["standard output can't be written"]);
}
