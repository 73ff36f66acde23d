//! The example clients, which know nothing but the description, against a real server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use symbolon_authority::sample;
use symbolon_end_to_end::apis::{configure, of_tokens};
use symbolon_end_to_end::installed::installed;
use symbolon_end_to_end::{World, claims, workspace};

use crate::server::Server;

/// What a client says of a header, and whose token is in it.
fn of_header(answer: &Value) -> Value {
    let header = answer.as_str().unwrap_or_else(|| panic!("no header: {answer}"));
    claims(header.strip_prefix("Bearer ").expect("a bearer token"))
}

/// Has a client do everything, and go on with what it began after the tokens have expired. `command` starts it.
async fn check(command: impl Fn() -> Command) {
    let (world, symbolon, clock) = World::timed().await;
    let api = world.api(of_tokens()).await;
    let mut settings = world.settings("blueprint");
    configure(&mut settings, &api, json!({ "RequestAppToken": false }));
    settings["Sidecar"]["AllowOverrides"]["GetAuthorizationHeaderUnauthenticated"] = true.into();
    let server = Server::start_with(&symbolon, settings, clock.clone()).await;
    let hour = symbolon_authority::UserToken::new(sample::ALICE, sample::BLUEPRINT);
    let token = world.authority.user_token(&hour).expect("a user");
    let run = |arguments: Vec<String>| {
        let mut command = command();
        command
            .args(arguments)
            .env("SIDECAR_URL", format!("http://{}", server.address))
            .env("API", "api")
            .env("USER_TOKEN", &token)
            .env("AGENT", sample::AGENT_ONE)
            .env("AGENT_USERNAME", sample::ALICE)
            .env("AGENT_USER_ID", sample::ALICE_OBJECT_ID);
        let output = tokio::task::block_in_place(|| command.output()).expect("the client starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };

    let done = run(vec!["all".to_owned()]);
    assert_eq!(done["claims"], claims(&token));
    assert_eq!(of_header(&done["user"])["upn"], sample::ALICE);
    assert_eq!(of_header(&done["app"])["idtyp"], "app");
    for agent in ["agentByName", "agentById"] {
        let token = of_header(&done[agent]);
        assert_eq!(
            (&token["oid"], &token["azp"]),
            (&json!(sample::ALICE_OBJECT_ID), &json!(sample::AGENT_ONE)),
            "{agent}: {token}"
        );
    }
    let called: Value = serde_json::from_str(done["call"]["content"].as_str().expect("text")).expect("JSON");
    assert_eq!((&done["call"]["status"], &called["bodyLength"]), (&json!(200), &json!(5)), "{done}");
    assert_eq!(done["refused"], 401);
    let key = done["sessionKey"].as_str().expect("a key").to_owned();

    let hours = Duration::from_secs(2 * 60 * 60);
    clock.advance(u64::try_from(hours.as_millis()).expect("a number"));
    let gone = server.get("/AuthorizationHeader/api", Some(&token)).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED, "the user's token has expired");
    let later = run(vec!["continue".to_owned(), key]);
    let (first, second) = (of_header(&done["process"]), of_header(&later["process"]));
    assert_eq!((&second["upn"], first["exp"] == second["exp"]), (&json!(sample::ALICE), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_in_python_does_everything() {
    let demo = workspace("examples/sidecar-clients/python/demo.py");
    check(|| {
        let mut command = Command::new("python3");
        command.arg("-B").arg(&demo);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_in_typescript_does_everything() {
    let Some(compiler) = installed("javascript/node_modules/.bin/tsc", "the packages for JavaScript") else {
        return;
    };
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sidecar-client");
    let types = compiler.parent().and_then(Path::parent).expect("the packages").join("@types");
    std::fs::create_dir_all(&out).expect("a directory");
    std::fs::write(out.join("package.json"), r#"{ "type": "module" }"#).expect("a file");
    let output = Command::new(compiler)
        .arg("--project")
        .arg(workspace("examples/sidecar-clients/typescript"))
        .arg("--outDir")
        .arg(&out)
        .arg("--typeRoots")
        .arg(types)
        .output()
        .expect("the compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    check(|| {
        let mut command = Command::new("node");
        command.arg(out.join("demo.js"));
        command
    })
    .await;
}
