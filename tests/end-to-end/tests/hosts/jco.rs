//! `jco serve`: the component as JavaScript, on Node.js. An instance serves all requests, so its memory is the cache.

use std::process::Command;

use symbolon_compose::Absent;

use crate::middleware::{Credential, Server, Settings, Stage, free_port, joined};
use crate::package::installed;

async fn start(stage: &Stage, settings: Settings) -> Option<(Server, String)> {
    let jco = installed("javascript/node_modules/@bytecodealliance/jco/dist/jco.js", "jco")?;
    let port = free_port();
    // It knows neither interface.
    let file = stage.world.path("middleware.wasm");
    std::fs::write(&file, joined(&[Absent::Config, Absent::Keyvalue])?).expect("a file");
    let mut command = Command::new("node");
    command
        .arg(jco)
        .arg("serve")
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .arg(file)
        .env("NODE_EXTRA_CA_CERTS", stage.world.path("ca.pem"))
        .envs(settings);
    Some((Server::start(&mut command, port).await, format!("http://127.0.0.1:{port}")))
}

#[tokio::test]
async fn it_forwards_and_keeps_its_token() {
    let stage = Stage::start().await;
    let Some((_server, front)) = start(&stage, stage.settings(Credential::Secret)).await else { return };
    stage.it_fails_closed(&front).await;
    let before = stage.token_requests();
    stage.it_forwards(&front).await;
    stage.it_passes_bodies_on(&front).await;
    assert_eq!(stage.token_requests(), before + 1, "the second request finds the token of the first");
    stage.it_answers_challenges(&front).await;
}

#[tokio::test]
async fn it_signs_in_its_own_sandbox() {
    let stage = Stage::start().await;
    let Some((_server, front)) = start(&stage, stage.settings(Credential::CertificateText)).await else {
        return;
    };
    stage.it_fails_closed(&front).await;
    stage.it_forwards(&front).await;
}
