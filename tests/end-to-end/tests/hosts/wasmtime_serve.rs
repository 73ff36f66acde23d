//! `wasmtime serve`, the command line of wasmtime. Every request has an instance of its own, and trusts the roots of the web
//! alone: authority and API are reached by gateways. `.ci/slow` runs these: wasmtime takes long to compile.

use std::process::Command;

use crate::embedded::gateway;
use crate::middleware::{Credential, Server, Settings, Stage, free_port, joined};
use crate::package::installed;

async fn start(stage: &Stage, mut settings: Settings) -> Option<(Server, String)> {
    let wasmtime = installed("slow/bin/wasmtime", "wasmtime-cli, by .ci/slow")?;
    let file = stage.world.path("middleware.wasm");
    std::fs::write(&file, joined(&[])?).expect("a file");
    let authority = gateway(stage, stage.world.authority.address()).await;
    let api = gateway(stage, stage.api.address()).await;
    settings.push(("Symbolon__Gateway".into(), format!("http://{authority}")));
    settings.retain(|(name, _)| name != "DownstreamApi__BaseUrl");
    settings.push(("DownstreamApi__BaseUrl".into(), format!("http://{api}")));
    let (port, directory) = (free_port(), stage.world.path(""));
    let mut command = Command::new(wasmtime);
    command.args(["serve", "-Scli", "-Shttp", "-Sconfig", "-Skeyvalue"]);
    command.arg("--addr").arg(format!("127.0.0.1:{port}"));
    command.arg("--dir").arg(format!("{0}::{0}", directory.display()));
    for (name, value) in settings {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    Some((Server::start(command.arg(file), port).await, format!("http://127.0.0.1:{port}")))
}

#[tokio::test]
#[ignore = "needs wasmtime-cli, which .ci/slow compiles"]
async fn it_forwards() {
    let stage = Stage::start().await;
    for credential in [Credential::Secret, Credential::AssertionFile, Credential::Certificate] {
        let Some((_server, front)) = start(&stage, stage.settings(credential)).await else { return };
        stage.it_fails_closed(&front).await;
        stage.it_forwards(&front).await;
        stage.it_passes_bodies_on(&front).await;
    }
}

#[tokio::test]
#[ignore = "needs wasmtime-cli, which .ci/slow compiles"]
async fn it_answers_challenges() {
    let stage = Stage::start().await;
    let Some((_server, front)) = start(&stage, stage.settings(Credential::Secret)).await else { return };
    stage.it_answers_challenges(&front).await;
}
