//! What an acquisition does, step by step.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::*;
use proptest::prelude::*;
use symbolon_protocol::acquisition::{Absence, Entry, Found};
use symbolon_protocol::authority::SignatureAlgorithm;
use symbolon_protocol::cache::{AccessTokenItem, AppMetadataItem};
use symbolon_protocol::credential::{
    CredentialError, CredentialErrorKind, Description, Purpose, SignedAssertion,
};
use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::request::{
    CacheRefreshReason, ClientFlow, Context, Flow, Options, Request, Scheme, TokenSource,
};
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};

const REJECTED: &str = r#"{"error":"invalid_client","error_description":"AADSTS700027: bad signature"}"#;

/// The access token that an acquisition stores.
fn stored(request: Request, context: &Context, credential: Description) -> Box<AccessTokenItem> {
    let token_type = if request.scheme == Scheme::Bearer { "Bearer" } else { "mtls_pop" };
    let (_, trace) = run(request, context, World::new(credential, vec![token("at", token_type)]));
    let Entry::AccessToken(item) = trace.saved.into_iter().next().expect("saved").entry else {
        panic!("no token")
    };
    item
}

fn hit(item: Box<AccessTokenItem>) -> World {
    World { found: vec![Found::Hit(Entry::AccessToken(item))], ..World::new(secret(), vec![]) }
}

fn timeout() -> Result<HttpResponse, TransportError> {
    Err(TransportError {
        kind: TransportErrorKind::Timeout,
        detail: "connection-read-timeout".into(),
        may_be_sent: true,
    })
}

#[test]
fn a_cached_token_needs_no_credential() {
    let item = stored(request(), &context(), secret());
    let (result, trace) = run(request(), &context(), hit(item));
    let token = result.unwrap();
    assert_eq!((token.token.as_str(), token.source), ("at", TokenSource::Cache));
    assert_eq!(token.refresh_reason, CacheRefreshReason::NotApplicable);
    assert_eq!(token.token_endpoint, None);
    assert_eq!(trace.actions, ["find"]);
    assert_eq!(token.reuse.unwrap().until, NOW + 3599 - 300);
    assert_eq!(token.cache_key.as_ref(), trace.lookups[0].alternatives[0].first());
}

#[test]
fn what_is_stored_is_found_under_every_name_of_the_cloud() {
    let (_, trace) = run(request(), &context(), World::new(secret(), vec![token("at", "Bearer")]));
    let lookup = &trace.lookups[0];
    let saved = &trace.saved[0];
    assert_eq!(saved.keys, lookup.alternatives[0]);
    let others: Vec<_> = lookup.alternatives[1..].concat();
    assert_eq!(saved.replaces, others);
    assert_eq!(lookup.alternatives.len(), 4);
    assert_eq!((lookup.expires_after, lookup.expires_before), (NOW + 300, NOW + 315_360_000));
    assert_eq!(saved.partition_key, format!("{CLIENT}_{TENANT}_AppTokenCache"));
    assert_eq!(
        saved.item_key,
        format!("-login.windows.net-accesstoken-{CLIENT}-{TENANT}-https://graph.microsoft.com/.default")
    );
    assert_eq!(trace.saved[1].item_key, format!("appmetadata-login.windows.net-{CLIENT}"));
}

#[test]
fn a_bound_token_is_kept_apart_by_its_certificate() {
    let (_, trace) =
        run(pop_request(), &context(), World::new(certificate("T1"), vec![token("at", "mtls_pop")]));
    assert_eq!(trace.purposes, [Purpose::Bind]);
    assert_eq!(trace.saved[0].partition_key, format!("T1{CLIENT}_{TENANT}_AppTokenCache"));
    let (_, other) =
        run(pop_request(), &context(), World::new(certificate("T2"), vec![token("at", "mtls_pop")]));
    assert_ne!(trace.lookups[0].alternatives, other.lookups[0].alternatives);
    assert_ne!(trace.lookups[0].flight, other.lookups[0].flight);
}

#[test]
fn an_entry_that_differs_in_any_respect_is_not_trusted() {
    let spoil: [fn(&mut AccessTokenItem); 10] = [
        |item| item.client_id = "other".into(),
        |item| item.realm = "other".into(),
        |item| item.environment = "login.microsoftonline.us".into(),
        |item| item.target = "other".into(),
        |item| item.token_type = "mtls_pop".into(),
        |item| item.key_id = Some("t1".into()),
        |item| item.components.insert("fmi_path", "x"),
        |item| item.user_assertion_hash = Some("x".into()),
        |item| item.expires_on = NOW + 300,
        |item| item.home_account_id = "x".into(),
    ];
    for spoil in spoil {
        let mut item = stored(request(), &context(), secret());
        spoil(&mut item);
        let world = World {
            found: vec![
                Found::Hit(Entry::AccessToken(item)),
                Found::Lead { absence: Absence::Bypassed, now: NOW_MS },
            ],
            ..World::new(secret(), vec![token("fresh", "Bearer")])
        };
        let (result, trace) = run(request(), &context(), world);
        let token = result.unwrap();
        assert_eq!(token.token, "fresh");
        assert_eq!(token.refresh_reason, CacheRefreshReason::NoCachedAccessToken);
        assert!(!trace.lookups[0].bypass && trace.lookups[1].bypass);
        assert_ne!(trace.lookups[0].flight, trace.lookups[1].flight);
    }
}

#[test]
fn entries_that_can_never_be_used_do_not_end_in_a_loop() {
    let stranger = || Found::Hit(Entry::AppMetadata(AppMetadataItem::default()));
    let world =
        World { found: vec![stranger(), stranger()], ..World::new(secret(), vec![token("fresh", "Bearer")]) };
    let (result, trace) = run(request(), &context(), world);
    assert_eq!(result.unwrap().token, "fresh");
    assert_eq!(trace.actions, ["find", "find", "select", "send", "used", "put"]);
}

#[test]
fn a_token_that_is_due_is_given_and_its_renewal_advised() {
    let mut item = stored(request(), &context(), secret());
    item.refresh_on = Some(NOW - 301);
    let token = run(request(), &context(), hit(item.clone())).0.unwrap();
    assert_eq!(token.refresh_reason, CacheRefreshReason::ProactivelyRefreshed);
    assert!(token.reuse.unwrap().refresh_from.unwrap() <= NOW);
    item.refresh_on = Some(NOW + 301);
    let token = run(request(), &context(), hit(item)).0.unwrap();
    assert_eq!(token.refresh_reason, CacheRefreshReason::NotApplicable);
}

#[test]
fn the_reason_for_asking_is_told() {
    let forced = Request { options: Options { force_refresh: true, ..request().options }, ..request() };
    let renewal = Context { proactive_refresh: true, ..context() };
    for (request, context, absence, reason, number) in [
        (request(), context(), Absence::Absent, CacheRefreshReason::NoCachedAccessToken, 2),
        (request(), context(), Absence::Expired, CacheRefreshReason::Expired, 3),
        (forced, context(), Absence::Bypassed, CacheRefreshReason::ForceRefreshOrClaims, 1),
        (request(), renewal, Absence::Bypassed, CacheRefreshReason::ProactivelyRefreshed, 4),
    ] {
        let found = vec![Found::Lead { absence, now: NOW_MS }];
        let world = World { found, ..World::new(secret(), vec![token("at", "Bearer")]) };
        let (result, trace) = run(request, &context, world);
        assert_eq!(result.unwrap().refresh_reason, reason);
        let telemetry = format!("5|1004,{number},,,|0,1,1,,,");
        assert!(trace.request().headers.contains(&("x-client-current-telemetry".into(), telemetry)));
    }
}

#[test]
fn the_error_of_the_leading_flight_is_the_answer() {
    let error = Error::new(ErrorKind::Refused, "invalid_resource", "No such resource.");
    let world = World { found: vec![Found::Failed(Box::new(error))], ..World::new(secret(), vec![]) };
    let (result, trace) = run(request(), &context(), world);
    assert_eq!(result.unwrap_err().code, "invalid_resource");
    assert_eq!(trace.actions, ["find"]);
}

#[test]
fn an_error_ends_the_flight_for_everyone() {
    let refusal = answer(400, r#"{"error":"invalid_scope","error_description":"AADSTS70011: x"}"#);
    let (result, trace) = run(request(), &context(), World::new(secret(), vec![refusal]));
    let error = result.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("invalid_scope", ErrorKind::Refused));
    assert_eq!(error.aadsts_codes, [70011]);
    assert_eq!(error.correlation_id, CORRELATION);
    assert_eq!(trace.failed, Some(error));
    assert_eq!(trace.actions, ["find", "select", "send", "fail"]);
}

#[test]
fn a_server_error_or_a_timeout_is_retried_once_with_proofs_of_its_own() {
    for failure in [answer(503, ""), timeout()] {
        let world = World::new(certificate("t1"), vec![failure.clone(), token("at", "Bearer")]);
        let (result, trace) = run(request(), &context(), world);
        result.unwrap();
        assert_eq!(trace.actions, ["find", "select", "sign", "send", "wait", "sign", "send", "used", "put"]);
        let jtis = trace.jtis();
        assert_ne!(jtis[0], jtis[1]);

        let (result, trace) =
            run(request(), &context(), World::new(secret(), vec![failure.clone(), failure]));
        assert!(result.unwrap_err().retryable);
        assert_eq!(trace.requests.len(), 2);
    }
}

#[test]
fn there_is_no_retry_against_the_authoritys_wish_or_without_time() {
    let pause = Ok(HttpResponse {
        status: 503,
        retry_after: Some("7".into()),
        challenge: None,
        date: None,
        server: None,
        body: vec![],
    });
    let (result, trace) = run(request(), &context(), World::new(secret(), vec![pause]));
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::TemporarilyUnavailable, Some(7000)));
    assert_eq!(trace.actions, ["find", "select", "send", "fail"]);

    let late = World { now_after_wait: NOW_MS + 25_001, ..World::new(secret(), vec![timeout()]) };
    let (result, trace) = run(request(), &context(), late);
    assert_eq!(result.unwrap_err().code, "request_timeout");
    assert_eq!(trace.actions, ["find", "select", "send", "wait", "fail"]);
}

#[test]
fn nothing_is_sent_after_the_deadline() {
    let context = Context { deadline: NOW_MS, ..context() };
    let (result, trace) = run(request(), &context, World::new(secret(), vec![]));
    let error = result.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("request_timeout", ErrorKind::TransportFailed));
    assert_eq!(trace.actions, ["find", "select", "fail"]);
}

#[test]
fn a_rejected_certificate_is_replaced_once() {
    let credentials = vec![Ok(certificate("old")), Ok(certificate("new"))];
    let answers = vec![answer(401, REJECTED), token("at", "Bearer")];
    let world = World { credentials, ..World::new(secret(), answers) };
    let (result, trace) = run(request(), &context(), world);
    result.unwrap();
    assert_eq!(
        trace.actions,
        ["find", "select", "sign", "send", "reject", "select", "sign", "send", "used", "put"]
    );
    assert_ne!(trace.jtis()[0], trace.jtis()[1]);

    let credentials = vec![Ok(certificate("old")), Ok(certificate("new"))];
    let answers = vec![answer(401, REJECTED), answer(401, REJECTED)];
    let (result, trace) = run(request(), &context(), World { credentials, ..World::new(secret(), answers) });
    assert_eq!(result.unwrap_err().aadsts_codes, [700027]);
    assert_eq!(trace.requests.len(), 2);
}

#[test]
fn without_another_certificate_the_rejection_stands() {
    let gone = CredentialError {
        kind: CredentialErrorKind::Unavailable,
        message: "gone".into(),
        retry_after_ms: None,
    };
    for second in [Ok(certificate("old")), Err(gone)] {
        let credentials = vec![Ok(certificate("old")), second];
        let world = World { credentials, ..World::new(secret(), vec![answer(401, REJECTED)]) };
        let (result, trace) = run(request(), &context(), world);
        assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidClient);
        assert_eq!(trace.actions, ["find", "select", "sign", "send", "reject", "select", "fail"]);
    }
}

#[test]
fn a_rejected_assertion_is_made_anew_once() {
    let run_with = |answers| {
        let world = World {
            credentials: vec![Ok(federated()), Ok(federated())],
            assertion: Some(SignedAssertion { assertion: "a.b.c".into(), bound: false }),
            ..World::new(secret(), answers)
        };
        run(request(), &context(), world)
    };
    let (result, trace) = run_with(vec![answer(401, REJECTED), token("at", "Bearer")]);
    result.unwrap();
    let expected = ["find", "select", "assert", "send", "reject", "select", "assert", "send", "used", "put"];
    assert_eq!(trace.actions, expected);
    let (result, trace) = run_with(vec![answer(401, REJECTED), answer(401, REJECTED)]);
    assert_eq!(result.unwrap_err().aadsts_codes, [700027]);
    assert_eq!(trace.requests.len(), 2);
}

#[test]
fn another_credential_stands_in_for_a_rejected_certificate_where_it_can() {
    let run_with = |request, answers| {
        let credentials = vec![Ok(certificate("old")), Ok(secret())];
        run(request, &context(), World { credentials, ..World::new(secret(), answers) })
    };
    let (result, trace) = run_with(request(), vec![answer(401, REJECTED), token("at", "Bearer")]);
    result.unwrap();
    assert_eq!(trace.actions, ["find", "select", "sign", "send", "reject", "select", "send", "used", "put"]);
    let (result, _) = run_with(pop_request(), vec![answer(401, REJECTED)]);
    assert_eq!(result.unwrap_err().aadsts_codes, [700027]);
}

#[test]
fn a_rejected_secret_is_not_looked_at_again() {
    let (result, trace) = run(request(), &context(), World::new(secret(), vec![answer(401, REJECTED)]));
    assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidClient);
    assert_eq!(trace.actions, ["find", "select", "send", "fail"]);
}

#[test]
fn a_bound_token_carries_the_certificate_that_replaced_the_rejected_one() {
    let credentials = vec![Ok(certificate("old")), Ok(certificate("new"))];
    let answers = vec![answer(401, REJECTED), token("at", "mtls_pop")];
    let (result, trace) =
        run(pop_request(), &context(), World { credentials, ..World::new(secret(), answers) });
    assert_eq!(result.unwrap().key_id.as_deref(), Some("new"));
    assert!(trace.saved[0].partition_key.starts_with("new"));
}

#[test]
fn a_key_that_cannot_do_pss_signs_in_the_older_way() {
    let world = World { breaks_pss: true, ..World::new(certificate("t1"), vec![token("at", "Bearer")]) };
    let (result, trace) = run(request(), &context(), world);
    result.unwrap();
    let algorithms: Vec<_> = trace.signed.iter().map(|(algorithm, _)| *algorithm).collect();
    assert_eq!(algorithms, [SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256]);
    let payload = |at: usize| trace.signed[at].1.split('.').nth(1).map(String::from);
    assert_eq!(payload(0), payload(1));
}

#[test]
fn a_bearer_answer_to_a_bound_question_is_refused() {
    let world = World::new(certificate("t1"), vec![token("at", "Bearer")]);
    let error = run(pop_request(), &context(), world).0.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("token_type_mismatch", ErrorKind::ProtocolViolation));
}

#[test]
fn proof_of_possession_has_its_conditions_in_their_order() {
    let with_authority = |authority: &str| {
        let mut context = context();
        context.application.authority = authority.into();
        context
    };
    let tenanted = Request {
        options: Options { tenant_id: Some(TENANT.into()), ..Options::default() },
        ..pop_request()
    };
    for (request, authority, credential, code) in [
        (
            pop_request(),
            "https://login.microsoftonline.com/common",
            secret(),
            "mtls_certificate_not_provided",
        ),
        (
            pop_request(),
            "https://login.microsoftonline.com/common",
            certificate("t"),
            "missing_tenanted_authority",
        ),
        (
            tenanted,
            "https://login.microsoftonline.com/organizations",
            certificate("t"),
            "missing_tenanted_authority",
        ),
        (
            pop_request(),
            "https://sts.windows.net/t",
            certificate("t"),
            "mtls_pop_not_supported_for_environment",
        ),
    ] {
        let (result, trace) = run(request, &with_authority(authority), World::new(credential, vec![]));
        assert_eq!(result.unwrap_err().code, code);
        assert_eq!(trace.actions, ["select"]);
    }
}

#[test]
fn what_can_be_known_to_be_wrong_is_refused_before_anything_is_done() {
    let pair = |name: &str| vec![(name.to_string(), "x".to_string())];
    let options = |options: Options| Request { options, ..request() };
    let flow = |flow: ClientFlow| Request { flow: Flow::ForClient(flow), ..request() };
    let cases = [
        (Request { scopes: vec![" ".into()], ..request() }, "scopes_required_client_credentials"),
        (options(Options { tenant_id: Some("a/b".into()), ..Options::default() }), "invalid_tenant"),
        (options(Options { tenant_id: Some("..".into()), ..Options::default() }), "invalid_tenant"),
        (
            options(Options { correlation_id: Some("x\r\n".into()), ..Options::default() }),
            "invalid_correlation_id",
        ),
        (
            options(Options { extra_body_parameters: pair("Client_Secret"), ..Options::default() }),
            "reserved_parameter",
        ),
        (
            options(Options { extra_body_parameters: pair("fmi_path"), ..Options::default() }),
            "reserved_parameter",
        ),
        (
            options(Options { extra_query_parameters: pair("client_claims"), ..Options::default() }),
            "reserved_parameter",
        ),
        (
            options(Options { extra_headers: pair("Content-Length"), ..Options::default() }),
            "reserved_parameter",
        ),
        (options(Options { extra_headers: pair("a b"), ..Options::default() }), "invalid_extra_header"),
        (
            options(Options {
                claims: Some("{}".into()),
                client_claims: Some("[".into()),
                ..Options::default()
            }),
            "invalid_json_claims_format",
        ),
        (
            flow(ClientFlow { attribute_tokens: vec!["a b".into()], ..ClientFlow::default() }),
            "invalid_attribute_token",
        ),
    ];
    for (request, code) in cases {
        let (result, trace) = run(request, &context(), World::new(secret(), vec![]));
        let error = result.unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), (code, ErrorKind::InvalidRequest));
        assert!(trace.actions.is_empty() && !error.message.is_empty());
    }
    for (authority, region, code) in [
        ("http://login.microsoftonline.com/t", None, "invalid_authority"),
        ("https://login.microsoftonline.com/t", Some("west europe"), "invalid_region"),
    ] {
        let mut context = context();
        context.application.authority = authority.into();
        context.application.azure_region = region.map(String::from);
        let error = run(request(), &context, World::new(secret(), vec![])).0.unwrap_err();
        assert_eq!(error.code, code);
        assert_eq!(error.correlation_id, CORRELATION);
    }
}

#[test]
fn questions_that_differ_have_keys_of_their_own() {
    let pair = |value: &str| vec![("p".to_string(), value.to_string())];
    let options = |options: Options| Request { options, ..request() };
    let requests = [
        request(),
        Request { scopes: vec!["other/.default".into()], ..request() },
        options(Options { tenant_id: Some("t".into()), ..Options::default() }),
        options(Options { client_claims: Some("{}".into()), ..Options::default() }),
        options(Options { extra_query_parameters: pair("x"), ..Options::default() }),
        options(Options { extra_body_parameters: pair("x"), ..Options::default() }),
        options(Options { extra_body_parameters: pair("y"), ..Options::default() }),
        Request {
            flow: Flow::ForClient(ClientFlow { fmi_path: Some("x".into()), ..ClientFlow::default() }),
            ..request()
        },
        Request {
            flow: Flow::ForClient(ClientFlow { attributes: Some("x".into()), ..ClientFlow::default() }),
            ..request()
        },
        Request {
            flow: Flow::ForClient(ClientFlow { attribute_tokens: vec!["x".into()], ..ClientFlow::default() }),
            ..request()
        },
    ];
    let lookups: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let world = World::new(secret(), vec![token("at", "Bearer")]);
            let (_, trace) = run(request, &context(), world);
            assert_eq!(
                trace.saved[0].keys, trace.lookups[0].alternatives[0],
                "keys to read and to write agree"
            );
            trace.lookups[0].clone()
        })
        .collect();
    for (at, one) in lookups.iter().enumerate() {
        for other in &lookups[at + 1..] {
            assert_ne!(one.alternatives, other.alternatives);
            assert_ne!(one.flight, other.flight);
        }
    }
}

#[test]
fn a_flight_past_the_cache_is_shared_by_the_same_challenge_only() {
    let flight = |options: Options| {
        let world = World::new(secret(), vec![token("at", "Bearer")]);
        let (_, trace) = run(Request { options, ..request() }, &context(), world);
        trace.lookups[0].flight.clone()
    };
    let challenge = |claims: &str| Options { claims: Some(claims.into()), ..Options::default() };
    let forced = || Options { force_refresh: true, ..Options::default() };
    let plain = flight(Options::default());
    let flights = [plain, flight(forced()), flight(challenge("{}")), flight(challenge(r#"{"a":1}"#))];
    for (at, one) in flights.iter().enumerate() {
        assert!(!flights[at + 1..].contains(one));
    }
    assert_eq!(flight(forced()), flight(forced()));
}

proptest! {
    /// The same inputs give the same bytes, and another seed gives other ids.
    #[test]
    fn an_acquisition_is_a_function_of_its_inputs(seed: [u64; 4], scope in "[a-z]{1,8}", status in 200u16..600) {
        let request = || Request {
            scopes: vec![scope.clone()],
            options: Options::default(),
            ..request()
        };
        let play = |seed: [u64; 4]| {
            let answers = vec![answer(status, "{}"), token("at", "Bearer")];
            let context = Context { seed, ..context() };
            let (result, trace) = run(request(), &context, World::new(certificate("t1"), answers));
            let bodies: Vec<_> = trace.requests.iter().map(|r| (r.headers.clone(), r.body.clone())).collect();
            let jtis = trace.jtis();
            (result, bodies, trace.lookups, jtis)
        };
        prop_assert_eq!(play(seed), play(seed));
        let other = [seed[0] ^ 1, seed[1], seed[2], seed[3]];
        prop_assert_ne!(play(seed).3, play(other).3);
    }

    /// Whatever the authority answers, an acquisition ends, and after at most two requests.
    #[test]
    fn every_answer_ends_an_acquisition(
        first: (u16, Option<String>, Vec<u8>),
        second: (u16, Option<String>, Vec<u8>),
    ) {
        let response = |(status, retry_after, body)| Ok(HttpResponse { status, retry_after, challenge: None, date: None, server: None, body });
        let answers = vec![response(first), response(second)];
        let (result, trace) = run(request(), &context(), World::new(secret(), answers));
        prop_assert!(trace.requests.len() <= 2);
        if let Err(error) = result {
            prop_assert!(!error.code.is_empty());
            prop_assert_eq!(trace.actions.last(), Some(&"fail"));
        }
    }
}
