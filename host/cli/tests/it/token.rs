//! `symbolon token` against a local authority, over real TLS.

use std::fs;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::site::{CANARY, SCOPE, Site, command, run};

/// The payload of an access token.
fn payload(token: &str) -> Value {
    let encoded = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}

#[test]
fn every_kind_of_credential_gets_a_token() {
    let site = Site::start();
    for (configuration, scheme, token_type, host, certificate_presented) in [
        ("secret", "bearer", "Bearer", "login.microsoftonline.com", false),
        ("certificate", "bearer", "Bearer", "login.microsoftonline.com", false),
        ("certificate-pfx", "bearer", "Bearer", "login.microsoftonline.com", false),
        ("subject-name", "bearer", "Bearer", "login.microsoftonline.com", false),
        ("mtls", "bearer", "Bearer", "mtlsauth.microsoft.com", true),
        ("bound", "mtls-pop", "mtls_pop", "mtlsauth.microsoft.com", true),
        ("strict", "bearer", "Bearer", "login.microsoftonline.com", false),
        ("strict", "mtls-pop", "mtls_pop", "mtlsauth.microsoft.com", true),
    ] {
        let arguments = ["--scheme", scheme, "--output", "json"];
        let token = site.token(&site.configuration(configuration), &arguments).json();
        assert_eq!(token["tokenType"], token_type, "{configuration}");
        let endpoint = format!("https://{host}/aaaabbbb-0000-cccc-1111-dddd2222eeee/oauth2/v2.0/token");
        assert_eq!(token["metadata"]["tokenEndpoint"], endpoint, "{configuration}");

        let seen = site.authority.log().pop().unwrap();
        assert_eq!((seen.host.as_str(), seen.status), (host, Some(200)), "{configuration}");
        assert_eq!(seen.client_certificate.is_some(), certificate_presented, "{configuration}");

        let claims = payload(token["accessToken"].as_str().unwrap());
        // The answer says how many seconds are left, and they are counted from when it was asked.
        let (expires, said) = (claims["exp"].as_u64().unwrap(), token["expiresOn"].as_u64().unwrap());
        assert!(expires.abs_diff(said) < 30, "{configuration}: {said}, not {expires}");
        let bound_to = &token["bindingCertificate"]["x5t#S256"];
        assert_eq!(&claims["cnf"]["x5t#S256"], bound_to, "{configuration}");
        assert_eq!(bound_to.is_string(), scheme == "mtls-pop", "{configuration}");
    }
}

#[test]
fn a_base64_encoded_certificate_in_a_region_of_another_cloud() {
    let site = Site::start();
    let pem = fs::read(site.path("client.pem")).unwrap();
    let configuration = site.edited("strict", |json| {
        json["AzureAd"]["Instance"] = "https://login.microsoftonline.us".into();
        json["AzureAd"]["AzureRegion"] = "usgovvirginia".into();
        json["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "Base64Encoded", "Base64EncodedValue": BASE64_STANDARD.encode(pem), "UseBoundCredential": true,
        }]);
    });
    let token = site.token(&configuration, &["--output", "json"]).json();
    assert_eq!(token["metadata"]["regionUsed"], "usgovvirginia");
    assert_eq!(site.authority.log().pop().unwrap().host, "usgovvirginia.mtlsauth.microsoftonline.us");
}

#[test]
fn the_environment_overrides_the_file() {
    let site = Site::start();
    let right = crate::site::read_json(&site.configuration("secret"));
    let secret = right["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().unwrap();
    let configuration = site.edited("secret", |json| {
        json["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = CANARY.into();
    });
    site.token(&configuration, &[]).failed(3);
    let mut command = command();
    command.env("AzureAd__ClientCredentials__0__ClientSecret", secret);
    command.args(["token", "--scope", SCOPE, "--config"]).arg(configuration);
    run(&mut command).ok();
}

#[test]
fn the_json_has_exactly_these_members() {
    let site = Site::start();
    let id = "3a8b1f5e-2f6c-4a0e-9a53-0f5c7d8e9b10";
    let arguments = ["--output", "json", "--correlation-id", id];
    let mut token = site.token(&site.configuration("secret"), &arguments).json();
    for (pointer, accepted) in [
        ("/accessToken", Value::is_string as fn(&Value) -> bool),
        ("/expiresOn", Value::is_u64),
        ("/metadata/durationTotalMs", Value::is_u64),
        ("/metadata/durationInHttpMs", Value::is_u64),
    ] {
        let value = token.pointer_mut(pointer).unwrap();
        assert!(accepted(value), "{pointer}: {value}");
        *value = "varies".into();
    }
    let expected = json!({
        "accessToken": "varies",
        "tokenType": "Bearer",
        "expiresOn": "varies",
        "scopes": [SCOPE],
        "tenantId": "aaaabbbb-0000-cccc-1111-dddd2222eeee",
        "correlationId": id,
        "account": null,
        "longRunningSessionKey": null,
        "bindingCertificate": null,
        "metadata": {
            "tokenSource": "identityProvider",
            "tokenEndpoint": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/oauth2/v2.0/token",
            "cacheRefreshReason": "noCachedAccessToken",
            "regionUsed": null,
            "durationTotalMs": "varies",
            "durationInHttpMs": "varies",
        },
    });
    assert_eq!(token, expected);
    assert_eq!(site.authority.log().pop().unwrap().header("client-request-id"), Some(id));
}

#[test]
fn prints_the_token_or_the_header_alone() {
    let site = Site::start();
    let configuration = site.configuration("secret");
    let token = site.token(&configuration, &[]).ok();
    assert_eq!(token.lines().count(), 1);
    assert_eq!(payload(&token)["appid"], "11111111-0000-4000-8000-000000000001");
    let header = site.token(&configuration, &["--output", "header"]).ok();
    assert_eq!(header.lines().count(), 1);
    assert!(header.starts_with("Bearer ey"), "{header}");
}

#[test]
fn flags_change_the_request() {
    let site = Site::start();
    let arguments = [
        "--fmi-path",
        "agents/a",
        "--tenant",
        "fabrikam.onmicrosoft.com",
        "--claims",
        r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#,
    ];
    site.token(&site.configuration("strict"), &arguments).ok();
    let seen = site.authority.log().pop().unwrap();
    assert_eq!(seen.tenant.as_deref(), Some("fabrikam.onmicrosoft.com"));
    assert_eq!(seen.form_text("fmi_path"), Some("agents/a"));
    assert!(seen.form_text("claims").unwrap().contains("nbf"));
}

#[test]
fn steps_share_a_cache_and_go_on_after_a_failure() {
    let site = Site::start();
    let steps = site.path("steps.json");
    let text = format!(
        r#"[{{"scope": "{SCOPE}"}}, {{"scope": ["https://graph.microsoft.com/User.Read"]}}, {{}}, {{"forceRefresh": true}}]"#
    );
    fs::write(&steps, text).unwrap();
    let ran = site.token(&site.configuration("secret"), &["--steps", steps.to_str().unwrap()]);
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["metadata"]["tokenSource"], "identityProvider");
    assert_eq!(lines[1]["error"]["aadstsCodes"], json!([1002012]));
    assert_eq!(lines[1]["error"]["exitStatus"], 3);
    assert_eq!(lines[2]["metadata"]["tokenSource"], "cache");
    assert_eq!(lines[2]["accessToken"], lines[0]["accessToken"]);
    assert_eq!(lines[3]["metadata"]["cacheRefreshReason"], "forceRefreshOrClaims");
    assert_eq!((lines.len(), site.authority.log().len()), (4, 3));
}

#[test]
fn concurrent_repetitions_are_one_request() {
    let site = Site::start();
    let arguments = ["--repeat", "200", "--concurrency", "50", "--output", "json"];
    let ran = site.token(&site.configuration("secret"), &arguments);
    let summary: Value = serde_json::from_str(&ran.stderr).unwrap();
    let token = ran.json();
    assert_eq!(token["tokenType"], "Bearer");
    let summary = &summary["summary"];
    assert_eq!((&summary["count"], &summary["succeeded"]), (&200.into(), &200.into()));
    assert_eq!(summary["failed"], json!({}));
    assert!(summary["latencyMicros"]["p50"].as_f64() <= summary["latencyMicros"]["p99"].as_f64());
    assert_eq!(site.authority.log().len(), 1);
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    let site = Site::start();
    let mut child = command()
        .args(["token", "--scope", SCOPE, "--config"])
        .arg(site.configuration("secret"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn logs_of_every_level_hold_no_secret_and_no_token() {
    let site = Site::start();
    for (configuration, scheme) in [("secret", "bearer"), ("subject-name", "bearer"), ("bound", "mtls-pop")] {
        let ran = site.token(&site.configuration(configuration), &["--log", "trace", "--scheme", scheme]);
        assert!(ran.stderr.contains("TRACE"), "{}", ran.stderr);
        let signature = ran.stdout.trim().rsplit('.').next().unwrap();
        assert!(signature.len() > 80 && !ran.stderr.contains(signature));
        assert!(!ran.stderr.contains("client_assertion=ey"));
        ran.ok();
    }
}
