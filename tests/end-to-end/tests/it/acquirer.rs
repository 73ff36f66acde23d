//! Tokens by the sections of a configuration.

use serde_json::{Value, json};
use symbolon::{
    AcquireTokenOptions, AgentIdentity, ErrorKind, SessionKey, Settings, Symbolon, TokenAcquirer, User,
};
use symbolon_authority::{CONTOSO, FABRIKAM, LogEntry, Registration, sample};
use symbolon_end_to_end::{GRAPH, World, claims, engine};

/// The sample web API as the default section, the sample blueprint as another one.
fn settings(world: &World, change: impl FnOnce(&mut Value)) -> Settings {
    let mut settings = world.settings("web-api");
    settings["Blueprint"] = world.settings("blueprint")["AzureAd"].clone();
    change(&mut settings);
    Settings::from_value(settings)
}

fn acquirer(world: &World, symbolon: &Symbolon) -> TokenAcquirer {
    symbolon.token_acquirer(settings(world, |_| {}))
}

fn of_blueprint() -> AcquireTokenOptions {
    options(json!({ "AuthenticationOptionsName": "Blueprint" }))
}

fn options(json: Value) -> AcquireTokenOptions {
    serde_json::from_value(json).expect("options")
}

fn clients(log: &[LogEntry]) -> Vec<&str> {
    log.iter().filter_map(|entry| entry.form_text("client_id")).collect()
}

#[tokio::test]
async fn each_section_is_an_application_of_its_own() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = symbolon.token_acquirer(settings(&world, |settings| {
        settings["Again"] = settings["AzureAd"].clone();
    }));
    for (name, client_id, requests) in [
        (None, sample::WEB_API, 1),
        (Some("azuread"), sample::WEB_API, 0),
        (Some(""), sample::WEB_API, 0),
        (Some("Blueprint"), sample::BLUEPRINT, 1),
        (Some("BLUEPRINT"), sample::BLUEPRINT, 0),
        (Some("Again"), sample::WEB_API, 1),
        (Some("again"), sample::WEB_API, 0),
    ] {
        assert_eq!(acquirer.application(name).expect("an application").options().client_id(), client_id);
        let mut options = AcquireTokenOptions::default();
        options.authentication_options_name = name.map(str::to_owned);
        let (token, log) = world.seen(acquirer.get_token_for_app(GRAPH, &mut options)).await;
        let token = token.expect("a token");
        assert_eq!(
            (claims(token.access_token())["appid"].as_str(), log.len()),
            (Some(client_id), requests),
            "{name:?}"
        );
    }
    let error = acquirer.application("Nothing").expect_err("no such section");
    assert!(error.to_string().contains("\"Blueprint\""), "{error}");
    assert_eq!(acquirer.application("Nothing").expect_err("not kept").code(), "invalid_configuration");
}

#[tokio::test]
async fn what_an_applications_own_token_needs() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = symbolon.token_acquirer(settings(&world, |settings| {
        settings["Many"] = settings["AzureAd"].clone();
        settings["Many"]["TenantId"] = "common".into();
    }));
    let error = acquirer.get_token_for_app("https://graph.microsoft.com/User.Read", None).await;
    let error = error.expect_err("no /.default");
    assert_eq!(
        (error.code(), error.acquisition().expect("a decision").kind),
        ("IDW10404", ErrorKind::InvalidRequest)
    );
    assert!(
        error.to_string().starts_with("IDW10404: ") && error.to_string().contains("User.Read"),
        "{error}"
    );

    for (section, tenant, refused) in [
        ("AzureAd", "common", true),
        ("AzureAd", "Organizations", true),
        ("Many", "", true),
        ("Many", CONTOSO, false),
        ("AzureAd", "", false),
        ("AzureAd", FABRIKAM, false),
    ] {
        let mut options = options(json!({ "AuthenticationOptionsName": section, "Tenant": tenant }));
        let token = acquirer.get_token_for_app(GRAPH, &mut options).await;
        match token {
            Ok(token) => {
                let asked = if tenant.is_empty() { CONTOSO } else { tenant };
                assert_eq!((token.tenant_id(), refused), (Some(asked), false), "{section} {tenant}");
            }
            Err(error) => {
                assert_eq!((error.code(), refused), ("IDW10405", true), "{section} {tenant}: {error}")
            }
        }
    }
}

#[tokio::test]
async fn everything_that_is_asked_beside_reaches_the_authority() {
    let (world, symbolon) = (World::start().await, engine());
    let registration = Registration::new(sample::BLUEPRINT).secret("of the blueprint").fmi_path("a/b");
    world.authority.register(registration);
    let acquirer = symbolon.token_acquirer(settings(&world, |settings| {
        settings["Blueprint"]["ClientCredentials"][0]["ClientSecret"] = "of the blueprint".into();
        settings["Blueprint"]["ExtraQueryParameters"] = json!({ "dc": "configured", "slice": "configured" });
    }));
    let mut options = options(json!({
        "authenticationOptionsName": "Blueprint",
        "CorrelationId": "11111111-2222-4333-8444-555555555555",
        "Claims": r#"{"access_token":{"a":null}}"#,
        "FmiPath": "a/b",
        "ExtraQueryParameters": { "SLICE": "asked" },
        "ExtraHeadersParameters": { "x-client-brkrver": "1" },
        "ExtraParameters": { "EXTRA_BODY_PARAMETERS": { "asked": "1" } },
    }));
    let (token, log) = world.seen(acquirer.get_token_for_app(GRAPH, &mut options)).await;
    assert_eq!(token.expect("a token").correlation_id(), options.correlation_id.expect("an id"));
    let [entry] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!(entry.header("client-request-id"), Some("11111111-2222-4333-8444-555555555555"));
    assert_eq!(entry.header("x-client-brkrver"), Some("1"));
    assert_eq!(entry.form_text("claims"), Some(r#"{"access_token":{"a":null}}"#));
    assert_eq!(entry.form_text("fmi_path"), Some("a/b"));
    assert!(entry.form_names().any(|name| name == "asked"));
    let query: Vec<_> = entry.query.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(query, ["dc", "SLICE"]);

    options.claims = None;
    assert_eq!(world.seen(acquirer.get_token_for_app(GRAPH, &mut options)).await.1.len(), 0);
    options.force_refresh = true;
    assert_eq!(world.seen(acquirer.get_token_for_app(GRAPH, &mut options)).await.1.len(), 1);
}

#[tokio::test]
async fn a_users_token_and_a_session_key_say_which_flow() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = acquirer(&world, &symbolon);
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let scopes = ["openid", "Profile", "https://graph.microsoft.com/User.Read", "offline_access"];

    // No key: on behalf of the user, twice the same, and nothing is kept for later.
    let mut options = AcquireTokenOptions::default();
    let (token, log) = world.seen(acquirer.get_token_for_user(scopes, Some(&assertion), &mut options)).await;
    let plain = token.expect("a token");
    assert_eq!(
        log[0].form_text("scope"),
        Some("https://graph.microsoft.com/User.Read offline_access openid profile")
    );
    assert_eq!((plain.long_running_session_key(), &options.long_running_session_key), (None, &None));
    let (_, log) = world.seen(acquirer.get_token_for_user([scopes[2]], Some(&assertion), None)).await;
    assert_eq!(log.len(), 0, "the same without options and reserved scopes");

    // A key that is allocated, and is there for the next call.
    options.long_running_session_key = Some(SessionKey::AllocateForMe);
    let (token, log) = world.seen(acquirer.get_token_for_user(scopes, Some(&assertion), &mut options)).await;
    let begun = token.expect("a token");
    assert_eq!(log.len(), 1);
    let allocated = options.long_running_session_key.clone().expect("a key");
    assert_eq!(allocated.get(), begun.long_running_session_key());
    assert!(allocated.get().is_some());
    let (token, log) = world.seen(acquirer.get_token_for_user(scopes, None, &mut options)).await;
    assert_eq!((token.expect("a token").access_token(), log.len()), (begun.access_token(), 0));
    options.force_refresh = true;
    let (token, log) = world.seen(acquirer.get_token_for_user(scopes, None, &mut options)).await;
    token.expect("a token");
    assert_eq!(log[0].form_text("grant_type"), Some("refresh_token"));
    assert_eq!(options.long_running_session_key, Some(allocated));

    // A key of the caller's own is left as it is.
    let mut options = AcquireTokenOptions::default();
    options.long_running_session_key = Some("mine".into());
    acquirer.get_token_for_user(scopes, Some(&assertion), &mut options).await.expect("a token");
    assert_eq!(options.long_running_session_key, Some("mine".into()));
    acquirer.get_token_for_user(scopes, None, &mut options).await.expect("a token");
    assert_eq!(options.long_running_session_key, Some("mine".into()));
    assert_eq!(
        acquirer.application(None).expect("an application").stop_long_running_process("mine").await.ok(),
        Some(true)
    );
}

#[tokio::test]
async fn without_a_user_nothing_is_sent() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = acquirer(&world, &symbolon);
    let before = world.authority.log().len();
    for (json, code) in [
        (json!({}), "invalid_request"),
        (json!({ "LongRunningWebApiSessionKey": "" }), "invalid_request"),
        (json!({ "LongRunningWebApiSessionKey": "AllocateForMe" }), "obo_cache_key_not_in_cache_error"),
        (json!({ "LongRunningWebApiSessionKey": "unknown" }), "obo_cache_key_not_in_cache_error"),
        (
            json!({
                "AuthenticationOptionsName": "Blueprint",
                "ExtraParameters": { "IDWEB_AGENT_IDENTITY": sample::AGENT_ONE },
            }),
            "invalid_request",
        ),
    ] {
        let mut options = options(json.clone());
        let key = options.long_running_session_key.clone();
        let error =
            acquirer.get_token_for_user([GRAPH], Some(""), &mut options).await.expect_err("a mistake");
        assert_eq!(error.code(), code, "{json}: {error}");
        assert_eq!(options.long_running_session_key, key, "{json}");
    }
    assert_eq!(world.authority.log().len(), before);
}

#[tokio::test]
async fn a_failed_call_leaves_the_key_alone() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = acquirer(&world, &symbolon);
    let foreign = world.user_token(sample::ALICE, sample::SECRET);
    let mut options = options(json!({ "LongRunningWebApiSessionKey": "AllocateForMe" }));
    acquirer.get_token_for_user([GRAPH], Some(&foreign), &mut options).await.expect_err("a refusal");
    assert_eq!(options.long_running_session_key, Some(SessionKey::AllocateForMe));
}

#[tokio::test]
async fn the_directory_is_that_of_the_user() {
    let (world, symbolon) = (World::start().await, engine());
    let user = symbolon_authority::User::new("d0a00000-0000-4000-8000-000000000004", "dora@fabrikam.com")
        .tenant("fabrikam.com");
    world.authority.register_user(user);
    let acquirer = acquirer(&world, &symbolon);
    let assertion = world.user_token("dora@fabrikam.com", sample::WEB_API);
    let (token, log) = world.seen(acquirer.get_token_for_user([GRAPH], Some(&assertion), None)).await;
    assert_eq!(token.expect("a token").tenant_id(), Some(FABRIKAM));
    assert_eq!(log[0].tenant.as_deref(), Some(FABRIKAM));
}

#[tokio::test]
async fn agents_act_for_themselves_for_their_users_and_for_those_who_call() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = acquirer(&world, &symbolon);
    let incoming = world.user_token(sample::BOB, sample::BLUEPRINT);
    let alice = User::ObjectId(sample::ALICE_OBJECT_ID.parse().expect("a GUID"));

    let mut agent = of_blueprint().with_agent_identity(sample::AGENT_ONE);
    let (token, log) = world.seen(acquirer.get_token_for_app(GRAPH, &mut agent)).await;
    let of_app = claims(token.expect("a token").access_token());
    assert_eq!((of_app["appid"].as_str(), of_app["idtyp"].as_str()), (Some(sample::AGENT_ONE), Some("app")));
    assert_eq!(clients(&log), [sample::BLUEPRINT, sample::AGENT_ONE]);

    let (token, log) = world.seen(acquirer.get_token_for_user([GRAPH], Some(&incoming), &mut agent)).await;
    let of_bob = claims(token.expect("a token").access_token());
    assert_eq!(
        (of_bob["appid"].as_str(), of_bob["upn"].as_str()),
        (Some(sample::AGENT_ONE), Some(sample::BOB))
    );
    assert_eq!(clients(&log), [sample::AGENT_ONE], "the token of its blueprint is known");

    // For users its own user counts, for applications it doesn't.
    let mut agent = agent.with_agent_user_identity(sample::AGENT_ONE, alice);
    let (token, log) = world.seen(acquirer.get_token_for_user([GRAPH], Some(&incoming), &mut agent)).await;
    assert_eq!(claims(token.expect("a token").access_token())["upn"], sample::ALICE);
    assert_eq!(clients(&log), [sample::AGENT_ONE, sample::AGENT_ONE]);
    let (token, log) = world.seen(acquirer.get_token_for_app(GRAPH, &mut agent)).await;
    assert_eq!((claims(token.expect("a token").access_token()), log.len()), (of_app, 0));

    let mut named = options(json!({
        "AuthenticationOptionsName": "Blueprint",
        "ExtraParameters": { "IDWEB_AGENT_IDENTITY": sample::AGENT_ONE, "IDWEB_USERNAME": sample::ALICE },
    }));
    assert_eq!(named.agent, Some(AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE)));
    let (token, log) = world.seen(acquirer.get_token_for_user([GRAPH], None, &mut named)).await;
    assert_eq!(claims(token.expect("a token").access_token())["upn"], sample::ALICE);
    assert!(log.len() <= 1, "the same person by another name: {log:?}");

    named.long_running_session_key = Some(SessionKey::AllocateForMe);
    named = named.with_agent_identity(sample::AGENT_ONE);
    let error =
        acquirer.get_token_for_user([GRAPH], Some(&incoming), &mut named).await.expect_err("no such process");
    assert_eq!(error.code(), "invalid_request");
    named.fmi_path = Some("a/b".into());
    let error = acquirer.get_token_for_app(GRAPH, &mut named).await.expect_err("no such path");
    assert_eq!(error.code(), "invalid_request");
}

#[tokio::test]
async fn of_two_names_the_username_counts_unless_it_is_strict() {
    let (world, symbolon) = (World::start().await, engine());
    let twice = || {
        options(json!({
            "AuthenticationOptionsName": "Blueprint",
            "ExtraParameters": {
                "IDWEB_AGENT_IDENTITY": sample::AGENT_ONE,
                "IDWEB_USERNAME": sample::ALICE,
                "IDWEB_USER_ID": sample::BOB_OBJECT_ID,
            },
        }))
    };
    let token = acquirer(&world, &symbolon).get_token_for_user([GRAPH], None, &mut twice()).await;
    assert_eq!(claims(token.expect("a token").access_token())["upn"], sample::ALICE);

    let strict =
        symbolon.token_acquirer(settings(&world, |settings| settings["Symbolon"]["Strict"] = true.into()));
    let before = world.token_requests().len();
    let error = strict.get_token_for_user([GRAPH], None, &mut twice()).await.expect_err("two names");
    assert_eq!(error.code(), "invalid_request");
    assert_eq!(world.token_requests().len(), before);
    let mut once = twice().with_agent_user_identity(sample::AGENT_ONE, User::Username(sample::ALICE.into()));
    strict.get_token_for_user([GRAPH], None, &mut once).await.expect("one name");
}

/// All that the section says holds for the requests of its agents, too.
#[tokio::test]
async fn agents_inherit_what_their_blueprints_section_says() {
    let (world, symbolon) = (World::start().await, engine());
    let acquirer = symbolon.token_acquirer(settings(&world, |settings| {
        settings["Blueprint"] = world.settings("blueprint-bound")["AzureAd"].clone();
        settings["Blueprint"]["ClientCredentials"][0]["UseBoundCredential"] = false.into();
        settings["Blueprint"]["ClientCapabilities"] = json!(["cp1"]);
        settings["Blueprint"]["AzureRegion"] = "westus2".into();
        settings["Blueprint"]["SendX5C"] = true.into();
        settings["Blueprint"]["ExtraQueryParameters"] = json!({ "dc": "configured" });
    }));
    let mut options =
        of_blueprint().with_agent_user_identity(sample::BOUND_AGENT, User::Username(sample::ALICE.into()));
    let (token, log) = world.seen(acquirer.get_token_for_user([GRAPH], None, &mut options)).await;
    assert_eq!(claims(token.expect("a token").access_token())["xms_cc"], json!(["cp1"]));
    assert_eq!(log.len(), 3);
    // Regions have what applications prove themselves with, and nothing of users.
    let hosts: Vec<_> = log.iter().map(|entry| entry.host.as_str()).collect();
    assert_eq!(
        hosts,
        ["westus2.login.microsoft.com", "westus2.login.microsoft.com", "login.microsoftonline.com"]
    );
    let ids: Vec<_> = log.iter().map(|entry| entry.header("client-request-id")).collect();
    for entry in &log {
        assert_eq!(entry.form_text("claims"), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#));
        assert_eq!(
            serde_json::to_value(&entry.query).expect("JSON"),
            json!([{ "name": "dc", "value": "configured" }])
        );
        assert_eq!(entry.header("client-request-id"), ids[0]);
    }
    let (header, _) = log[0].client_assertion().expect("the blueprint's assertion");
    assert_eq!(header["x5c"]["form"], "array");
}
