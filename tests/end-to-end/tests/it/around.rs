//! What can be asked beside scopes and flow, and what it does to the request and to the cache.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use symbolon::{CacheRefreshReason, ErrorKind};
use symbolon_authority::{FABRIKAM, Fault, FaultRule, FieldValue, LogEntry, REDIRECT_URI, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine};
use uuid::Uuid;

fn sent_claims(request: &LogEntry) -> Value {
    serde_json::from_str(request.form_text("claims").unwrap_or("null")).expect("JSON")
}

fn query(request: &LogEntry) -> Vec<&str> {
    request.query.iter().map(|field| field.name.as_str()).collect()
}

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[tokio::test]
async fn another_tenant_has_tokens_of_its_own() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    let here = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    let there = || application.acquire_token_for_client([GRAPH]).with_tenant_id("fabrikam.com");
    let (token, requests) = world.seen(there()).await;
    let token = token.expect("a token");
    assert_eq!(requests[0].tenant.as_deref(), Some("fabrikam.com"));
    assert_eq!(claims(token.access_token())["tid"], FABRIKAM);
    assert_ne!(token.access_token(), here.access_token());
    let (again, requests) = world.seen(there()).await;
    assert_eq!((again.expect("cached").access_token(), requests.len()), (token.access_token(), 0));
    let (_, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(requests.len(), 0, "here is as it was");

    for tenant in ["not a tenant", "evil.example/..", "a/b"] {
        let (outcome, requests) =
            world.seen(application.acquire_token_for_client([GRAPH]).with_tenant_id(tenant)).await;
        assert_eq!((outcome.expect_err("no tenant").code(), requests.len()), ("invalid_tenant", 0));
    }
    let unknown = application.acquire_token_for_client([GRAPH]).with_tenant_id("nowhere.example").await;
    assert_eq!(unknown.expect_err("an unknown tenant").aadsts_codes(), [90_002]);
}

/// The sandbox has a stack of 64 kB. What recurses in it ends before that does.
#[tokio::test]
async fn claims_are_read_as_deep_as_they_may_be() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "secret", |settings| {
        settings["AzureAd"]["ClientCapabilities"] = json!(["cp1"]);
    });
    let nested =
        |levels: usize| format!(r#"{{"access_token":{}1{}}}"#, r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for (levels, is_read) in [(1, true), (60, true), (70, false), (100_000, false)] {
        let acquire = application.acquire_token_for_client([GRAPH]).with_claims(nested(levels));
        let (outcome, requests) = world.seen(acquire).await;
        match outcome {
            Ok(_) => assert!(is_read, "{levels} levels were read"),
            Err(error) => {
                assert_eq!(
                    (error.code(), is_read),
                    ("invalid_json_claims_format", false),
                    "{levels} levels: {error}"
                )
            }
        }
        assert_eq!(requests.len(), usize::from(is_read), "{levels}");
    }
}

/// Challenge claims look past the cache, and what they bring takes the place of what was there. The client's own claims keep
/// tokens apart instead. Capabilities go with every request.
#[tokio::test]
async fn a_challenge_bypasses_the_cache_and_own_claims_partition_it() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "web-api", |settings| {
        settings["AzureAd"]["ClientCapabilities"] = json!(["cp1"]);
    });
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let acquire = || application.acquire_token_on_behalf_of([GRAPH], &assertion);
    let (plain, requests) = world.seen(acquire()).await;
    let plain = plain.expect("a token");
    assert_eq!(sent_claims(&requests[0]), json!({ "access_token": { "xms_cc": { "values": ["cp1"] } } }));
    assert_eq!(claims(plain.access_token())["xms_cc"], json!(["cp1"]));

    let challenge = json!({ "access_token": { "acrs": { "essential": true, "value": "c1" } } }).to_string();
    for _ in 0..2 {
        let (token, requests) = world.seen(acquire().with_claims(&challenge)).await;
        let token = token.expect("a token");
        assert_eq!(token.metadata().cache_refresh_reason, CacheRefreshReason::ForceRefreshOrClaims);
        assert_eq!(requests.len(), 1, "each time");
        assert_eq!(
            sent_claims(&requests[0]),
            json!({ "access_token": {
                "acrs": { "essential": true, "value": "c1" },
                "xms_cc": { "values": ["cp1"] },
            } })
        );
        let (cached, requests) = world.seen(acquire()).await;
        assert_eq!((cached.expect("cached").access_token(), requests.len()), (token.access_token(), 0));
    }

    let own = |value: &str| json!({ "access_token": { "acrs": { "value": value } } }).to_string();
    for (value, expected) in [("c2", 1), ("c3", 1), ("c2", 0), ("c3", 0)] {
        let (token, requests) = world.seen(acquire().with_claims_from_client(own(value))).await;
        assert_eq!(claims(token.expect("a token").access_token())["acrs"], json!([value]));
        assert_eq!(requests.len(), expected, "{value}");
    }
    let (cached, requests) = world.seen(acquire()).await;
    assert_eq!(
        (claims(cached.expect("cached").access_token())["acrs"].clone(), requests.len()),
        (json!(["c1"]), 0)
    );

    let (outcome, requests) = world.seen(acquire().with_claims("{not json")).await;
    assert_eq!((outcome.expect_err("no JSON").code(), requests.len()), ("invalid_json_claims_format", 0));
}

/// An API refused a token: the caller names it by its hash, and gets another one, once.
#[tokio::test]
async fn a_token_that_an_api_refused_is_not_given_again() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let code = world.code(sample::ALICE, sample::WEB_API);
    let token = application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await;
    let refused = token.expect("a token");
    let account = refused.account().expect("an account");
    let hash = sha256_hex(refused.access_token());
    let acquire = || application.acquire_token_silent([GRAPH], &account);
    let (token, requests) = world.seen(acquire().with_access_token_sha256_to_refresh(&hash)).await;
    let token = token.expect("another one");
    assert_ne!(token.access_token(), refused.access_token());
    assert_eq!(requests.len(), 1);
    // The hash is of a token that isn't there any more: the cache serves, challenge or not.
    let request = acquire().with_access_token_sha256_to_refresh(hash.to_uppercase()).with_claims("{}");
    let (again, requests) = world.seen(request).await;
    assert_eq!((again.expect("cached").access_token(), requests.len()), (token.access_token(), 0));

    for (request, code) in [
        (acquire().with_access_token_sha256_to_refresh("not a hash"), "invalid_token_hash"),
        (
            acquire().with_access_token_sha256_to_refresh(&hash).with_force_refresh(true),
            "force_refresh_and_token_hash_not_compatible",
        ),
    ] {
        let (outcome, requests) = world.seen(request).await;
        assert_eq!((outcome.expect_err("a mistake").code(), requests.len()), (code, 0));
    }
}

#[tokio::test]
async fn parameters_go_where_they_belong_and_partition_the_cache() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "web-api", |settings| {
        settings["AzureAd"]["ExtraQueryParameters"] = json!({ "dc": "configured", "slice": "a b&c" });
    });
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let acquire = || application.acquire_token_on_behalf_of([GRAPH], &assertion);
    let text = |request: &LogEntry, name: &str| {
        let found = request.query.iter().find(|field| field.name == name).map(|field| field.value.clone());
        match found {
            Some(FieldValue::Text(text)) => text,
            other => panic!("{name}: {other:?}"),
        }
    };
    let (_, requests) = world.seen(acquire()).await;
    assert_eq!((query(&requests[0]), text(&requests[0], "slice").as_str()), (vec!["dc", "slice"], "a b&c"));
    let encoded = acquire().with_encoded_query_parameters([("slice", "a%20b%26c%3D")]);
    let (_, requests) = world.seen(encoded).await;
    assert_eq!(text(&requests[0], "slice"), "a b&c=", "as it is, not encoded twice");
    let (token, requests) = world.seen(acquire().with_extra_query_parameters([("DC", "of the call")])).await;
    token.expect("a token");
    assert_eq!(requests.len(), 1, "another parameter, another token");
    let of_call: Vec<_> = requests[0].query.iter().map(|field| field.name.to_lowercase()).collect();
    assert_eq!(of_call, ["slice", "dc"], "in the place of the configured one");

    for (value, expected) in [("1", 1), ("2", 1), ("1", 0)] {
        let (token, requests) = world.seen(acquire().with_extra_body_parameters([("x-own", value)])).await;
        token.expect("a token");
        assert_eq!(requests.len(), expected);
        assert!(requests.iter().all(|request| request.form_names().any(|name| name == "x-own")));
    }
    // A parameter of the query isn't one of the body.
    let (_, requests) = world.seen(acquire().with_extra_query_parameters([("x-own", "1")])).await;
    assert_eq!(requests.len(), 1);

    let (token, requests) = world
        .seen(acquire().with_extra_http_headers([("x-client-brkrver", "1")]).with_force_refresh(true))
        .await;
    token.expect("a token");
    assert_eq!(requests[0].header("x-client-brkrver"), Some("1"));

    let before = world.token_requests().len();
    for name in
        ["assertion", "client_id", "Client_Secret", "grant_type", "scope", "client_assertion", "fmi_path"]
    {
        let error = acquire().with_extra_body_parameters([(name, "x")]).await.expect_err(name);
        assert_eq!(error.code(), "reserved_parameter", "{name}");
    }
    for name in
        ["authorization", "Host", "content-length", "cookie", "transfer-encoding", "proxy-authorization"]
    {
        let error = acquire().with_extra_http_headers([(name, "x")]).await.expect_err(name);
        assert_eq!(error.code(), "reserved_parameter", "{name}");
    }
    let error =
        acquire().with_extra_http_headers([("x-own", "a\r\nx-evil: 1")]).await.expect_err("two headers");
    assert_eq!(error.code(), "invalid_extra_header");
    assert_eq!(world.token_requests().len(), before);
}

#[tokio::test]
async fn partitions_of_the_callers_own() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let code = world.code(sample::ALICE, sample::WEB_API);
    let sign_in = application
        .acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI)
        .with_cache_partition_key("session", "one", true);
    let account = sign_in.await.expect("a token").account().expect("an account");
    let silent = |value: Option<&str>, refresh_tokens| {
        let request = application.acquire_token_silent([GRAPH], &account);
        match value {
            Some(value) => request.with_cache_partition_key("session", value, refresh_tokens),
            None => request,
        }
    };
    let (own, requests) = world.seen(silent(Some("one"), true)).await;
    own.expect("its own partition");
    assert_eq!(requests.len(), 0);
    for (value, refresh_tokens) in [(Some("two"), true), (None, false)] {
        let (outcome, requests) = world.seen(silent(value, refresh_tokens)).await;
        assert_eq!((outcome.expect_err("not its own").code(), requests.len()), ("no_tokens_found", 0));
    }
    // Access tokens alone: the refresh token is common.
    let code = world.code(sample::ALICE, sample::WEB_API);
    application.acquire_token_by_authorization_code([VAULT], code, REDIRECT_URI).await.expect("a token");
    let (token, requests) = world.seen(silent(Some("three"), false)).await;
    token.expect("by the common refresh token");
    assert_eq!(requests.len(), 1);
    let sent = format!("{requests:?}");
    assert!(!sent.contains("three") && !sent.contains("session"), "nothing of it goes to the authority");
    let error =
        application.acquire_token_for_client([GRAPH]).with_cache_partition_key("fmi_path", "x", false);
    assert_eq!(error.await.expect_err("a name of the protocol").code(), "reserved_parameter");
}

#[tokio::test]
async fn fmi_paths_and_attributes_have_tokens_of_their_own() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    let plain = || application.acquire_token_for_client([GRAPH]);
    let mut seen = vec![plain().await.expect("a token").access_token().to_owned()];
    for request in [
        plain().with_fmi_path("a/b"),
        plain().with_fmi_path("a/c"),
        plain().with_attributes(r#"{"colour":"blue"}"#),
        plain().with_attribute_tokens(["two", "one", "two"]),
        plain().with_fmi_path_for_client_assertion("a/b"),
    ] {
        let (token, requests) = world.seen(request.clone()).await;
        let token = token.expect("a token").access_token().to_owned();
        assert_eq!(requests.len(), 1);
        assert!(!seen.contains(&token));
        let (again, requests) = world.seen(request).await;
        assert_eq!((again.expect("cached").access_token(), requests.len()), (token.as_str(), 0));
        seen.push(token);
    }
    let requests = world.token_requests();
    let paths: Vec<_> = requests.iter().map(|request| request.form_text("fmi_path")).collect();
    assert_eq!(paths, [None, Some("a/b"), Some("a/c"), None, None, None]);
    assert_eq!(requests[3].form_text("attributes"), Some(r#"{"colour":"blue"}"#));
    assert_eq!(claims(&seen[4])["attribute_tokens"], "one two");
    // Order and repetition of attribute tokens make no difference.
    let (_, requests) = world.seen(plain().with_attribute_tokens(["one", "two"])).await;
    assert_eq!(requests.len(), 0);
}

/// The caller's id goes to the authority with every attempt, and comes back in the result and in the error.
#[tokio::test]
async fn correlation_ids_end_to_end() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let id = Uuid::new_v4();
    let acquire = |assertion: &str| {
        application.acquire_token_on_behalf_of([GRAPH], assertion.to_owned()).with_correlation_id(id)
    };
    let token = acquire(&assertion).await.expect("a token");
    let cached = acquire(&assertion).await.expect("a cached token");
    assert_eq!((token.correlation_id(), cached.correlation_id()), (id, id));
    let wrong = world.user_token(sample::ALICE, sample::SECRET);
    let error = acquire(&wrong).await.expect_err("a refusal");
    assert_eq!(error.correlation_id(), Some(id.to_string().as_str()));
    let decision = error.acquisition().expect("a decision");
    let refused = world.token_requests().pop().expect("a request");
    assert_eq!(decision.trace_id, refused.trace_id);
    assert!(decision.timestamp.is_some());
    world.authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders));
    let error = acquire(&assertion).with_force_refresh(true).await.expect_err("a reset");
    assert_eq!(error.correlation_id(), Some(id.to_string().as_str()));
    for request in world.token_requests() {
        assert_eq!(request.header("client-request-id"), Some(id.to_string().as_str()));
        assert_eq!(request.header("return-client-request-id"), Some("true"));
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let token =
            application.acquire_token_on_behalf_of([VAULT], &assertion).with_force_refresh(true).await;
        ids.push(token.expect("a token").correlation_id());
    }
    assert_ne!(ids[0], ids[1], "without one of the caller's, each has its own");
}

#[tokio::test]
async fn tokens_for_signed_http_requests() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let coordinate = |letter: &str| letter.repeat(43);
    let key = |letter| {
        json!({ "kty": "EC", "crv": "P-256", "x": coordinate(letter), "y": coordinate("A") }).to_string()
    };
    let mut tokens = Vec::new();
    for (letter, expected) in [("A", 1), ("E", 1), ("A", 0), ("E", 0)] {
        let acquire =
            application.acquire_token_on_behalf_of([GRAPH], &assertion).with_pop_public_key(key(letter));
        let (token, requests) = world.seen(acquire).await;
        let token = token.expect("a token");
        assert_eq!((token.token_type(), requests.len()), ("PoP", expected), "{letter}");
        let thumbprint = claims(token.access_token())["cnf"]["kid"].as_str().expect("a key").to_owned();
        for request in requests {
            assert_eq!(request.form_text("token_type"), Some("pop"));
            assert!(request.form_text("req_cnf").is_some());
        }
        tokens.push(thumbprint);
    }
    assert_eq!((&tokens[0], &tokens[1]), (&tokens[2], &tokens[3]));
    assert_ne!(tokens[0], tokens[1]);
    let (bearer, requests) = world.seen(application.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    assert_eq!(
        (bearer.expect("a token").token_type(), requests.len()),
        ("Bearer", 1),
        "no bound token serves"
    );

    // The authority doesn't get away with an unbound one.
    world.authority.faults().add(FaultRule::once(Fault::TokenType { value: Some("Bearer".into()) }));
    let entries = application.cache_statistics().entries;
    let downgraded = application.acquire_token_for_client([GRAPH]).with_pop_public_key(key("A")).await;
    let error = downgraded.expect_err("another type");
    assert_eq!(error.code(), "token_type_mismatch");
    assert_eq!(application.cache_statistics().entries, entries);
    let both = application.acquire_token_for_client([GRAPH]).with_pop_public_key(key("A"));
    let (outcome, requests) = world.seen(both.with_mtls_proof_of_possession()).await;
    let error = outcome.expect_err("bound twice");
    assert_eq!((error.code(), requests.len()), ("pop_key_and_certificate_not_compatible", 0));
}

/// Only the application's own tokens can be bound to its certificate; that is known before anything is sent.
#[tokio::test]
async fn no_users_token_is_bound_to_the_certificate() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api-bound");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API_BOUND);
    application.initiate_long_running_process([VAULT], &assertion, "key").await.expect("a process");
    let code = world.code(sample::ALICE, sample::WEB_API_BOUND);
    let token = application.acquire_token_by_authorization_code([VAULT], &code, REDIRECT_URI).await;
    let account = token.expect("a token").account().expect("an account");
    let before = world.token_requests().len();
    let outcomes = [
        application.acquire_token_on_behalf_of([GRAPH], &assertion).with_mtls_proof_of_possession().await,
        application
            .initiate_long_running_process([GRAPH], &assertion, "key")
            .with_mtls_proof_of_possession()
            .await,
        application
            .acquire_token_in_long_running_process([GRAPH], "key")
            .with_mtls_proof_of_possession()
            .await,
        application.acquire_token_silent([GRAPH], &account).with_mtls_proof_of_possession().await,
        application.acquire_token_by_refresh_token([GRAPH], "1.x").with_mtls_proof_of_possession().await,
        application
            .acquire_token_by_authorization_code([GRAPH], &code, REDIRECT_URI)
            .with_mtls_proof_of_possession()
            .await,
        application
            .acquire_token_by_username_password([GRAPH], sample::ALICE, sample::ALICE_PASSWORD)
            .with_mtls_proof_of_possession()
            .await,
        application
            .acquire_token_by_user_federated_identity_credential(
                [GRAPH],
                symbolon::User::Username(sample::ALICE.into()),
                "a.b.c",
            )
            .with_mtls_proof_of_possession()
            .await,
    ];
    for outcome in outcomes {
        let error = outcome.expect_err("a user's token");
        assert_eq!(error.code(), "mtls_pop_requires_app_token");
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InvalidRequest);
    }
    assert_eq!(world.token_requests().len(), before);
    application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await.expect("its own");
}

/// An authority other than the configured one's cloud is asked in its own words.
#[tokio::test]
async fn another_cloud() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "web-api", |settings| {
        settings["AzureAd"]["Instance"] = "https://login.microsoftonline.us/".into();
    });
    let scope = "https://graph.microsoft.us/.default";
    let (token, requests) = world.seen(application.acquire_token_for_client([scope])).await;
    token.expect("a token");
    assert_eq!(requests[0].host, "login.microsoftonline.us");
    let begun = application.authorization_request([scope], REDIRECT_URI).await.expect("a sign-in");
    assert!(begun.url.starts_with("https://login.microsoftonline.us/"), "{}", begun.url);
}
