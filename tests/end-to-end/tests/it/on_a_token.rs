//! Private keys in a token of PKCS#11: what works with keys in the host works with keys that never leave their token. Needs
//! SoftHSM (`softhsm2` in Debian).

use std::process::Command;

use symbolon_end_to_end::World;
use symbolon_end_to_end::keys::{Keys, PIN, TOKEN, softhsm};
use tempfile::TempDir;

use crate::client_credentials;

#[test]
fn assertions_are_signed_on_the_token() {
    in_a_process_with_tokens("on_a_token::assertions_are_signed_on_the_token", async |world| {
        client_credentials::certificate(&world).await;
        client_credentials::subject_name_and_issuer(&world).await;
    });
}

#[test]
fn handshakes_are_completed_on_the_token() {
    in_a_process_with_tokens("on_a_token::handshakes_are_completed_on_the_token", async |world| {
        client_credentials::mutual_tls(&world).await;
        client_credentials::proof_of_possession(&world).await;
        client_credentials::strict(&world).await;
    });
}

/// The library reads from the environment, once, where its tokens are. So each test is a process of its own, with a
/// directory of tokens of its own.
fn in_a_process_with_tokens(name: &str, test: impl AsyncFnOnce(World)) {
    if softhsm().is_none() {
        assert!(std::env::var_os("CI").is_none(), "SoftHSM isn't installed");
        eprintln!("skipped: needs SoftHSM (softhsm2 in Debian)");
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(async { test(World::start().await.with_keys(Keys::Token)).await });
    }
    let directory = TempDir::new().expect("a directory");
    let tokens = directory.path().join("tokens");
    std::fs::create_dir(&tokens).expect("a directory of tokens");
    let configuration = directory.path().join("softhsm2.conf");
    std::fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).expect("a file");
    let initialized = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "5678"])
        .env("SOFTHSM2_CONF", &configuration)
        .output()
        .expect("softhsm2-util");
    assert!(initialized.status.success(), "{initialized:?}");
    let status = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", name, "--nocapture"])
        .env("SOFTHSM2_CONF", &configuration)
        .env(INSIDE, "1")
        .status()
        .expect("this binary again");
    assert!(status.success());
}

const INSIDE: &str = "SYMBOLON_TEST_TOKENS";
