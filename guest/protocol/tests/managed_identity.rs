//! Tokens of managed identities: how each source is recognised and asked, and what becomes of its answers.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::result_large_err,
    reason = "a test ends at what it did not expect, and shows the error"
)]

mod common;

use common::host::{Host, Sent};
use common::*;
use symbolon_protocol::credential::{CredentialError, CredentialErrorKind, Place};
use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::platform::Platform;
use symbolon_protocol::request::{
    AccessToken, CachePartition, CacheRefreshReason, Flow, ManagedIdentityFlow, ManagedIdentityId, Options,
    Request, TokenSource,
};
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};
use symbolon_protocol::token_request::{Method, UrlScheme};

const RESOURCE: &str = "https://vault.azure.net";
const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1702682181"}}}"#;

fn for_identity(identity: ManagedIdentityId) -> Request {
    Request {
        scopes: vec![RESOURCE.into()],
        ..ask(Flow::ForManagedIdentity(ManagedIdentityFlow { identity }))
    }
}

fn system() -> Request {
    for_identity(ManagedIdentityId::SystemAssigned)
}

fn client_id() -> ManagedIdentityId {
    ManagedIdentityId::ClientId("client-1".into())
}

fn object_id() -> ManagedIdentityId {
    ManagedIdentityId::ObjectId("object-1".into())
}

fn resource_id() -> ManagedIdentityId {
    ManagedIdentityId::ResourceId("/subscriptions/s/r".into())
}

/// Variables that hold a secret have the value `?`.
fn platform(variables: &[(&str, &str)]) -> Platform {
    let variable =
        |(name, value): &(&str, &str)| (name.to_string(), (*value != "?").then(|| value.to_string()));
    Platform { variables: variables.iter().map(variable).collect(), has_arc_agent: false }
}

const IMDS: &[(&str, &str)] = &[];
const APP_SERVICE: &[(&str, &str)] =
    &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"), ("IDENTITY_HEADER", "?")];
const SERVICE_FABRIC: &[(&str, &str)] = &[
    ("IDENTITY_ENDPOINT", "https://localhost:2377/metadata/identity/oauth2/token"),
    ("IDENTITY_HEADER", "?"),
    ("IDENTITY_SERVER_THUMBPRINT", "AB"),
];
const ARC: &[(&str, &str)] = &[
    ("IDENTITY_ENDPOINT", "http://localhost:40342/oauth2/token"),
    ("IMDS_ENDPOINT", "http://localhost:40342"),
];
const CLOUD_SHELL: &[(&str, &str)] = &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token")];
const MACHINE_LEARNING: &[(&str, &str)] = &[
    ("MSI_ENDPOINT", "http://127.0.0.1:46808/MSI/auth?x=1"),
    ("MSI_SECRET", "?"),
    ("DEFAULT_IDENTITY_CLIENT_ID", "default-1"),
];

fn host(variables: &[(&str, &str)]) -> Host {
    let mut host = Host::new(secret());
    host.platform = platform(variables);
    host.patience_ms = 90_000;
    host
}

fn given(expiry: &str) -> Result<HttpResponse, TransportError> {
    answer(200, &format!(r#"{{"access_token":"mi-token","expires_on":{expiry},"token_type":"Bearer"}}"#))
}

/// What one acquisition sends that gets a token at once.
fn sent(variables: &[(&str, &str)], request: Request) -> Sent {
    let mut host = host(variables);
    host.answer(given("3600"));
    host.acquire(request).expect("a token");
    host.sent.pop().expect("a request")
}

/// The error of an acquisition that sends nothing.
fn unsent(variables: &[(&str, &str)], request: Request) -> Error {
    let mut host = host(variables);
    let error = host.acquire(request).expect_err("no token");
    assert!(host.sent.is_empty());
    let is_bound = error.code == "pop_not_supported_for_managed_identity";
    let expected = if is_bound { ErrorKind::CredentialUnsupported } else { ErrorKind::InvalidRequest };
    assert_eq!(error.kind, expected);
    assert_eq!(error.correlation_id, CORRELATION);
    error
}

fn url(sent: &Sent) -> String {
    let scheme = if sent.scheme == UrlScheme::Http { "http" } else { "https" };
    format!("{scheme}://{}{}", sent.host, sent.path)
}

fn headers(sent: &Sent) -> Vec<(&str, &str)> {
    sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn the_metadata_service_is_asked_where_nothing_else_shows() {
    let sent = sent(IMDS, system());
    assert_eq!(sent.method, Method::Get);
    assert_eq!(
        url(&sent),
        "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
    );
    assert_eq!(
        headers(&sent),
        [
            ("Metadata", "true"),
            ("x-client-SKU", "Symbolon"),
            ("x-client-Ver", env!("CARGO_PKG_VERSION")),
            ("x-ms-client-request-id", CORRELATION),
        ]
    );
    assert!(sent.fields.is_empty() && sent.presentation.secret.is_none());
}

#[test]
fn the_metadata_service_may_be_elsewhere() {
    for elsewhere in ["http://localhost:1234", "http://localhost:1234//", "http://localhost:1234/other?x=y"] {
        let sent = sent(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", elsewhere)], system());
        assert_eq!((sent.host.as_str(), sent.query().len()), ("localhost:1234", 2));
        assert!(sent.path.starts_with("/metadata/identity/oauth2/token?api-version="));
    }
}

#[test]
fn app_service_is_asked_with_its_header() {
    let sent = sent(APP_SERVICE, system());
    assert_eq!(
        url(&sent),
        "http://127.0.0.1:41741/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net"
    );
    assert_eq!(sent.method, Method::Get);
    assert_eq!(headers(&sent), [("X-IDENTITY-HEADER", "")]);
    assert_eq!(sent.presentation.secret, Some(Place::Header("X-IDENTITY-HEADER".into())));
    assert!(!sent.presentation.certificate);
}

#[test]
fn service_fabric_is_asked_over_tls_with_its_secret() {
    let sent = sent(SERVICE_FABRIC, system());
    assert_eq!(
        url(&sent),
        "https://localhost:2377/metadata/identity/oauth2/token?api-version=2020-05-01&resource=https%3A%2F%2Fvault.azure.net"
    );
    assert_eq!(headers(&sent), [("secret", "")]);
    assert_eq!(sent.presentation.secret, Some(Place::Header("secret".into())));
}

#[test]
fn machine_learning_is_asked_for_its_default_identity() {
    let sent = sent(MACHINE_LEARNING, system());
    assert_eq!(
        url(&sent),
        "http://127.0.0.1:46808/MSI/auth?x=1&api-version=2017-09-01&resource=https%3A%2F%2Fvault.azure.net&clientid=default-1"
    );
    assert_eq!(headers(&sent), [("Metadata", "true"), ("secret", "")]);
    assert_eq!(sent.presentation.secret, Some(Place::Header("secret".into())));
}

#[test]
fn cloud_shell_is_posted_a_form() {
    let sent = sent(CLOUD_SHELL, system());
    assert_eq!((sent.method, url(&sent).as_str()), (Method::Post, "http://localhost:50342/oauth2/token"));
    assert_eq!(sent.form(), format!("resource={RESOURCE}"));
    let form = "application/x-www-form-urlencoded";
    assert_eq!(headers(&sent), [("content-type", form), ("ContentType", form), ("Metadata", "true")]);
    assert_eq!(sent.presentation.secret, None);
}

#[test]
fn sources_are_recognised_in_msals_order() {
    let all = [APP_SERVICE, MACHINE_LEARNING, ARC].concat();
    assert_eq!(sent(&all, system()).host, "127.0.0.1:41741");
    // The endpoint of App Service without its secret is none.
    let without_header = [&all[..1], MACHINE_LEARNING, ARC].concat();
    assert_eq!(sent(&without_header, system()).host, "127.0.0.1:46808");
    let without_secret = [&all[..1], CLOUD_SHELL, ARC].concat();
    assert_eq!(sent(&without_secret, system()).host, "localhost:50342");
    assert_eq!(sent(ARC, system()).host, "localhost:40342");
    assert_eq!(sent(&ARC[..1], system()).host, "169.254.169.254");
    assert_eq!(sent(&APP_SERVICE[1..], system()).host, "169.254.169.254");
}

#[test]
fn an_identity_is_named_as_each_source_names_it() {
    for (variables, identity, expected) in [
        (IMDS, client_id(), ("client_id", "client-1")),
        (IMDS, resource_id(), ("msi_res_id", "/subscriptions/s/r")),
        (IMDS, object_id(), ("object_id", "object-1")),
        (APP_SERVICE, client_id(), ("client_id", "client-1")),
        (APP_SERVICE, resource_id(), ("mi_res_id", "/subscriptions/s/r")),
        (APP_SERVICE, object_id(), ("object_id", "object-1")),
        (SERVICE_FABRIC, object_id(), ("principalId", "object-1")),
        (MACHINE_LEARNING, client_id(), ("clientid", "client-1")),
    ] {
        let query = sent(variables, for_identity(identity)).query();
        assert_eq!(query.last(), Some(&(expected.0.into(), expected.1.into())), "{variables:?}");
    }
}

#[test]
fn an_identity_that_the_source_can_not_give_is_refused_unasked() {
    const NOT_SUPPORTED: &str = "user_assigned_managed_identity_not_supported";
    const NOT_CONFIGURABLE: &str = "user_assigned_managed_identity_not_configurable_at_runtime";
    const WRONG_TYPE: &str = "invalid_managed_identity_id_type";
    for (variables, identity, code) in [
        (ARC, client_id(), NOT_SUPPORTED),
        (CLOUD_SHELL, object_id(), NOT_SUPPORTED),
        (SERVICE_FABRIC, client_id(), NOT_CONFIGURABLE),
        (SERVICE_FABRIC, resource_id(), NOT_CONFIGURABLE),
        (MACHINE_LEARNING, object_id(), WRONG_TYPE),
        (MACHINE_LEARNING, resource_id(), WRONG_TYPE),
        (&MACHINE_LEARNING[..2], ManagedIdentityId::SystemAssigned, WRONG_TYPE),
    ] {
        assert_eq!(unsent(variables, for_identity(identity)).code, code);
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused() {
    for endpoint in
        ["localhost/x", "ftp://localhost/x", "http://", "http://user@host/", "http://h/ x", "http://h/#x"]
    {
        let error = unsent(&[("MSI_ENDPOINT", endpoint)], system());
        assert_eq!(error.code, "invalid_managed_identity_endpoint", "{endpoint}");
        assert!(error.message.contains("MSI_ENDPOINT"), "{error}");
    }
}

#[test]
fn a_token_is_for_one_resource() {
    let with_scope =
        |scope: &str| sent(IMDS, for_scope(&system(), scope)).query().pop().expect("a resource").1;
    assert_eq!(with_scope("https://vault.azure.net/.default"), RESOURCE);
    assert_eq!(with_scope("https://vault.azure.net//.DEFAULT"), "https://vault.azure.net/");
    assert_eq!(with_scope("api://AzureADTokenExchange"), "api://AzureADTokenExchange");
    let none = Request { scopes: vec![" ".into()], ..system() };
    assert_eq!(unsent(IMDS, none).code, "scopes_required");
    assert_eq!(unsent(IMDS, for_scope(&system(), "a b")).code, "exactly_one_scope_expected");
}

#[test]
fn what_can_not_be_given_is_refused() {
    let key = Options { pop_public_key: Some("{}".into()), ..Options::default() };
    assert_eq!(unsent(IMDS, with(&system(), key)).code, "pop_not_supported_for_managed_identity");
    let nameless = for_identity(ManagedIdentityId::ClientId(" ".into()));
    assert_eq!(unsent(IMDS, nameless).code, "managed_identity_id_required");
    for name in ["api-version", "Resource", "principalId", "xms_cc"] {
        let options =
            Options { extra_query_parameters: vec![(name.into(), "x".into())], ..Options::default() };
        assert_eq!(unsent(IMDS, with(&system(), options)).code, "reserved_parameter", "{name}");
    }
}

#[test]
fn neither_authority_nor_tenant_nor_credential_has_a_part_in_it() {
    let mut host = host(APP_SERVICE);
    host.context.application.authority = "https://login.microsoftonline.us/common".into();
    host.context.application.azure_region = Some("westeurope".into());
    host.answer(given("3600"));
    let options = Options {
        tenant_id: Some("contoso.com".into()),
        client_claims: Some("{}".into()),
        extra_headers: vec![("secret".into(), "x".into())],
        ..Options::default()
    };
    let token = host.acquire(with(&system(), options)).expect("a token");
    assert_eq!(host.actions, ["find", "platform", "secret", "send", "put"]);
    assert_eq!(host.secrets, ["IDENTITY_HEADER"]);
    assert_eq!(host.sent[0].headers.len(), 1);
    assert_eq!(token.token_endpoint.as_deref(), Some("http://127.0.0.1:41741/msi/token"));
    assert_eq!((token.token.as_str(), token.token_type.as_str()), ("mi-token", "Bearer"));
    assert_eq!((token.region, token.account, token.key_id), (None, None, None));
    assert_eq!(token.tenant_id.as_deref(), Some("managed_identity"));
    assert_eq!(token.scopes, [RESOURCE]);
    assert_eq!(
        (token.source, token.refresh_reason),
        (TokenSource::IdentityProvider, CacheRefreshReason::NoCachedAccessToken)
    );
}

#[test]
fn a_token_is_kept_where_msal_keeps_it_and_asked_for_once() {
    let mut host = host(IMDS);
    host.answer(given("3600"));
    host.acquire(system()).expect("a token");
    let saved = host.cache.entries.first().expect("an entry");
    assert_eq!(saved.partition_key, "system_assigned_managed_identity_managed_identity_AppTokenCache");
    assert_eq!(
        saved.item_key,
        "-login.microsoftonline.com-accesstoken-system_assigned_managed_identity-managed_identity-https://vault.azure.net"
    );
    let item = host.cache.access_tokens()[0].clone();
    assert_eq!(
        (item.environment.as_str(), item.realm.as_str()),
        ("login.microsoftonline.com", "managed_identity")
    );
    assert!(item.components.is_empty());

    let cached = host.acquire(for_scope(&system(), "https://vault.azure.net/.default")).expect("a token");
    assert_eq!((cached.source, host.sent.len()), (TokenSource::Cache, 0));
    assert_eq!(host.actions, ["find"]);
    assert!(cached.reuse.is_some_and(|reuse| reuse.until == NOW + 3300));

    host.later(3300);
    host.answer(given("3600"));
    let renewed = host.acquire(system()).expect("a token");
    assert_eq!(renewed.refresh_reason, CacheRefreshReason::Expired);
}

#[test]
fn every_identity_resource_and_partition_has_a_token_of_its_own() {
    let mut host = host(IMDS);
    let same_id = |make: fn(String) -> ManagedIdentityId| for_identity(make("id-1".into()));
    let partition = CachePartition { name: "p".into(), value: "1".into(), refresh_tokens: false };
    let requests = [
        system(),
        same_id(ManagedIdentityId::ClientId),
        same_id(ManagedIdentityId::ResourceId),
        same_id(ManagedIdentityId::ObjectId),
        for_identity(ManagedIdentityId::ClientId("system_assigned_managed_identity".into())),
        for_scope(&system(), "https://storage.azure.com"),
        with(&system(), Options { cache_partitions: vec![partition], ..Options::default() }),
        with(
            &system(),
            Options { extra_query_parameters: vec![("q".into(), "1".into())], ..Options::default() },
        ),
    ];
    for request in &requests {
        host.answer(given("3600"));
        let token = host.acquire(request.clone()).expect("a token");
        assert_eq!(token.source, TokenSource::IdentityProvider);
    }
    for request in &requests {
        assert_eq!(host.acquire(request.clone()).expect("a token").source, TokenSource::Cache);
    }
    assert_eq!(host.cache.access_tokens().len(), requests.len());
    let user_assigned = host.cache.entries.iter().find(|saved| saved.partition_key.starts_with("id-1"));
    assert_eq!(user_assigned.expect("an entry").partition_key, "id-1_managed_identity_AppTokenCache");
}

/// The token for an answer.
fn token_of(expiry: &str) -> Result<AccessToken, Error> {
    let mut host = host(APP_SERVICE);
    host.answer(given(expiry));
    host.acquire(system())
}

#[test]
fn a_lifetime_is_understood_in_every_form() {
    let iso = "2023-11-14T23:13:20";
    for expiry in [
        "3600".to_string(),
        "\"3600\"".into(),
        (NOW + 3600).to_string(),
        format!("\" {} \"", NOW + 3600),
        format!("\"{iso}Z\""),
        format!("\"{iso}\""),
        format!("\"{iso}.0000000+00:00\""),
        "\"2023-11-15 01:13:20 +02:00\"".into(),
        "\"2023-11-14T19:43:20-03:30\"".into(),
    ] {
        assert_eq!(token_of(&expiry).expect(&expiry).expires_on, NOW + 3600, "{expiry}");
    }
    assert_eq!(token_of("978307199").unwrap_err().code, "invalid_token_provider_response_value");
}

#[test]
fn a_lifetime_that_is_none_is_an_error() {
    for (expiry, code) in [
        ("0", "invalid_token_provider_response_value"),
        ("-1", "invalid_token_provider_response_value"),
        ("978307200", "invalid_token_provider_response_value"),
        ("1699999999", "invalid_token_provider_response_value"),
        ("\"2020-01-01T00:00:00Z\"", "invalid_token_provider_response_value"),
        ("99999999999999", "invalid_token_provider_response_value"),
        ("null", "invalid_token_provider_response_value"),
        ("\"\"", "invalid_token_provider_response_value"),
        ("\"soon\"", "invalid_timestamp_format"),
        ("\"2023-11-14\"", "invalid_timestamp_format"),
        ("\"2023-02-29T00:00:00Z\"", "invalid_timestamp_format"),
        ("\"2023-11-14T24:00:00Z\"", "invalid_timestamp_format"),
        ("\"11/14/2023 23:13:20\"", "invalid_timestamp_format"),
        ("\"2023-11-14-01T00:00:00Z\"", "invalid_timestamp_format"),
        ("3600.5", "invalid_timestamp_format"),
        ("{}", "invalid_timestamp_format"),
    ] {
        let error = token_of(expiry).expect_err(expiry);
        assert_eq!((error.code.as_str(), error.kind), (code, ErrorKind::ProtocolViolation), "{expiry}");
        assert!(!error.message.contains("mi-token") && !error.retryable);
    }
}

#[test]
fn only_long_lives_are_renewed_before_their_end() {
    assert_eq!(token_of("7200").unwrap().refresh_on, None);
    assert_eq!(token_of("7201").unwrap().refresh_on, Some(NOW + 3600));
    assert_eq!(token_of("86400").unwrap().refresh_on, Some(NOW + 43_200));
}

#[test]
fn the_time_of_expiry_comes_before_the_lifetime() {
    let both =
        r#"{"access_token":"t","expires_in":"100","expires_on":"200","refresh_in":"1","resource":"r"}"#;
    for (body, expires_on) in [
        (both, NOW + 200),
        (r#"{"access_token":"t","expires_in":"100"}"#, NOW + 100),
        (r#"{"access_token":"t","expires_in":100,"expires_on":null,"token_type":"bearer"}"#, NOW + 100),
    ] {
        let mut host = host(IMDS);
        host.answer(answer(200, body));
        assert_eq!(host.acquire(system()).expect(body).expires_on, expires_on);
    }
}

#[test]
fn an_answer_that_is_no_token_violates_the_protocol() {
    for (body, code) in [
        ("", "managed_identity_response_parse_failure"),
        ("[]", "managed_identity_response_parse_failure"),
        ("<html>", "managed_identity_response_parse_failure"),
        (r#"{"expires_on":3600}"#, "invalid_token_provider_response_value"),
        (r#"{"access_token":"","expires_on":3600}"#, "invalid_token_provider_response_value"),
        (r#"{"access_token":"t"}"#, "invalid_token_provider_response_value"),
        (r#"{"access_token":"t","expires_on":3600,"token_type":"pop"}"#, "token_type_mismatch"),
    ] {
        let mut host = host(IMDS);
        host.answer(answer(200, body));
        let error = host.acquire(system()).expect_err(body);
        assert_eq!((error.code.as_str(), error.status), (code, Some(200)), "{body}");
        assert_eq!(host.actions.last(), Some(&"fail"));
    }
}

#[test]
fn a_refusal_says_what_the_source_said() {
    for (body, said) in [
        (
            r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
            "invalid_request Identity not found",
        ),
        (r#"{"error":{"code":"bad","message":"nested"}}"#, "bad nested"),
        (r#"{"message":"only this","correlationId":"theirs"}"#, "only this"),
        (r#"{"StatusCode":400,"Message":"in capitals","CorrelationId":"theirs"}"#, "in capitals"),
        (r#"{"error":{"code":"bad","message":"deep","correlationId":"theirs"}}"#, "bad deep"),
        ("not json", ":"),
    ] {
        let mut host = host(IMDS);
        host.answer(answer(400, body));
        let error = host.acquire(system()).expect_err(body);
        assert_eq!(
            (error.code.as_str(), error.kind),
            ("managed_identity_request_failed", ErrorKind::Refused)
        );
        assert!(error.message.ends_with(said), "{error}");
        assert!(
            error.message.contains("169.254.169.254") && error.message.contains("assigned to this resource")
        );
        let correlation = if body.contains("theirs") { "theirs" } else { CORRELATION };
        assert_eq!((error.correlation_id.as_str(), error.retryable), (correlation, false));
    }
}

/// The pauses of an acquisition whose first answers are these and whose next is a token; and how it ends.
fn pauses(
    variables: &[(&str, &str)],
    failures: Vec<Result<HttpResponse, TransportError>>,
    is_cured: bool,
) -> (Vec<u64>, Result<AccessToken, Error>) {
    let mut host = host(variables);
    host.answers.extend(failures);
    if is_cured {
        host.answer(given("3600"));
    }
    let result = host.acquire(system());
    assert_eq!(host.sent.len(), host.waits.len() + 1);
    assert!(
        host.sent.windows(2).all(|pair| pair[0].path == pair[1].path && pair[0].headers == pair[1].headers)
    );
    (host.waits, result)
}

fn pause(status: u16, retry_after: &str) -> Result<HttpResponse, TransportError> {
    Ok(HttpResponse {
        status,
        retry_after: Some(retry_after.into()),
        challenge: None,
        date: None,
        server: None,
        body: vec![],
    })
}

#[test]
fn most_sources_are_asked_three_times_more_after_a_second_each() {
    let timeout = || fault(TransportErrorKind::Timeout, true);
    for source in [APP_SERVICE, SERVICE_FABRIC, ARC, CLOUD_SHELL, MACHINE_LEARNING] {
        for status in [404, 408, 429, 500, 503, 504] {
            let (waits, result) = pauses(source, vec![answer(status, ""); 4], false);
            let error = result.expect_err("no token");
            assert_eq!((waits, error.status, error.retryable), (vec![1000; 3], Some(status), true));
            assert_eq!(error.code, "managed_identity_request_failed");
            let (waits, result) = pauses(source, vec![answer(status, "")], true);
            assert_eq!((waits, result.is_ok()), (vec![1000], true));
        }
        for status in [400, 401, 403, 410, 501, 502, 505] {
            let (waits, result) = pauses(source, vec![answer(status, "")], false);
            let error = result.expect_err("no token");
            assert_eq!((waits, error.retryable), (vec![], false), "{source:?} {status}");
        }
    }
    let (waits, result) = pauses(CLOUD_SHELL, vec![timeout(), timeout(), timeout(), timeout()], false);
    assert_eq!((waits, result.expect_err("no token").code.as_str()), (vec![1000; 3], "request_timeout"));
    let (waits, _) = pauses(MACHINE_LEARNING, vec![pause(429, "7"), pause(503, "0")], true);
    assert_eq!(waits, [7000, 1000]);
}

#[test]
fn the_metadata_service_is_given_more_time_each_time() {
    for status in [404, 408, 429, 500, 501, 502, 503, 504, 599] {
        let (waits, result) = pauses(IMDS, vec![answer(status, ""); 4], false);
        assert_eq!((waits, result.is_ok()), (vec![1000, 2000, 4000], false), "{status}");
    }
    let (waits, result) = pauses(IMDS, vec![answer(410, ""); 8], false);
    let error = result.expect_err("no token");
    assert_eq!(
        (waits, error.retryable, error.kind),
        (vec![10_000; 7], false, ErrorKind::TemporarilyUnavailable)
    );
    let (waits, _) = pauses(IMDS, vec![pause(429, "7"), fault(TransportErrorKind::Timeout, true)], true);
    assert_eq!(waits, [1000, 2000]);
    // The first failure says how many retries there are.
    let (waits, _) =
        pauses(IMDS, vec![answer(410, ""), answer(500, ""), answer(500, ""), answer(500, "")], true);
    assert_eq!(waits, [10_000, 2000, 4000, 4000]);
    let (waits, _) =
        pauses(IMDS, vec![answer(500, ""), answer(410, ""), answer(500, ""), answer(410, "")], false);
    assert_eq!(waits, [1000, 10_000, 4000]);
    for status in [400, 401, 403] {
        assert_eq!(pauses(IMDS, vec![answer(status, "")], false).0, [0; 0], "{status}");
    }
}

#[test]
fn a_pause_that_the_deadline_would_cut_short_is_not_begun() {
    let mut host = host(APP_SERVICE);
    host.patience_ms = 12_000;
    host.answers.extend([pause(429, "7"), pause(429, "7")]);
    let error = host.acquire(system()).expect_err("no token");
    assert_eq!(
        (host.waits, error.retry_after_ms, error.kind),
        (vec![7000], Some(7000), ErrorKind::Throttled)
    );
}

#[test]
fn a_network_without_the_source_is_not_asked_again() {
    for kind in [
        TransportErrorKind::Connection,
        TransportErrorKind::NameResolution,
        TransportErrorKind::ServerCertificate,
    ] {
        let (waits, result) = pauses(IMDS, vec![fault(kind, false)], false);
        let error = result.expect_err("no token");
        assert_eq!((waits.len(), error.code.as_str()), (0, "managed_identity_unreachable_network"));
        assert_eq!(error.kind, ErrorKind::TransportFailed);
    }
    let (_, result) = pauses(IMDS, vec![fault(TransportErrorKind::Denied, false)], false);
    assert_eq!(result.expect_err("no token").code, "request_denied");
}

const KEY_FILE: &str = "/var/opt/azcmagent/tokens/0a1b.key";

fn challenge(value: Option<&str>) -> Result<HttpResponse, TransportError> {
    Ok(HttpResponse {
        status: 401,
        retry_after: None,
        challenge: value.map(String::from),
        date: None,
        server: None,
        body: vec![],
    })
}

#[test]
fn azure_arc_is_shown_the_content_of_the_file_that_it_names() {
    let mut host = host(ARC);
    host.answer(challenge(Some(&format!("Basic realm={KEY_FILE}"))));
    host.answer(given("3600"));
    host.acquire(system()).expect("a token");
    assert_eq!(host.actions, ["find", "platform", "send", "file", "send", "put"]);
    assert_eq!(host.secrets, [KEY_FILE]);
    let [first, second] = &host.sent[..] else { panic!("two requests") };
    let expected =
        "http://localhost:40342/oauth2/token?api-version=2020-06-01&resource=https%3A%2F%2Fvault.azure.net";
    assert_eq!((url(first).as_str(), url(second).as_str()), (expected, expected));
    assert_eq!((first.method, second.method), (Method::Get, Method::Get));
    assert_eq!(headers(first), [("Metadata", "true")]);
    assert_eq!(first.presentation.secret, None);
    assert_eq!(headers(second), [("Metadata", "true"), ("authorization", "Basic ")]);
    assert_eq!(second.presentation.secret, Some(Place::Header("authorization".into())));
}

#[test]
fn azure_arc_is_found_by_its_agent_alone() {
    let mut host = host(IMDS);
    host.platform.has_arc_agent = true;
    host.answer(given("3600"));
    host.acquire(system()).expect("a token");
    assert_eq!(host.sent[0].host, "127.0.0.1:40342");
    assert!(host.sent[0].path.starts_with("/metadata/identity/oauth2/token?api-version=2020-06-01&"));
}

#[test]
fn each_of_azure_arcs_requests_has_its_retries() {
    let mut host = host(ARC);
    host.answers.extend([answer(500, ""), answer(500, ""), challenge(Some("Basic realm=/k.key"))]);
    host.answers.extend([answer(500, ""), answer(500, ""), answer(500, ""), given("3600")]);
    host.acquire(system()).expect("a token");
    assert_eq!(host.waits, [1000; 5]);
}

#[test]
fn a_challenge_that_names_no_file_is_refused() {
    for value in
        [None, Some(""), Some("Basic"), Some("Basic realm="), Some("Bearer realm=/k.key"), Some("Basic x=/k")]
    {
        let mut host = host(ARC);
        host.answer(challenge(value));
        let error = host.acquire(system()).expect_err("no token");
        assert_eq!(
            (error.code.as_str(), error.status),
            ("managed_identity_request_failed", Some(401)),
            "{value:?}"
        );
        assert!(host.secrets.is_empty());
    }
}

#[test]
fn a_second_challenge_is_a_refusal() {
    let mut host = host(ARC);
    host.answers.extend([challenge(Some("Basic realm=/k.key")), challenge(Some("Basic realm=/k.key"))]);
    let error = host.acquire(system()).expect_err("no token");
    assert_eq!((error.code.as_str(), error.kind), ("managed_identity_request_failed", ErrorKind::Refused));
    assert_eq!((host.sent.len(), host.secrets.len()), (2, 1));
}

#[test]
fn only_azure_arc_may_ask_for_a_file() {
    let mut host = host(IMDS);
    host.answer(challenge(Some("Basic realm=/etc/shadow")));
    assert_eq!(host.acquire(system()).expect_err("no token").status, Some(401));
    assert!(host.secrets.is_empty());
}

#[test]
fn a_secret_that_the_host_does_not_give_ends_the_acquisition() {
    for (variables, answers) in
        [(APP_SERVICE, vec![]), (ARC, vec![challenge(Some("Basic realm=/etc/shadow"))])]
    {
        let mut host = host(variables);
        host.answers.extend(answers);
        host.secret = Err(CredentialError {
            kind: CredentialErrorKind::Refused,
            message: "not one of the agent's keys".into(),
            retry_after_ms: None,
        });
        let error = host.acquire(system()).expect_err("no token");
        assert_eq!(error.code, "managed_identity_request_failed");
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::CredentialUnavailable, "not one of the agent's keys")
        );
        assert_eq!(host.actions.last(), Some(&"fail"));
    }
}

/// The SHA-256 of `mi-token`.
const REFUSED: &str = "1944a698f6decdc828f595637b016185ca137eb5dad15dbc6318420a552350dc";

#[test]
fn service_fabric_is_told_capabilities_and_which_token_was_refused() {
    let mut host = host(SERVICE_FABRIC);
    host.context.application.client_capabilities = vec!["cp1".into(), "cp2".into()];
    let challenged = with(&system(), Options { claims: Some(CHALLENGE.into()), ..Options::default() });
    let parameter = |host: &Host, name: &str| {
        host.sent[0].query().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    };

    host.answer(given("3600"));
    host.acquire(challenged.clone()).expect("a token");
    assert_eq!(host.actions, ["find", "find", "platform", "secret", "send", "put"]);
    assert_eq!(parameter(&host, "xms_cc").as_deref(), Some("cp1,cp2"));
    assert_eq!(parameter(&host, "token_sha256_to_refresh"), None);

    host.answer(given("3600"));
    let token = host.acquire(challenged).expect("a token");
    assert_eq!(token.refresh_reason, CacheRefreshReason::ForceRefreshOrClaims);
    let hash = parameter(&host, "token_sha256_to_refresh").expect("a hash");
    assert_eq!(hash, REFUSED);
    assert!(!host.sent[0].path.contains("claims"));
    // Nobody waits for a look at what was refused.
    assert!(host.lookups[0].flight.is_none() && !host.lookups[0].bypass);
    assert!(host.lookups[1].flight.is_some() && host.lookups[1].bypass);

    host.answer(given("3600"));
    host.acquire(with(&system(), forced())).expect("a token");
    assert_eq!(parameter(&host, "token_sha256_to_refresh"), None);
    assert_eq!(parameter(&host, "xms_cc").as_deref(), Some("cp1,cp2"));
}

#[test]
fn a_hash_of_the_callers_own_goes_with_claims_alone() {
    let hash = Options { access_token_sha256_to_refresh: Some(REFUSED.into()), ..Options::default() };
    let both = Options { claims: Some(CHALLENGE.into()), ..hash.clone() };
    for (options, expected) in [(hash, None), (both, Some(REFUSED))] {
        let mut host = host(SERVICE_FABRIC);
        host.answer(given("3600"));
        host.acquire(system()).expect("a token");
        host.answer(given("3600"));
        let token = host.acquire(with(&system(), options)).expect("a token");
        assert_eq!(token.source, TokenSource::IdentityProvider);
        let sent = host.sent[0].query();
        let sent =
            sent.iter().find(|(name, _)| name == "token_sha256_to_refresh").map(|(_, hash)| hash.as_str());
        assert_eq!(sent, expected);
    }
}

#[test]
fn other_sources_hear_nothing_of_claims_and_capabilities() {
    for variables in [IMDS, APP_SERVICE, ARC, MACHINE_LEARNING, CLOUD_SHELL] {
        let mut host = host(variables);
        host.context.application.client_capabilities = vec!["cp1".into()];
        let challenged = with(&system(), Options { claims: Some(CHALLENGE.into()), ..Options::default() });
        host.answer(given("3600"));
        host.acquire(system()).expect("a token");
        host.answer(given("3600"));
        let token = host.acquire(challenged).expect("a token");
        assert_eq!((token.source, host.sent.len()), (TokenSource::IdentityProvider, 1));
        let names: Vec<_> = host.sent[0].query().into_iter().map(|(name, _)| name).collect();
        assert!(!names.iter().any(|name| name == "xms_cc" || name == "token_sha256_to_refresh"));
        assert!(!host.sent[0].path.contains("cp1") && !host.sent[0].form().contains("cp1"));
    }
}

#[test]
fn what_the_caller_adds_to_the_query_comes_last() {
    let options = Options {
        extra_query_parameters: vec![("dc".into(), "a b".into())],
        encoded_query_parameters: vec![("slice".into(), "a%20b".into())],
        ..Options::default()
    };
    let sent = sent(IMDS, with(&for_identity(client_id()), options));
    assert!(sent.path.ends_with("&client_id=client-1&dc=a%20b&slice=a%20b"), "{}", sent.path);
}
