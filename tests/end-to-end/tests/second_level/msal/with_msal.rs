//! MSAL for Python reads what we wrote, and we read what it wrote.
//!
//! Needs a Python interpreter with the package of `requirements.txt`, as the differential test does.

use serde_json::{Value, json};
use symbolon::TokenSource;
use symbolon_authority::{CONTOSO, sample};
use symbolon_end_to_end::redis_server::RedisServer;
use symbolon_end_to_end::{GRAPH, VAULT, World, engine};

use super::python::{self, Python};
use super::{INSTANCE, application, partition, put, share};

/// A client of MSAL for Python: a sample application with a secret.
fn client(world: &World, sample: &str, client_id: &str) -> Value {
    let credential = &world.settings(sample)["AzureAd"]["ClientCredentials"][0];
    json!({
        "name": sample, "client_id": client_id, "credential": { "secret": credential["ClientSecret"] },
        "authority": format!("https://login.microsoftonline.com/{CONTOSO}"),
    })
}

/// The server and the program; None where one of them is missing.
fn start(world: &World) -> Option<(RedisServer, Python)> {
    let Some(interpreter) = python::interpreter() else {
        let needed = format!("skipped: needs the Python package {}", python::REQUIREMENT);
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{needed}");
        println!("{needed}");
        return None;
    };
    let server = RedisServer::start()?;
    Some((server, Python::start(&interpreter, "second_level/msal_cache.py", world)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applications_token_serves_both() {
    let world = World::start().await;
    let Some((server, mut python)) = start(&world) else { return };
    let key = format!("{}_{CONTOSO}_AppTokenCache", sample::SECRET);
    // MSAL for Python looks for an application's tokens under the host that the authority calls itself, and no other name of
    // the cloud. As MSAL.NET, we write those of a region there.
    let ours = world.application_with(&engine(), "secret", |settings| {
        share(settings, &server, INSTANCE);
        settings["AzureAd"]["AzureRegion"] = json!("westeurope");
    });
    let token = ours.acquire_token_for_client([GRAPH]).await.expect("a token");
    let client = client(&world, "secret", sample::SECRET);
    let mut msal = |scope: &str, cache: &Value| {
        python.run(&json!({
            "client": client, "flow": "client_credentials", "scopes": [scope], "cache": cache.to_string(),
        }))
    };

    // Ours is found by MSAL, which wants it said that the token is nobody's; MSAL.NET says nothing then, and neither do we.
    let mut document = partition(&server, &key).await;
    for (_, token) in document["AccessToken"].as_object_mut().expect("tokens") {
        token["home_account_id"] = Value::Null;
    }
    let before = world.token_requests().len();
    let found = msal(GRAPH, &document);
    assert_eq!(
        (&found["access_token"], &found["token_source"]),
        (&json!(token.access_token()), &json!("cache"))
    );
    assert_eq!(world.token_requests().len(), before);

    // MSAL adds one to the same partition, and what it leaves serves us.
    let brought = msal(VAULT, &partition(&server, &key).await);
    assert_eq!(brought["token_source"], "identity_provider");
    put(&server, &key, brought["cache"].as_str().expect("the cache")).await;
    let other = application(&world, &engine(), "secret", &server);
    for (scope, secret) in [(GRAPH, &found["access_token"]), (VAULT, &brought["access_token"])] {
        let (token, requests) = world.seen(other.acquire_token_for_client([scope])).await;
        let token = token.expect("a token");
        assert_eq!((token.metadata().token_source, requests.len()), (TokenSource::Cache, 0), "{scope}");
        assert_eq!(token.access_token(), secret.as_str().expect("a token"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_tokens_serve_both() {
    let world = World::start().await;
    let Some((server, mut python)) = start(&world) else { return };
    let client = client(&world, "web-api", sample::WEB_API);
    let ours = application(&world, &engine(), "web-api", &server);
    let sign_in = ours.acquire_token_by_username_password([GRAPH], sample::ALICE, sample::ALICE_PASSWORD);
    let token = sign_in.await.expect("a token");
    let account = token.account().expect("an account");
    let key = account.home_account_id.clone();
    let mut msal = |job: Value, cache: &str| {
        let mut whole = json!({ "client": client, "cache": cache });
        whole.as_object_mut().expect("an object").extend(job.as_object().expect("an object").clone());
        let result = python.run(&whole);
        assert!(result.get("access_token").is_some(), "{result}");
        result
    };

    // MSAL finds our account, our access token, and our refresh token.
    let before = world.token_requests().len();
    let document = partition(&server, &key).await.to_string();
    let found = msal(json!({ "flow": "silent", "scopes": [GRAPH] }), &document);
    assert_eq!(found["access_token"], token.access_token());
    assert_eq!(world.token_requests().len(), before);
    let renewed = msal(json!({ "flow": "silent", "scopes": [VAULT] }), &document);
    let requests = world.token_requests().split_off(before);
    assert_eq!(
        requests.iter().map(|request| request.form_text("grant_type")).collect::<Vec<_>>(),
        [Some("refresh_token")]
    );

    // We find what MSAL has added, and what was there before.
    put(&server, &key, renewed["cache"].as_str().expect("the cache")).await;
    let other = application(&world, &engine(), "web-api", &server);
    for (scope, secret) in [(VAULT, &renewed["access_token"]), (GRAPH, &found["access_token"])] {
        let (token, requests) = world.seen(other.acquire_token_silent([scope], &account)).await;
        let token = token.expect("a token");
        assert_eq!((token.metadata().token_source, requests.len()), (TokenSource::Cache, 0), "{scope}");
        assert_eq!(token.access_token(), secret.as_str().expect("a token"));
        assert_eq!(token.account().expect("an account").username, sample::ALICE);
    }

    // A cache that MSAL alone has made.
    let password = json!({
        "flow": "username_password", "scopes": [GRAPH], "username": sample::ALICE, "password": sample::ALICE_PASSWORD,
    });
    let made = msal(password, "{}");
    put(&server, &key, made["cache"].as_str().expect("the cache")).await;
    let third = application(&world, &engine(), "web-api", &server);
    let (token, requests) = world.seen(third.acquire_token_silent([GRAPH], &account)).await;
    assert_eq!(token.expect("a token").access_token(), made["access_token"].as_str().expect("a token"));
    assert_eq!(requests.len(), 0);
    let (token, requests) = world.seen(third.acquire_token_silent([VAULT], &account)).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 1));
    assert_eq!(requests[0].form_text("grant_type"), Some("refresh_token"));
    // What MSAL wrote and we don't know is still there.
    let document = partition(&server, &key).await;
    let account = document["Account"]
        .as_object()
        .expect("accounts")
        .values()
        .find(|account| account.get("account_source").is_some());
    assert!(account.is_some(), "{}", document["Account"]);
}
