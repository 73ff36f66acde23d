//! Processes that share MSAL's cache: each is an engine of its own.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use redis::AsyncCommands as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use symbolon::{AgentIdentity, Application, AuthenticationResult, Error, TokenSource};
use symbolon_authority::{CONTOSO, sample};
use symbolon_end_to_end::redis_server::RedisServer;
use symbolon_end_to_end::{GRAPH, VAULT, World, engine};

use super::{INSTANCE, application, connect, only, partition, partitions, put, share};

fn hash(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// A token that the other process has brought: without a request, and the same.
async fn is_shared<F>(world: &World, of_one: &AuthenticationResult, by_other: F)
where
    F: IntoFuture<Output = Result<AuthenticationResult, Error>>,
{
    let (token, requests) = world.seen(by_other).await;
    let token = token.expect("a token");
    assert_eq!((token.metadata().token_source, requests.len()), (TokenSource::Cache, 0));
    assert_eq!(token.access_token(), of_one.access_token());
    assert_eq!(token.expires_on(), of_one.expires_on());
}

struct Two {
    world: World,
    server: RedisServer,
    one: Application,
    other: Application,
}

impl Two {
    async fn start(sample: &str) -> Option<Self> {
        let server = RedisServer::start()?;
        let world = World::start().await;
        let application = || application(&world, &engine(), sample, &server);
        let (one, other) = (application(), application());
        Some(Self { world, one, other, server })
    }
}

#[tokio::test]
async fn an_applications_token_lies_in_its_partition_and_serves_the_other_process() {
    let Some(Two { world, server, one, other }) = Two::start("secret").await else { return };
    let token = one.acquire_token_for_client([GRAPH]).await.expect("a token");
    let key = format!("{}_{CONTOSO}_AppTokenCache", sample::SECRET);
    assert_eq!(partitions(&server).await, [key.as_str()]);

    let document = partition(&server, &key).await;
    let (item_key, item) = only(&document, "AccessToken");
    let expected = format!("-login.windows.net-accesstoken-{}-{CONTOSO}-{GRAPH}", sample::SECRET);
    assert_eq!(item_key, expected);
    assert_eq!(item["secret"], token.access_token());
    for (name, value) in [
        ("environment", "login.windows.net"),
        ("client_id", sample::SECRET),
        ("credential_type", "AccessToken"),
        ("realm", CONTOSO),
        ("target", GRAPH),
    ] {
        assert_eq!(item[name], value, "{name}");
    }
    assert!(item.as_object().expect("an object").values().all(Value::is_string), "{item}");
    only(&document, "AppMetadata");
    let fields: BTreeMap<String, String> =
        connect(&server).await.hgetall(format!("{INSTANCE}{key}")).await.expect("a hash");
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["absexp", "data", "sldexp"]);

    is_shared(&world, &token, other.acquire_token_for_client([GRAPH])).await;
    let (token, requests) = world.seen(other.acquire_token_for_client([VAULT])).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 1), "another resource");
    assert_eq!(partition(&server, &key).await["AccessToken"].as_object().expect("tokens").len(), 2);
}

#[tokio::test]
async fn a_token_with_components_lies_in_a_partition_of_its_own() {
    let Some(Two { world, server, one, other }) = Two::start("secret").await else { return };
    let acquire = async |application: &Application| {
        let request = application.acquire_token_for_client([GRAPH]);
        request.with_extra_body_parameters([("x-own", "one")]).await
    };
    let token = acquire(&one).await.expect("a token");
    let key = format!("{}_{CONTOSO}_{}_AppTokenCache", sample::SECRET, hash("x-ownone"));
    assert_eq!(partitions(&server).await, [key.as_str()]);
    let document = partition(&server, &key).await;
    let (item_key, item) = only(&document, "AccessToken");
    assert!(
        item_key.contains("-atext-") && item_key.ends_with(&hash("x-ownone").to_lowercase()),
        "{item_key}"
    );
    assert_eq!((&item["credential_type"], &item["ext"]), (&json!("ATExt"), &json!({ "x-own": "one" })));
    is_shared(&world, &token, acquire(&other)).await;
    let (_, requests) = world.seen(other.acquire_token_for_client([GRAPH])).await;
    assert_eq!(requests.len(), 1, "without the component it is another token");
}

#[tokio::test]
async fn a_bound_token_lies_in_the_partition_of_its_certificate() {
    let Some(Two { world, server, one, other }) = Two::start("bound").await else { return };
    let acquire = async |application: &Application| {
        application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await
    };
    let token = acquire(&one).await.expect("a token");
    let [key] = &partitions(&server).await[..] else { panic!("one partition") };
    let suffix = format!("{}_{CONTOSO}_AppTokenCache", sample::BOUND);
    let kid = key.strip_suffix(&suffix).expect("the client's").to_owned();
    let document = partition(&server, key).await;
    let (item_key, item) = only(&document, "AccessToken");
    assert_eq!((&item["kid"], &item["token_type"]), (&json!(kid), &json!("mtls_pop")));
    assert_eq!((kid.len(), item["credential_type"].as_str()), (43, Some("AccessToken")));
    assert!(
        item_key.contains("-accesstoken_with_authscheme-") && item_key.ends_with("-mtls_pop"),
        "{item_key}"
    );
    is_shared(&world, &token, acquire(&other)).await;
}

#[tokio::test]
async fn what_was_acquired_on_behalf_of_a_user_lies_in_the_partition_of_the_assertion() {
    let Some(Two { world, server, one, other }) = Two::start("web-api").await else { return };
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let token = one.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("a token");
    assert_eq!(partitions(&server).await, [hash(&assertion)]);
    let document = partition(&server, &hash(&assertion)).await;
    assert_eq!(only(&document, "AccessToken").1["user_assertion_hash"], hash(&assertion));
    assert_eq!(document["RefreshToken"], Value::Null, "plain on-behalf-of keeps none");
    is_shared(&world, &token, other.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    let another = world.user_token(sample::ALICE, sample::WEB_API);
    let (_, requests) = world.seen(other.acquire_token_on_behalf_of([GRAPH], &another)).await;
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_long_running_process_goes_on_in_the_other_process_and_ends_everywhere() {
    let Some(Two { world, server, one, other }) = Two::start("web-api").await else { return };
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let token = one.initiate_long_running_process([GRAPH], &assertion, "session").await.expect("a token");
    assert_eq!(partitions(&server).await, ["session"]);
    is_shared(&world, &token, other.acquire_token_in_long_running_process([GRAPH], "session")).await;
    // By the refresh token that is in the partition.
    let (token, requests) = world.seen(other.acquire_token_in_long_running_process([VAULT], "session")).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 1));
    assert_eq!(requests[0].form_text("grant_type"), Some("refresh_token"));
    // A process says there, too, whose it is.
    let bobs = world.user_token(sample::BOB, sample::WEB_API);
    let third = application(&world, &engine(), "web-api", &server);
    let error = third.initiate_long_running_process([GRAPH], &bobs, "session").await.expect_err("Alice's");
    assert_eq!(error.code(), "session-key-in-use");

    assert!(one.stop_long_running_process("session").await.expect("it ends"));
    assert_eq!(partitions(&server).await, [""; 0]);
    let fourth = application(&world, &engine(), "web-api", &server);
    let error =
        fourth.acquire_token_in_long_running_process([GRAPH], "session").await.expect_err("no process");
    assert_eq!(error.code(), "obo_cache_key_not_in_cache_error");
}

#[tokio::test]
async fn a_users_tokens_lie_in_the_partition_of_the_account_until_the_account_is_removed() {
    let Some(Two { world, server, one, other }) = Two::start("web-api").await else { return };
    let sign_in = one.acquire_token_by_username_password([GRAPH], sample::ALICE, sample::ALICE_PASSWORD);
    let token = sign_in.await.expect("a token");
    let account = token.account().expect("an account");
    assert_eq!(partitions(&server).await, [account.home_account_id.as_str()]);
    let document = partition(&server, &account.home_account_id).await;
    for section in ["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata"] {
        only(&document, section);
    }
    assert_eq!(only(&document, "Account").1["username"], sample::ALICE);
    is_shared(&world, &token, other.acquire_token_silent([GRAPH], &account)).await;
    let (token, requests) = world.seen(other.acquire_token_silent([VAULT], &account)).await;
    assert_eq!(token.expect("by the refresh token").account().expect("an account").username, sample::ALICE);
    assert_eq!(requests[0].form_text("grant_type"), Some("refresh_token"));

    assert!(other.remove_account(&account).await.expect("it is removed"));
    assert_eq!(partitions(&server).await, [""; 0]);
    let third = application(&world, &engine(), "web-api", &server);
    third.acquire_token_silent([GRAPH], &account).await.expect_err("nobody is signed in");
}

#[tokio::test]
async fn an_agents_own_token_is_shared_with_its_components_and_its_users_tokens_are_not() {
    let Some(Two { world, server, one, other }) = Two::start("blueprint").await else { return };
    let agent = || AgentIdentity::app_only(sample::AGENT_ONE);
    let token = one.acquire_token_for_agent(agent(), [GRAPH]).await.expect("a token");
    let hash_of = |name: &str| hash(&format!("{name}{}", sample::AGENT_ONE));
    let blueprints = format!("{}_{CONTOSO}_{}_AppTokenCache", sample::BLUEPRINT, hash_of("fmi_path"));
    let agents = format!("{}_{CONTOSO}_{}_AppTokenCache", sample::AGENT_ONE, hash_of("credential_fmi_path"));
    assert_eq!(partitions(&server).await, [blueprints, agents.clone()]);
    let document = partition(&server, &agents).await;
    assert_eq!(only(&document, "AccessToken").1["ext"], json!({ "credential_fmi_path": sample::AGENT_ONE }));
    is_shared(&world, &token, other.acquire_token_for_agent(agent(), [GRAPH])).await;

    let alice = || AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE);
    one.acquire_token_for_agent(alice(), [GRAPH]).await.expect("a token");
    assert_eq!(partitions(&server).await.len(), 2, "no partition goes by how an agent names its users");
    let (token, requests) = world.seen(other.acquire_token_for_agent(alice(), [GRAPH])).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 1), "its legs are shared");
}

#[tokio::test]
async fn a_cache_that_is_down_full_of_garbage_or_somebody_elses_costs_a_request_and_no_more() {
    let Some(Two { world, mut server, one, other }) = Two::start("secret").await else { return };
    let key = format!("{}_{CONTOSO}_AppTokenCache", sample::SECRET);
    put(&server, &key, "CfDJ8 garbage").await;
    let (token, requests) = world.seen(one.acquire_token_for_client([GRAPH])).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 1));
    let (token, requests) = world.seen(one.acquire_token_for_client([GRAPH])).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 0), "in the first level");
    // A token that isn't what its place says.
    let forged = json!({ "AccessToken": { "k": {
        "environment": "login.windows.net", "client_id": sample::BOUND, "realm": CONTOSO, "target": GRAPH,
        "secret": "forged", "expires_on": "9999999999"
    } } });
    put(&server, &key, &forged.to_string()).await;
    server.pause(true);
    let (token, requests) = world.seen(other.acquire_token_for_client([GRAPH])).await;
    assert_eq!((token.expect("a token").access_token() == "forged", requests.len()), (false, 1));
    server.pause(false);
    server.kill();
    let third = application(&world, &engine(), "secret", &server);
    let (token, requests) = world.seen(third.acquire_token_for_client([GRAPH])).await;
    assert_eq!((token.is_ok(), requests.len()), (true, 1));
}

#[tokio::test]
async fn applications_have_names_of_their_own_or_an_error_says_which_do_not() {
    let Some(server) = RedisServer::start() else { return };
    let (world, symbolon) = (World::start().await, engine());
    let options = |sample: &str, name: &str| world.options(sample, |settings| share(settings, &server, name));
    let _first = symbolon.application(options("secret", "app:").expect("settings")).expect("the first");
    let error = symbolon.application(options("certificate", "app:").expect("settings")).map(drop);
    let error = error.expect_err("the same name").to_string();
    assert!(
        error.matches("Symbolon:TokenCache:InstanceName").count() == 2 && error.contains("\"app:\""),
        "{error}"
    );
    symbolon.application(options("certificate", "other:").expect("settings")).expect("a name of its own");

    for (change, part) in [
        (json!({ "Mode": "Msal", "Redis": server.url() }), "Symbolon:TokenCache:InstanceName: found nothing"),
        (json!({ "Mode": "Msal", "InstanceName": "" }), "no store"),
        (
            json!({ "Mode": "Msal", "InstanceName": "", "Redis": server.url(), "Keys": ["k"] }),
            "TokenCache:Keys",
        ),
        (
            json!({ "Mode": "Msal", "InstanceName": "", "Redis": server.url(), "Encryption": "None" }),
            "TokenCache:Encryption",
        ),
        (json!({ "Mode": "MSAL.NET", "Redis": server.url() }), "TokenCache:Mode"),
        (
            json!({ "Mode": "Msal", "Redis": server.url(), "InstanceNames": { "AzureAd": "a", "Other": "a" } }),
            "InstanceNames:Other: found \"a\", which",
        ),
    ] {
        let changed = world.options("secret", |settings| settings["Symbolon"]["TokenCache"] = change.clone());
        let error = changed.map(drop).expect_err("not accepted").to_string();
        assert!(error.contains(part), "{error}");
    }
    let names = json!({ "azuread": "own:", "Other": "other:" });
    let named = world.options("secret", |settings| {
        share(settings, &server, "for others:");
        settings["Symbolon"]["TokenCache"]["InstanceNames"] = names;
    });
    let named = engine().application(named.expect("settings")).expect("an application");
    named.acquire_token_for_client([GRAPH]).await.expect("a token");
    let names: Vec<String> = connect(&server).await.keys("own:*").await.expect("the names");
    assert_eq!(names.len(), 1);
}
