//! How a call is made: what is configured, what the call says instead, what goes out.

use std::ffi::OsString;
use std::time::Duration;

use http::HeaderValue;
use serde_json::{Value, json};
use symbolon::{AgentIdentity, DownstreamErrorKind, DownstreamResponse, Error, SessionKey, Settings};
use symbolon_authority::{Api, sample};
use symbolon_end_to_end::apis::{API, configure, of_tokens};
use symbolon_end_to_end::{GRAPH, World, engine};

/// What the API saw, as it says itself.
async fn seen(response: DownstreamResponse) -> Value {
    response.error_for_status().await.expect("success").json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_says_is_for_that_call_and_by_presence() {
    let world = World::start().await;
    let api = world.api(Api::builder()).await;
    let calling = world.calling(
        &engine(),
        "secret",
        &api,
        json!({
            "RelativePath": "/v1?a=b", "HttpMethod": "Put", "AcceptHeader": "text/csv", "ContentType": "text/plain",
            "ExtraHeaderParameters": { "x-one": "configured", "x-two": "configured" },
            "ExtraQueryParameters": { "one": "value with spaces & symbols", "two": "configured" },
        }),
    );
    let first = calling.call().body("text").header("X-Two", "called").query("two", "called").send().await;
    let first = seen(first.expect("an answer")).await;
    assert_eq!((&first["method"], &first["path"]), (&json!("PUT"), &json!("/v1")));
    assert_eq!(first["query"], "a=b&one=value%20with%20spaces%20%26%20symbols&two=called");
    let headers = &first["headers"];
    assert_eq!((&headers["x-one"], &headers["x-two"]), (&json!("configured"), &json!("called")));
    assert_eq!((&headers["accept"], &headers["content-type"]), (&json!("text/csv"), &json!("text/plain")));

    // Also what would be a default, and nothing of it is left afterwards.
    let second = calling.get("").accept("application/json").request_app_token(true).send().await;
    let second = seen(second.expect("an answer")).await;
    assert_eq!((&second["path"], &second["headers"]["accept"]), (&json!("/"), &json!("application/json")));
    let third = seen(calling.call().accept("").send().await.expect("an answer")).await;
    assert_eq!((&third["method"], &third["headers"]["x-two"]), (&json!("PUT"), &json!("configured")));
    assert_eq!((third["headers"].get("accept"), &third["path"]), (None, &json!("/v1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_headers_are_left_out() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let options = json!({ "ExtraHeaderParameters": {
        "Authorization": "Basic x", "X-Forwarded-For": "127.0.0.1", "Host": "elsewhere", "Content-Length": "7",
        "x-kept": "kept", "Accept": "text/plain",
    }});
    let calling = world.calling(&engine(), "secret", &api, options);
    let seen = seen(calling.get("a").header("Cookie", "a=b").send().await.expect("an answer")).await;
    assert_eq!(seen["authorizationScheme"], "Bearer");
    for name in ["x-forwarded-for", "cookie", "content-length"] {
        assert_eq!(seen["headers"].get(name), None, "{name}");
    }
    assert_eq!(
        (&seen["headers"]["x-kept"], &seen["headers"]["accept"]),
        (&json!("kept"), &json!("application/json"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_run_in_their_order() {
    let world = World::start().await;
    let api = world.api(Api::builder()).await;
    let calling = world.calling(&engine(), "secret", &api, json!({}));
    let append = |parts: &mut http::request::Parts, step: &str| {
        let is_authorized = parts.headers.contains_key("authorization");
        let value = format!("{step} {is_authorized}");
        parts.headers.append("x-step", HeaderValue::try_from(value).expect("a value"));
    };
    let call = calling
        .get("a")
        .customize_request(move |parts| append(parts, "last"))
        .on_after_authorization(move |parts| append(parts, "after"))
        .on_before_authorization(move |parts| append(parts, "before"));
    call.send().await.expect("an answer");
    let steps: Vec<_> = api.log()[0]
        .headers
        .iter()
        .filter(|(name, _)| name == "x-step")
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(steps, ["before false", "after true", "last true"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scopes_nothing_is_presented() {
    let world = World::start().await;
    let api = world.api(Api::builder()).await;
    let calling = world.calling(&engine(), "secret", &api, json!({ "Scopes": [], "RequestAppToken": false }));
    let seen = seen(calling.get("a").send().await.expect("an answer")).await;
    assert_eq!(seen["authorizationScheme"], Value::Null);
    assert_eq!(world.authority.log().len(), 0);

    let error = calling.get("a").for_app().scheme(symbolon::ProtocolScheme::MtlsPop).send().await;
    assert_eq!(error.expect_err("no scopes").code(), "invalid_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_of_a_user_is_refused_before_anything_is_done() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let options = json!({ "ProtocolScheme": "MTLS_POP", "RequestAppToken": false });
    let calling = world.calling(&engine(), "web-api-bound", &api, options);
    let incoming = world.user_token(sample::ALICE, sample::WEB_API_BOUND);
    let error = calling.get("me").for_user(incoming).send().await.expect_err("a user");
    assert_eq!(error.code(), "IDW10116");
    assert_eq!((world.authority.log().len(), api.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_for_the_user_of_a_token_or_of_a_session_key() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let options = json!({ "RequestAppToken": false, "Scopes": ["User.Read"] });
    let calling = world.calling(&engine(), "web-api", &api, options);
    let incoming = world.user_token(sample::ALICE, sample::WEB_API);

    let call = calling.get("me").for_user(incoming).long_running_session_key(SessionKey::AllocateForMe);
    let response = call.send().await.expect("an answer");
    let key = response.long_running_session_key().expect("a key").to_owned();
    let response = calling.get("me").long_running_session_key(key.clone()).send().await.expect("an answer");
    assert_eq!(response.long_running_session_key(), Some(key.as_str()));
    for request in api.log() {
        assert_eq!(request.token.expect("a token")["oid"], sample::ALICE_OBJECT_ID);
    }
    assert_eq!(world.token_requests().len(), 1);

    let error = calling.get("me").send().await.expect_err("nobody");
    assert!(error.to_string().contains("nothing says for which user"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_calls_as_itself() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let calling = world.calling(&engine(), "blueprint", &api, json!({}));
    let call = calling.get("a").agent_identity(AgentIdentity::app_only(sample::AGENT_ONE));
    assert_eq!(call.send().await.expect("an answer").status(), 200);
    assert_eq!(api.log()[0].token.as_ref().expect("a token")["azp"], sample::AGENT_ONE);
    let call = calling.get("a").request_app_token(false);
    let call = call.agent_identity(AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE));
    call.send().await.expect("an answer");
    assert_eq!(api.log()[1].token.as_ref().expect("a token")["oid"], sample::ALICE_OBJECT_ID);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_name_the_section_of_its_application() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let other = world.settings("certificate")["AzureAd"].clone();
    let application = world.application_with(&engine(), "secret", |settings| {
        settings["Other"] = other;
        configure(settings, &api, json!({ "AcquireTokenOptions": { "AuthenticationOptionsName": "Other" } }));
    });
    let calling = application.downstream_api(API).expect("the API");
    calling.get("a").send().await.expect("an answer");
    calling.get("a").authentication_options_name("azuread").send().await.expect("an answer");
    let clients: Vec<_> =
        api.log().into_iter().map(|request| request.token.expect("a token")["azp"].clone()).collect();
    assert_eq!(clients, [sample::CERTIFICATE, sample::SECRET]);

    let error = calling.get("a").authentication_options_name("Nowhere").send().await.expect_err("no section");
    assert!(matches!(&error, Error::Configuration(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_can_be_had_for_another_client() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let bound = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "MTLS_POP" }));
    let header = bound.authorization_header().await.expect("a header");
    let value = header.value().expect("a value");
    assert!(value.is_sensitive() && value.to_str().expect("text").starts_with("mtls_pop eyJ"));
    assert_eq!(header.authentication_result().expect("a token").token_type(), "mtls_pop");
    assert!(header.binding_certificate().is_some());
    let header =
        bound.call().scheme(symbolon::ProtocolScheme::Mtls).authorization_header().await.expect("a header");
    assert!(header.value().is_none() && header.binding_certificate().is_some());
    assert_eq!(api.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_answers_unless_they_are_wanted_and_carry_nothing_elsewhere() {
    let world = World::start().await;
    let api = world.api(of_tokens().ask(symbolon_authority::Ask::Optional)).await;
    let other =
        world.api(Api::builder().host("other.contoso.test").ask(symbolon_authority::Ask::Optional)).await;
    let application = world.application_with(&engine(), "bound", |settings| {
        settings["Symbolon"]["ConnectTo"][other.host()] = other.address().to_string().into();
        configure(settings, &api, json!({ "ProtocolScheme": "MTLS_POP" }));
    });
    let calling = application.downstream_api(API).expect("the API");
    let redirect =
        |to: &str, status: u16| calling.post("redirect").query("to", to).query("status", status.to_string());

    let response = redirect("/a", 302).body("text").send().await.expect("an answer");
    assert_eq!(response.status(), 302);

    let response = redirect("/a", 307).body("text").follow_redirects(true).send().await.expect("an answer");
    let here = seen(response).await;
    assert_eq!((&here["method"], &here["authorizationScheme"]), (&json!("POST"), &json!("mtls_pop")));
    assert_eq!((&here["bodyLength"], here["clientCertificate"].is_object()), (&json!(4), true));
    let response = redirect("/a", 302).body("text").follow_redirects(true).send().await.expect("an answer");
    assert_eq!(seen(response).await["method"], "GET");

    let elsewhere = redirect("https://other.contoso.test/b", 307).header("x-api-key", "secret").body("text");
    let there = seen(elsewhere.follow_redirects(true).send().await.expect("an answer")).await;
    assert_eq!((&there["path"], &there["bodyLength"]), (&json!("/b"), &json!(4)));
    assert_eq!((&there["authorizationScheme"], &there["clientCertificate"]), (&Value::Null, &Value::Null));
    assert_eq!(there["headers"].get("x-api-key"), None);

    // Nor has it a say in what is presented here.
    let tokens = world.token_requests().len();
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ""#;
    other.answer_next(401, [("www-authenticate", challenge)]);
    let elsewhere = redirect("https://other.contoso.test/b", 307).follow_redirects(true);
    let response = elsewhere.send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (401, 1));
    assert_eq!(world.token_requests().len(), tokens);

    let down =
        redirect("http://other.contoso.test/b", 307).follow_redirects(true).send().await.expect("an answer");
    assert_eq!(down.status(), 307);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_in_its_time() {
    let world = World::start().await;
    let api = world.api(Api::builder()).await;
    let calling = world.calling(&engine(), "secret", &api, json!({}));
    let short = Duration::from_millis(200);
    let kind = |error: Error| error.downstream().expect("about the API").kind;
    for call in [calling.get("silence").timeout(short), calling.get("silence").idle_timeout(short)] {
        assert_eq!(kind(call.send().await.expect_err("silence")), DownstreamErrorKind::DeadlineExceeded);
    }
    for call in [calling.get("stall").timeout(short), calling.get("stall").idle_timeout(short)] {
        let response = call.send().await.expect("the head");
        assert_eq!(kind(response.text().await.expect_err("no body")), DownstreamErrorKind::DeadlineExceeded);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_streams_and_reading_them_whole_has_a_limit() {
    let world = World::start().await;
    let api = world.api(Api::builder()).await;
    let mut calling = world.calling(&engine(), "secret", &api, json!({}));
    let mut response = calling.get("bytes/5000000").send().await.expect("the head");
    let mut length = 0;
    while let Some(part) = response.chunk().await.expect("a part") {
        length += part.len();
    }
    assert_eq!(length, 5_000_000);
    let error =
        calling.get("bytes/5000000").send().await.expect("the head").bytes().await.expect_err("too long");
    assert_eq!(error.code(), "response-too-large");

    #[derive(Debug, serde::Deserialize)]
    struct Other {
        #[serde(rename = "headers")]
        _headers: std::collections::BTreeMap<String, u32>,
    }
    let error =
        calling.get("a").send().await.expect("an answer").json::<Other>().await.expect_err("another shape");
    assert_eq!(error.code(), "malformed-response");
    assert!(error.to_string().contains("at headers.accept: invalid type"), "{error}");

    let error = calling.get("status/500").send().await.expect("an answer").error_for_status().await;
    let error = error.expect_err("500");
    let about = error.downstream().expect("about the API");
    assert!(about.body.as_deref().is_some_and(|body| body.contains("/status/500")), "{error}");
    assert!(about.correlation_ids.iter().any(|(name, _)| name == "token") && error.is_retryable());
    calling = calling.clone();
    let response = calling.get("status/204").send().await.expect("an answer").error_for_status().await;
    assert_eq!(response.expect("success").status(), 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_overrides_what_is_configured() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let mut settings = world.settings("secret");
    configure(&mut settings, &api, json!({ "BaseUrl": "https://nowhere.contoso.test", "Scopes": "a b" }));
    let variables =
        [("DownstreamApis__api__BaseUrl", api.url()), ("downstreamapis__API__Scopes", GRAPH.to_owned())]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let settings = Settings::from_value(settings).with_environment(variables);
    let acquirer = engine().token_acquirer(settings);
    let calling = acquirer.downstream_api("API").expect("the API");
    assert_eq!(calling.get("a").send().await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_not_sent() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let calling = world.calling(&engine(), "bound", &api, json!({}));
    for call in [
        calling.get("a").base_url("ftp://api.contoso.test"),
        calling.get("a").base_url("https://user@api.contoso.test"),
        calling.get("a").base_url("http://api.contoso.test").scheme(symbolon::ProtocolScheme::Mtls),
        calling.get("a").header("x y", "z"),
        calling.get("a").header("x", "line\nbreak"),
    ] {
        assert_eq!(call.send().await.expect_err("a mistake").code(), "invalid-request");
    }
    assert_eq!((world.authority.log().len(), api.connections()), (0, 0));
}
