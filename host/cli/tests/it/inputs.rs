//! What is wrong with the inputs of a flow, said before the first request.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use symbolon_authority::sample;

use crate::site::{CANARY, SCOPE, Site, command, run};

/// The message about a command line, without what it begins with.
fn message(site: &Site, configuration: &str, arguments: &[&str]) -> String {
    let configuration = site.configuration(configuration);
    let all = [&["token", "--config", configuration.to_str().unwrap()], arguments].concat();
    let text = site.run(&all).failed(2);
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

#[test]
fn flags_that_are_missing_or_too_many_are_named() {
    let site = Site::start();
    for file in ["secret-file", "empty"] {
        fs::write(site.path(file), if file == "empty" { "\n" } else { CANARY }).unwrap();
    }
    let path = |file: &str| site.path(file).to_str().unwrap().to_owned();
    let (file, empty, missing) = (path("secret-file"), path("empty"), path("missing"));
    let cases: &[(&[&str], String)] = &[
        (
            &["--flow", "for-client"],
            "--scope: found nothing, and the flow `for-client` needs it; accepted: at least one, such as \
             https://graph.microsoft.com/.default"
                .into(),
        ),
        (
            &["--flow", "for-client", "--account", "a"],
            "--account: the flow `for-client` doesn't use it; accepted with `for-client`: --fmi-path, --scope, --scheme, \
             --authority, --tenant, --claims, --client-claims, --pop-public-key-file, --client-assertion-fmi-path, --correlation-id, \
             --force-refresh, --access-token-sha256-to-refresh"
                .into(),
        ),
        (
            &["--flow", "by-refresh-token", "--force-refresh"],
            "--force-refresh: the flow `by-refresh-token` doesn't use it; accepted with `by-refresh-token`: \
             --refresh-token-file, --scope, --scheme, --authority, --tenant, --claims, --client-claims, --pop-public-key-file, \
             --client-assertion-fmi-path, --correlation-id"
                .into(),
        ),
        (
            &[
                "--flow",
                "for-managed-identity",
                "--scope",
                SCOPE,
                "--managed-identity-client-id",
                "1",
                "--managed-identity-object-id",
                "2",
            ],
            "--managed-identity-object-id: found --managed-identity-client-id beside it; accepted: one of them".into(),
        ),
        (
            &["--flow", "for-managed-identity", "--scope", SCOPE, "--scope", "other"],
            "--scope: found 2; accepted: one, as the token is for one resource".into(),
        ),
        (
            &["--flow", "on-behalf-of", "--scope", SCOPE],
            "--user-assertion-file: found nothing, and the flow `on-behalf-of` needs it; accepted: a file with the user's \
             token"
                .into(),
        ),
        (
            &["--flow", "on-behalf-of", "--scope", SCOPE, "--assertion-kind", "jwt"],
            "--assertion-kind: found it without --user-assertion-file; accepted: both, or neither".into(),
        ),
        (
            &["--flow", "on-behalf-of", "--user-assertion-file", &file],
            "--scope: found nothing, and the flow `on-behalf-of` needs it; accepted: at least one, such as \
             https://graph.microsoft.com/.default"
                .into(),
        ),
        (
            &["--flow", "on-behalf-of", "--scope", SCOPE, "--user-assertion-file", &missing],
            format!("--user-assertion-file: {missing}: No such file or directory (os error 2)"),
        ),
        (
            &["--flow", "on-behalf-of", "--scope", SCOPE, "--user-assertion-file", &empty],
            format!("--user-assertion-file: {empty}: found an empty file; accepted: one with a text"),
        ),
        (
            &["--flow", "on-behalf-of", "--scope", SCOPE, "--user-assertion-file", "-"],
            "--user-assertion-file: found nothing on standard input; accepted: a text".into(),
        ),
        (
            &["--flow", "long-running", "--scope", SCOPE],
            "--session-key: found nothing; accepted: the key of a process, or in a step nothing after one that begins a \
             process"
                .into(),
        ),
        (
            &["--flow", "long-running", "--scope", SCOPE, "--session-key", "AllocateForMe"],
            "--session-key: found AllocateForMe, and no user's token to allocate a key from; accepted: the key of a process"
                .into(),
        ),
        (
            &["--flow", "long-running", "--scope", SCOPE, "--session-key", CANARY, "--search-in-cache"],
            "--search-in-cache: found it without --user-assertion-file; accepted: both, or neither".into(),
        ),
        (
            &["--flow", "by-refresh-token"],
            "--refresh-token-file: found nothing, and the flow `by-refresh-token` needs it; accepted: a file with the \
             refresh token"
                .into(),
        ),
        (
            &["--flow", "by-authorization-code", "--redirect-uri", "https://localhost"],
            "--code-file: found nothing, and the flow `by-authorization-code` needs it; accepted: a file with the code"
                .into(),
        ),
        (
            &["--flow", "by-authorization-code", "--code-file", &file],
            "--redirect-uri: found nothing, and the flow `by-authorization-code` needs it; accepted: the URI that \
             the code was sent to"
                .into(),
        ),
        (
            &["--flow", "by-authorization-code", "--code-file", "-", "--redirect-uri", "https://localhost", "--code-verifier-file", "-"],
            "--code-verifier-file: found `-` a second time; accepted: a file, as standard input is read for one thing only"
                .into(),
        ),
        (
            &["--flow", "by-username-password", "--password-file", &file],
            "--username: found nothing, and the flow `by-username-password` needs it; accepted: a user principal name"
                .into(),
        ),
        (
            &["--flow", "by-username-password", "--username", sample::ALICE],
            "--password-file: found nothing, and the flow `by-username-password` needs it; accepted: a file with the \
             password"
                .into(),
        ),
        (
            &["--flow", "by-user-federated-identity-credential", "--federated-assertion-file", &file],
            "--username: found nothing, and the flow `by-user-federated-identity-credential` needs it; accepted: a user \
             principal name, or the object id as --user-id"
                .into(),
        ),
        (
            &["--flow", "by-user-federated-identity-credential", "--username", sample::ALICE],
            "--federated-assertion-file: found nothing, and the flow `by-user-federated-identity-credential` needs it; \
             accepted: a file with a token that lets the application name users"
                .into(),
        ),
        (
            &["--flow", "for-agent", "--scope", SCOPE],
            "--agent: found nothing, and the flow `for-agent` needs it; accepted: the agent's application (client) id".into(),
        ),
        (
            &["--flow", "for-agent", "--scope", SCOPE, "--agent", "a", "--agent-username", "b", "--user-assertion-file", &file],
            "--user-assertion-file: found a user beside it; accepted: a user's token, or --agent-username, or \
             --agent-user-id"
                .into(),
        ),
    ];
    for (arguments, expected) in cases {
        let stdin_is_a_text = arguments.iter().filter(|argument| **argument == "-").count() == 2;
        if stdin_is_a_text {
            let mut command = command();
            command.arg("token").arg("--config").arg(site.configuration("web-api")).args(*arguments);
            let ran = run(command.stdin(Stdio::from(fs::File::open(&file).unwrap())));
            assert_eq!(ran.failed(2).trim_end(), format!("error: {expected}"), "{arguments:?}");
        } else {
            assert_eq!(message(&site, "web-api", arguments), *expected, "{arguments:?}");
        }
    }
    assert!(site.authority.log().is_empty());
}

#[test]
fn values_that_are_none_are_named() {
    let site = Site::start();
    for (arguments, words) in [
        (&["--user-id", "alice"][..], &["'alice'", "--user-id"][..]),
        (&["--agent-user-id", "7"], &["'7'", "--agent-user-id"]),
        (&["--assertion-kind", "saml"], &["'saml'", "--assertion-kind", "jwt"]),
        (&["--spa-code=maybe"], &["'maybe'", "--spa-code"]),
        (&["--password", CANARY], &["--password"]),
        (&["--flow", "accounts"], &["'accounts'", "--flow", "for-client"]),
    ] {
        let configuration = site.configuration("web-api");
        let ran = run(command().args(["token", "--config"]).arg(configuration).args(arguments));
        let text = ran.failed(2);
        for word in words {
            assert!(text.contains(word), "{arguments:?}: `{word}` is not in {text}");
        }
    }
}

#[test]
fn steps_are_named_by_file_index_and_member() {
    let site = Site::start();
    fs::write(site.path("token"), CANARY).unwrap();
    let file = site.path("steps.json");
    let user = json!({
        "flow": "for-agent", "agent": "a", "scope": "s", "agentUsername": "b", "agentUserId": sample::BOB_OBJECT_ID,
    });
    for (step, expected) in [
        (
            json!({ "flow": "silent" }),
            "scope: found nothing, and the flow `silent` needs it; accepted: at least one, such as https://graph.microsoft.com/.default",
        ),
        (
            json!({ "flow": "accounts", "scope": "s" }),
            "scope: the flow `accounts` doesn't use it; accepted with `accounts`: nothing",
        ),
        (
            json!({ "flow": "stop-long-running", "account": "a" }),
            "account: the flow `stop-long-running` doesn't use it; accepted with `stop-long-running`: sessionKey",
        ),
        (
            json!({ "flow": "remove-account", "sessionKey": "a" }),
            "sessionKey: the flow `remove-account` doesn't use it; accepted with `remove-account`: account",
        ),
        (
            json!({ "flow": "stop-long-running" }),
            "sessionKey: found nothing; accepted: the key of a process, or in a step nothing after one that begins a process",
        ),
        (
            json!({ "flow": "for-agent", "agent": "a", "scope": "s", "userAssertionFile": "token", "agentUserId": sample::BOB_OBJECT_ID }),
            "userAssertionFile: found a user beside it; accepted: a user's token, or agentUsername, or agentUserId",
        ),
        (user, "agentUserId: found agentUsername beside it; accepted with Symbolon:Strict: one of them"),
        (
            json!({
                "flow": "by-user-federated-identity-credential", "federatedAssertionFile": "token", "username": "b",
                "userId": sample::BOB_OBJECT_ID,
            }),
            "userId: found username beside it; accepted with Symbolon:Strict: one of them",
        ),
    ] {
        fs::write(&file, json!([{ "flow": "accounts" }, step]).to_string()).unwrap();
        let configuration = site.edited("web-api", |json| json["Symbolon"]["Strict"] = true.into());
        let arguments =
            ["token", "--config", configuration.to_str().unwrap(), "--steps", file.to_str().unwrap()];
        let text = site.run(&arguments).failed(2);
        let error: Value = serde_json::from_str(&text).unwrap();
        let expected = format!("{}: [1].{expected}", file.display());
        assert_eq!(error["error"]["message"], expected, "{step}");
        assert_eq!(error["error"]["kind"], "usage");
    }
    assert!(site.authority.log().is_empty());
}

/// A default is for the steps whose flow uses it.
#[test]
fn flags_are_defaults_of_steps_that_use_them() {
    let site = Site::start();
    let file = site.path("steps.json");
    fs::write(&file, r#"[{"flow": "accounts"}, {}, {"flow": "remove-account"}]"#).unwrap();
    let arguments = ["--force-refresh", "--steps", file.to_str().unwrap()];
    let ran = site.token(&site.configuration("web-api"), &arguments);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0], &lines[1]["tokenType"]), (&json!({ "accounts": [] }), &json!("Bearer")));
    assert_eq!((&lines[2]["error"]["code"], ran.status), (&json!("no_tokens_found"), 3));
}
