//! Whatever bytes a server answers, there is a token or a typed error: nothing panics, and nothing goes on for ever. The same
//! parsers are fuzzed in `fuzz/`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

#[path = "common/untrusted.rs"]
mod untrusted;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use symbolon_protocol::authority::Authority;
use symbolon_protocol::challenge::{self, Answer, Presented, Refusal};
use symbolon_protocol::instance::{self, Instance};
use symbolon_protocol::provider::Metadata;
use symbolon_protocol::region;
use symbolon_protocol::response::{
    self, Exchange, HttpResponse, TransportError, TransportErrorKind, retry_after_ms,
};

/// The members that answers are looked through for.
const MEMBERS: [&str; 40] = [
    "access_token",
    "token_type",
    "expires_in",
    "ext_expires_in",
    "expires_on",
    "refresh_in",
    "refresh_token",
    "scope",
    "id_token",
    "client_info",
    "spa_code",
    "resource",
    "error",
    "error_description",
    "error_codes",
    "suberror",
    "claims",
    "correlation_id",
    "trace_id",
    "timestamp",
    "metadata",
    "preferred_network",
    "preferred_cache",
    "aliases",
    "issuer",
    "token_endpoint",
    "authorization_endpoint",
    "mtls_endpoint_aliases",
    "token_endpoint_auth_methods_supported",
    "links",
    "location",
    "newest-versions",
    "certificate",
    "client_id",
    "tenant_id",
    "identity_type",
    "mtls_authentication_endpoint",
    "clientId",
    "tenantId",
    "cuId",
];

/// Texts that mean something somewhere.
const TEXTS: [&str; 16] = [
    "Bearer",
    "mtls_pop",
    "3600",
    "-1",
    "18446744073709551616",
    "invalid_grant",
    "invalid_client",
    "invalid_instance",
    "AADSTS700027: no",
    "login.contoso.test",
    "https://idp.contoso.test",
    "https://idp.contoso.test/token",
    "http://schemas.microsoft.com/rel/trusted-realm",
    "eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ",
    "e30.eyJvaWQiOiJvIn0.c2ln",
    "2023-11-14T22:13:20Z",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner).prop_map(Value::from)]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    vec((prop::sample::select(&MEMBERS[..]).prop_map(String::from), value), 0..12)
        .prop_map(|members| members.into_iter().collect())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        object(value()).prop_map(|members| Value::from(members).to_string().into_bytes()),
        // Cut off somewhere.
        (object(value()), any::<prop::sample::Index>()).prop_map(|(members, at)| {
            let text = Value::from(members).to_string().into_bytes();
            let end = at.index(text.len() + 1);
            text[..end].to_vec()
        }),
    ]
}

fn header() -> impl Strategy<Value = Option<String>> {
    option::of(prop_oneof![
        "\\PC{0,60}",
        "[0-9]{1,25}",
        Just("Wed, 21 Oct 2015 07:28:00 GMT".to_string()),
        Just("Basic realm=/var/opt/azcmagent/tokens/a.key".to_string()),
        Just(r#"Bearer error="insufficient_claims", claims="eyJhIjoxfQ==""#.to_string()),
        "(Bearer|Basic) [a-z]{1,9}=\"?\\PC{0,30}",
    ])
}

fn answer() -> impl Strategy<Value = Result<HttpResponse, TransportError>> {
    let status = prop_oneof![
        4 => Just(200_u16),
        1 => prop::sample::select(&[400_u16, 401, 403, 404, 408, 410, 429, 500, 503][..]),
        1 => any::<u16>(),
    ];
    let response = (status, header(), header(), header(), header(), body()).prop_map(
        |(status, retry_after, challenge, date, server, body)| {
            Ok(HttpResponse { status, retry_after, challenge, date, server, body })
        },
    );
    let kinds =
        [TransportErrorKind::Timeout, TransportErrorKind::Connection, TransportErrorKind::ServerCertificate];
    let failure = prop::sample::select(kinds.to_vec())
        .prop_map(|kind| Err(TransportError { kind, detail: "it broke".into(), may_be_sent: true }));
    prop_oneof![9 => response, 1 => failure]
}

fn exchange() -> Exchange<'static> {
    Exchange {
        token_type: "Bearer",
        client_id: "client",
        blueprint: None,
        host: "login.microsoftonline.com",
        bound: true,
        single_use: true,
        correlation_id: "",
        now: 1_700_000_000_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_answers_end_an_acquisition(question in 0..untrusted::QUESTIONS, answers in vec(answer(), 1..6)) {
        untrusted::acquire(question, &answers);
    }

    #[test]
    fn any_answer_is_a_token_or_an_error(answer in answer()) {
        if let Ok(answer) = answer {
            match response::parse(&answer, &exchange()) {
                Ok(token) => prop_assert!(answer.status == 200 && !token.access_token.is_empty()),
                Err(error) => prop_assert!(!error.code.is_empty() && error.status == Some(answer.status)),
            }
        }
    }

    #[test]
    fn any_document_is_understood_or_not(body in body()) {
        let provider = Authority::oidc("https://idp.contoso.test").expect("an issuer");
        if let Ok(metadata) = Metadata::parse(&body, &provider) {
            prop_assert!(metadata.token_endpoint.starts_with("https://"));
        }
        if let Some(instance) = Instance::of_answer(&body, "login.contoso.test") {
            prop_assert_eq!(Instance::decode(&instance.encode()), Some(instance));
        }
        let _ = (instance::is_refusal(&body), instance::is_trusted_realm(&body, "https://fs.test"), Instance::decode(&body));
        if let Some(region) = region::of_metadata(&body) {
            prop_assert!(region.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        let _ = region::newest_version(&body).map(|version| region::metadata_path(Some(&version)));
    }

    #[test]
    fn any_header_is_a_pause_or_a_challenge_or_none(texts in vec("\\PC{0,80}", 0..4), status: u16, now: u64) {
        for text in &texts {
            prop_assert!(retry_after_ms(text, now).is_none_or(|pause| pause <= 3_600_000));
        }
        let claims = challenge::claims(&texts);
        prop_assert!(claims.is_none_or(|claims| serde_json::from_str::<Value>(&claims).is_ok_and(|it| it.is_object())));
        for presented in [Presented::Token, Presented::Certificate] {
            let answer = Answer::Status(status);
            let refusal = Refusal { presented, answer, challenges: texts.clone(), attempt: 1, bad_request_rejects: true };
            let _ = challenge::review(&refusal);
        }
    }
}
