//! The description of the routes: what it says is what happens, and it says what the Entra ID SDK's sidecar's says.

use std::process::Command;

use serde_json::Value;
use symbolon_authority::{ManagedIdentity, Platform, Source, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::installed::installed;
use symbolon_end_to_end::{World, engine_with};
use symbolon_sidecar::description;

use crate::server::{Server, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fits_the_description_is_answered_by_it() {
    let Some(python) = installed("schemathesis/bin/python", "schemathesis") else { return };
    let world = World::start().await;
    // An identity that callers may ask for.
    let identity = ManagedIdentity::new("the-identity", "its-object");
    let platform =
        Platform::builder().system_assigned(identity).start(&world.authority).await.expect("a platform");
    let variables = platform.environment(Source::AppService);
    let symbolon = engine_with(|builder| {
        builder.environment(move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    });
    let api = world.api(of_tokens()).await;
    let open = |settings: &mut Value| {
        for gate in ["GetAuthorizationHeaderUnauthenticated", "CallDownstreamApiUnauthenticated"] {
            settings["Sidecar"]["AllowOverrides"][gate] = true.into();
        }
    };
    let server = Server::start(&symbolon, settings(&world, Some(&api), open)).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let directory = tempfile::tempdir().expect("a directory");
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                  response_schema_conformance";
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "schemathesis.cli",
            "run",
            "--no-color",
            "--checks",
            checks,
            "--seed",
            "1",
            "--workers",
            "2",
        ])
        .args(["--phases", "examples,fuzzing", "--max-examples", "25", "--request-timeout", "20"])
        .args(["--generation-database", "none", "--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("http://{}/openapi/v1.json", server.address))
        .current_dir(directory.path());
    let output = tokio::task::block_in_place(|| command.output()).expect("schemathesis starts");
    let text = String::from_utf8_lossy(&output.stdout).replace(&token, "TOKEN");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Fuzzing"), "{text}");
}

/// Where `SYMBOLON_SIDECAR_OPENAPI` names the other description, everything that clients know from it is in ours.
#[test]
fn all_of_the_other_description_is_in_ours() {
    let Some(file) = std::env::var_os("SYMBOLON_SIDECAR_OPENAPI") else {
        println!("SYMBOLON_SIDECAR_OPENAPI names no description to compare with");
        return;
    };
    let text = std::fs::read_to_string(file).expect("the description");
    let theirs: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).expect("JSON");
    let missing = missing_from(&description(), &theirs);
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn what_is_missing_is_found() {
    let ours = description();
    assert!(missing_from(&ours, &ours).is_empty());
    for (pointer, found) in [
        ("/paths/~1Validate/get/responses/400", "/Validate get 400"),
        ("/paths/~1DownstreamApi~1{apiName}/post/parameters/3", "/DownstreamApi/{apiName} post AgentUserId"),
        ("/components/schemas/DownstreamApiResult/properties/content", "DownstreamApiResult content"),
    ] {
        let mut less = ours.clone();
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        match less.pointer_mut(parent).expect("a place") {
            Value::Object(members) => drop(members.remove(last)),
            Value::Array(items) => drop(items.remove(last.parse().expect("a number"))),
            _ => panic!("{pointer}"),
        }
        assert_eq!(missing_from(&less, &ours), [found]);
    }
}

/// What clients know from one description and don't find in another.
fn missing_from(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for (path, operations) in members(&theirs["paths"]) {
        for (method, operation) in members(operations) {
            let own = &ours["paths"][path][method];
            compare_operation(&format!("{path} {method}"), own, operation, &mut missing);
        }
    }
    for (name, schema) in members(&theirs["components"]["schemas"]) {
        let own = &ours["components"]["schemas"][name];
        if own.is_null() {
            missing.push(name.clone());
        }
        for (property, theirs) in members(&schema["properties"]) {
            let is_there = is_narrower(&own["properties"][property], theirs);
            missing.extend((!is_there).then(|| format!("{name} {property}")));
        }
        let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
        let optional = required(schema).into_iter().filter(|property| !required(own).contains(property));
        missing.extend(optional.map(|property| format!("{name} requires {property}")));
    }
    missing
}

fn compare_operation(at: &str, ours: &Value, theirs: &Value, missing: &mut Vec<String>) {
    if ours["operationId"] != theirs["operationId"] {
        missing.push(format!("{at} operationId"));
    }
    for parameter in theirs["parameters"].as_array().into_iter().flatten() {
        let is_it = |own: &&Value| own["name"] == parameter["name"] && own["in"] == parameter["in"];
        let own = ours["parameters"].as_array().into_iter().flatten().find(is_it);
        if own.is_none_or(|own| own["schema"]["type"] != parameter["schema"]["type"]) {
            missing.push(format!("{at} {}", parameter["name"].as_str().unwrap_or_default()));
        }
    }
    for (status, response) in members(&theirs["responses"]) {
        let own = &ours["responses"][status];
        let has = |(media, content): (&String, &Value)| own["content"][media]["schema"] == content["schema"];
        if own.is_null() || !members(&response["content"]).all(has) {
            missing.push(format!("{at} {status}"));
        }
    }
}

/// Whether whoever reads values of the one schema reads those of the other.
fn is_narrower(ours: &Value, theirs: &Value) -> bool {
    let types = |schema: &Value| match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let (own, other) = (types(ours), types(theirs));
    !ours.is_null() && own.iter().all(|kind| other.contains(kind)) && ours["$ref"] == theirs["$ref"]
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
