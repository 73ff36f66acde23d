//! The example does what it says.

#![allow(clippy::expect_used, reason = "that is how a test fails")]

use std::process::Command;

#[test]
fn the_api_sees_the_certificate_and_no_token() {
    let output = Command::new(env!("CARGO_BIN_EXE_symbolon-example-mtls-only")).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    let (status, seen) = printed.split_once('\n').expect("two lines");
    assert_eq!(status, "200 OK");
    let seen: serde_json::Value = serde_json::from_str(seen).expect("JSON");
    assert_eq!(seen["path"], "/orders/1");
    assert!(seen["clientCertificate"]["x5t#S256"].is_string(), "{seen}");
    assert!(seen["authorizationScheme"].is_null(), "{seen}");
}
