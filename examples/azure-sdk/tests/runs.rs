//! The example does what it says.

#![allow(clippy::expect_used, reason = "that is how a test fails")]

use std::process::Command;

#[test]
fn the_sdk_reads_a_secret() {
    let output = Command::new(env!("CARGO_BIN_EXE_symbolon-example-azure-sdk")).output().expect("it starts");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("the SDK read:       Hello from the vault\n"), "{printed}");
    let presented = |line: &&str| {
        line.contains("https://mtlsauth.microsoft.com/") && line.ends_with("with a certificate")
    };
    assert_eq!(printed.lines().filter(presented).count(), 1, "{printed}");
}
