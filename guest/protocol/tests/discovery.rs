//! What is found out before a request: the region, the names of a cloud, the metadata of a provider. Once each.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::host::Host;
use common::*;
use symbolon_protocol::authority::AuthorityKind;
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::platform::Platform;
use symbolon_protocol::request::{Flow, Request, UsernamePassword};
use symbolon_protocol::response::TransportErrorKind;
use symbolon_protocol::token_request::{Method, UrlScheme};

fn detecting() -> Host {
    let mut host = Host::new(certificate("t1"));
    host.context.application.azure_region = Some("TryAutoDetect".into());
    host
}

fn at(authority: &str) -> Host {
    let mut host = Host::new(secret());
    host.context.application.authority = authority.into();
    host
}

fn hosts(host: &Host) -> Vec<&str> {
    host.sent.iter().map(|sent| sent.host.as_str()).collect()
}

fn telemetry(host: &Host) -> &str {
    host.sent.last().and_then(|sent| sent.header("x-client-current-telemetry")).expect("telemetry")
}

const REGIONAL: &str = "westus2.login.microsoft.com";
const AD_FS: &str = "https://fs.contoso.test/adfs";
const IMDS: &str = "169.254.169.254";

#[test]
fn the_instance_metadata_service_tells_the_region_once() {
    let mut host = detecting();
    host.answer(answer(200, r#"{"location":"westus2"}"#));
    let token = host.acquire(request()).expect("a token");
    assert_eq!(token.region.as_deref(), Some("westus2"));
    assert_eq!(hosts(&host), [IMDS, REGIONAL]);
    let asked = &host.sent[0];
    assert_eq!((asked.method, asked.scheme), (Method::Get, UrlScheme::Http));
    assert_eq!(asked.path, "/metadata/instance/compute?api-version=2021-02-01");
    assert_eq!(asked.headers, [("Metadata".to_string(), "true".to_string())]);
    assert!(telemetry(&host).contains("westus2,4,4"), "{}", telemetry(&host));
    host.acquire(with(&request(), forced())).expect("a token");
    assert_eq!(hosts(&host), [REGIONAL]);
    assert!(telemetry(&host).contains("westus2,2,4"), "{}", telemetry(&host));
}

#[test]
fn the_environment_comes_first() {
    let mut host = detecting();
    host.platform =
        Platform { variables: vec![("REGION_NAME".into(), Some("West US 2".into()))], has_arc_agent: false };
    host.acquire(request()).expect("a token");
    assert_eq!(hosts(&host), [REGIONAL]);
    assert!(telemetry(&host).contains("westus2,3,4"), "{}", telemetry(&host));
}

#[test]
fn a_failure_is_global_for_five_minutes() {
    for (answers, requests) in [
        (vec![answer(404, "")], 1),
        (vec![answer(408, "")], 1),
        (vec![fault(TransportErrorKind::Timeout, true)], 1),
        (vec![answer(200, r#"{"location":"west us"}"#)], 1),
        (vec![answer(500, ""), answer(410, ""), answer(429, ""), answer(503, "")], 4),
        (vec![answer(400, ""), answer(400, r#"{"newest-versions":["2031-01-01"]}"#), answer(400, "")], 3),
    ] {
        let mut host = detecting();
        answers.into_iter().for_each(|answer| host.answer(answer));
        host.acquire(request()).expect("a token");
        assert_eq!(hosts(&host)[..requests], vec![IMDS; requests]);
        assert_eq!(hosts(&host)[requests..], ["login.microsoftonline.com"]);
        assert!(telemetry(&host).contains(",1,5"), "{}", telemetry(&host));
        host.later(4 * 60);
        host.acquire(with(&request(), forced())).expect("a token");
        assert_eq!(hosts(&host), ["login.microsoftonline.com"]);
        host.later(60);
        host.answer(answer(200, r#"{"location":"westus2"}"#));
        host.acquire(with(&request(), forced())).expect("a token");
        assert_eq!(hosts(&host), [IMDS, REGIONAL]);
    }
}

#[test]
fn retries_double_their_pause_and_an_unknown_version_is_asked_about() {
    let mut host = detecting();
    for _ in 0..3 {
        host.answer(answer(503, ""));
    }
    host.answer(answer(200, r#"{"location":"westus2"}"#));
    host.acquire(request()).expect("a token");
    assert_eq!(host.waits, [1000, 2000, 4000]);

    let mut host = detecting();
    host.answer(answer(400, ""));
    host.answer(answer(400, r#"{"newest-versions":["2031-01-01","2021-02-01"]}"#));
    host.answer(answer(200, r#"{"location":"westus2"}"#));
    host.acquire(request()).expect("a token");
    let paths: Vec<_> = host.sent.iter().map(|sent| sent.path.as_str()).take(3).collect();
    assert_eq!(
        paths[1..],
        ["/metadata/instance/compute", "/metadata/instance/compute?api-version=2031-01-01"]
    );
    assert_eq!(hosts(&host)[3], REGIONAL);
}

#[test]
fn users_tokens_need_no_region_without_mutual_tls_and_cached_ones_none_at_all() {
    let password = UsernamePassword { username: "alice@contoso.com".into(), password: "p".into() };
    let mut host = detecting();
    host.acquire(ask(Flow::ByUsernamePassword(password))).expect("a token");
    assert_eq!(hosts(&host), ["login.microsoftonline.com"]);

    let mut host = Host::new(certificate("t1"));
    host.acquire(request()).expect("a token");
    host.context.application.azure_region = Some("TryAutoDetect".into());
    assert_eq!(host.requests(request()), 0, "a global token serves a regional client");
    host.context.application.azure_region = Some("westus2".into());
    assert_eq!(host.requests(request()), 0);
    host.acquire(with(&request(), forced())).expect("a regional token");
    host.context.application.azure_region = None;
    assert_eq!(host.requests(request()), 0, "and the other way");
}

const FOREIGN: &str = "https://login.contoso.test/tenant";
const NAMES: &str = r#"{"metadata":[{"preferred_network":"login.contoso.test","preferred_cache":"sts.contoso.test",
    "aliases":["login.contoso.test","sts.contoso.test"]}]}"#;
/// A well-known host under another name.
const RENAMED: &str = r#"{"metadata":[{"preferred_network":"login.contoso.test","preferred_cache":"login.windows.net",
    "aliases":["login.contoso.test","login.windows.net"]}]}"#;
const TRUSTED: &str = r#"{"links":[{"rel":"http://schemas.microsoft.com/rel/trusted-realm","href":"https://fs.contoso.test"}]}"#;

#[test]
fn an_unknown_host_is_asked_about_once() {
    let mut host = at(FOREIGN);
    host.answer(answer(200, NAMES));
    host.acquire(request()).expect("a token");
    assert_eq!(hosts(&host), ["login.microsoftonline.com", "login.contoso.test"]);
    assert_eq!(
        host.sent[0].path,
        "/common/discovery/instance?api-version=1.1&authorization_endpoint=\
         https%3A%2F%2Flogin.contoso.test%2Ftenant%2Foauth2%2Fv2.0%2Fauthorize"
    );
    assert_eq!(host.sent[0].header("return-client-request-id"), Some("true"));
    assert_eq!(host.cache.access_tokens()[0].environment, "sts.contoso.test");
    assert_eq!(host.requests(request()), 0, "the token is found under the name that discovery gave");
    assert_eq!(host.requests(with(&request(), forced())), 1);
    host.context.application.authority = "https://sts.contoso.test/tenant".into();
    host.answer(answer(200, NAMES));
    host.acquire(with(&request(), forced())).expect("a token");
    assert_eq!(
        hosts(&host),
        ["login.microsoftonline.com", "login.contoso.test"],
        "another host is another question"
    );
}

#[test]
fn well_known_regional_and_other_authorities_ask_nobody() {
    for authority in [
        "https://login.microsoftonline.us/tenant",
        "https://x.dsts.test/dstsv2/tenant",
        "https://contoso.ciamlogin.com",
        "https://contoso.b2clogin.com/tfp/contoso.com/policy",
    ] {
        assert_eq!(at(authority).requests(request()), 1, "{authority}");
    }
    let mut host = at(FOREIGN);
    host.context.application.azure_region = Some("westus2".into());
    assert_eq!(host.requests(request()), 1);
    let mut host = at(FOREIGN);
    host.credential = bound_certificate("t1");
    assert_eq!(host.requests(request()), 1);
    assert_eq!(hosts(&host), ["mtlsauth.contoso.test"]);
}

#[test]
fn only_the_word_of_discovery_makes_a_host_invalid() {
    let invalid = || answer(400, r#"{"error":"invalid_instance"}"#);
    let mut host = at(FOREIGN);
    host.answer(invalid());
    let error = host.acquire(request()).expect_err("no instance");
    assert_eq!(
        (error.code.as_str(), error.kind, error.status),
        ("invalid_instance", ErrorKind::InvalidRequest, Some(400))
    );
    for (skip, failure) in [
        (true, invalid()),
        (false, answer(500, "")),
        (false, answer(200, "<html>")),
        (false, fault(TransportErrorKind::Timeout, true)),
    ] {
        let mut host = at(FOREIGN);
        host.context.application.skip_authority_validation = skip;
        host.answer(failure);
        host.acquire(request()).expect("a token");
        assert_eq!(hosts(&host)[1..], ["login.contoso.test"]);
        assert_eq!(host.requests(with(&request(), forced())), 1, "the failure is remembered");
    }
}

#[test]
fn a_table_of_ones_own_is_the_only_one() {
    let mut host = at(FOREIGN);
    host.context.application.instance_metadata = Some(NAMES.into());
    host.acquire(request()).expect("a token");
    assert_eq!(hosts(&host), ["login.contoso.test"]);
    assert_eq!(host.cache.access_tokens()[0].environment, "sts.contoso.test");
    host.context.application.authority = format!("https://login.microsoftonline.com/{TENANT}");
    let error = host.acquire(request()).expect_err("not in the table");
    assert_eq!(error.code, "invalid-custom-instance-metadata");
}

#[test]
fn a_place_of_ones_own_is_asked_for_the_names_of_any_cloud() {
    let own = |authority: &str| {
        let mut host = at(authority);
        host.context.application.instance_discovery_uri = Some("https://names.contoso.test/v1".into());
        host
    };
    let mut host = own(FOREIGN);
    host.answer(answer(200, NAMES));
    host.acquire(request()).expect("a token");
    assert_eq!(hosts(&host), ["names.contoso.test", "login.contoso.test"]);
    assert!(host.sent[0].path.starts_with("/v1?api-version=1.1&authorization_endpoint=https%3A%2F%2F"));
    assert_eq!(host.cache.access_tokens()[0].environment, "sts.contoso.test");

    // What it doesn't say of a well-known host is known anyway.
    for (failure, expected) in
        [(answer(500, ""), "login.microsoftonline.com"), (answer(200, RENAMED), "login.contoso.test")]
    {
        let mut host = own(&format!("https://login.windows.net/{TENANT}"));
        host.answer(failure);
        host.acquire(request()).expect("a token");
        assert_eq!(hosts(&host), ["names.contoso.test", expected]);
        assert_eq!(host.requests(request()), 0, "the token is found again");
    }
}

#[test]
fn ad_fs_is_asked_once_whether_it_is_trusted() {
    let mut host = at(AD_FS);
    host.answer(answer(200, TRUSTED));
    host.acquire(request()).expect("a token");
    assert_eq!(hosts(&host), ["fs.contoso.test"; 2]);
    assert_eq!(
        host.sent[0].path,
        "/.well-known/webfinger?rel=http://schemas.microsoft.com/rel/trusted-realm&resource=https://fs.contoso.test"
    );
    assert_eq!(host.requests(with(&request(), forced())), 1);
    for (failure, status) in
        [(answer(404, ""), Some(404)), (answer(200, "{}"), Some(200)), (answer(200, "<html>"), Some(200))]
    {
        let mut host = at(AD_FS);
        host.answer(failure);
        let error = host.acquire(request()).expect_err("not trusted");
        assert_eq!(
            (error.code.as_str(), error.kind, error.status),
            ("invalid_authority", ErrorKind::InvalidRequest, status)
        );
        assert_eq!(host.sent.len(), 1, "nothing proves the client to it");
        host.answer(answer(200, TRUSTED));
        host.acquire(request()).expect("a refusal isn't remembered");
    }
    let mut host = at(AD_FS);
    host.answer(fault(TransportErrorKind::Timeout, true));
    assert_eq!(host.acquire(request()).expect_err("silent").code, "request_timeout");
}

#[test]
fn errors_say_of_a_host_for_certificates_that_nobody_has_seen_it() {
    for (authority, is_known) in [
        ("https://login.microsoftonline.com/t", true),
        ("https://login.microsoftonline.us/t", true),
        ("https://login.partner.microsoftonline.cn/t", false),
        ("https://login.sovcloud-identity.fr/t", false),
    ] {
        for kind in [
            TransportErrorKind::NameResolution,
            TransportErrorKind::Tls,
            TransportErrorKind::ServerCertificate,
        ] {
            let mut host = at(authority);
            host.credential = bound_certificate("t1");
            host.answer(fault(kind, false));
            let error = host.acquire(request()).expect_err("no answer").to_string();
            assert_eq!(!error.contains("isn't known to be in service"), is_known, "{error}");
            let mut unbound = at(authority);
            unbound.answer(fault(kind, false));
            let error = unbound.acquire(request()).expect_err("no answer").to_string();
            assert!(!error.contains("isn't known to be in service"), "{error}");
        }
    }
}

/// Where a token is kept, and where it is asked for, are two things: a region or mutual TLS that is switched on or off
/// finds what is there, under every name of the cloud.
#[test]
fn tokens_are_found_from_every_host_of_the_cloud_in_both_directions() {
    type Change = fn(&mut Host);
    let hosts: [Change; 5] = [
        |_| {},
        |host| host.context.application.authority = format!("https://login.windows.net/{TENANT}"),
        |host| host.context.application.azure_region = Some("westus2".into()),
        |host| host.credential = bound_certificate("t1"),
        |host| {
            host.context.application.azure_region = Some("westus2".into());
            host.credential = bound_certificate("t1");
        },
    ];
    for (first, change) in hosts.iter().enumerate() {
        for (second, other) in hosts.iter().enumerate() {
            let mut host = at(&format!("https://login.microsoftonline.com/{TENANT}"));
            change(&mut host);
            assert_eq!(host.requests(request()), 1);
            let mut after = at(&format!("https://login.microsoftonline.com/{TENANT}"));
            other(&mut after);
            after.cache = host.cache;
            assert_eq!(after.requests(request()), 0, "kept by {first}, looked for by {second}");
        }
    }
}

#[test]
fn a_type_that_is_said_must_be_the_urls() {
    let mut host = at(AD_FS);
    host.context.application.skip_authority_validation = true;
    host.context.application.authority_type = Some(AuthorityKind::Adfs);
    assert_eq!(host.requests(request()), 1);
    host.context.application.authority_type = Some(AuthorityKind::Aad);
    assert_eq!(host.acquire(request()).expect_err("another type").code, "authority_type_mismatch");
}

#[test]
fn each_kind_of_authority_has_its_endpoint_header_and_client_info() {
    for (authority, endpoint, algorithm, has_client_info) in [
        ("https://fs.contoso.test/adfs", "/adfs/oauth2/token", "RS256", false),
        ("https://x.dsts.test/dstsv2/tenant", "/dstsv2/tenant/oauth2/v2.0/token", "RS256", true),
        ("https://contoso.ciamlogin.com", "/contoso.onmicrosoft.com/oauth2/v2.0/token", "PS256", true),
        ("https://c.b2clogin.com/tfp/c.com/policy", "/tfp/c.com/policy/oauth2/v2.0/token", "PS256", true),
    ] {
        let mut host = at(authority);
        host.credential = certificate("t1");
        host.context.application.skip_authority_validation = true;
        host.acquire(request()).expect("a token");
        assert_eq!(host.sent[0].path, endpoint);
        assert_eq!(host.sent[0].field("client_info").is_some(), has_client_info, "{authority}");
        let header = header(&host.signed[0]);
        assert_eq!(header["alg"], algorithm, "{authority}");
        assert_eq!(header.get("x5t").is_some(), algorithm == "RS256", "{authority}");
    }
}

fn header(input: &str) -> serde_json::Value {
    use base64::Engine;
    let header = input.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
    serde_json::from_slice(&header).expect("JSON")
}

#[test]
fn the_request_of_a_herd_is_one() {
    let mut host = at(FOREIGN);
    host.answer(answer(200, NAMES));
    let request: Request = request();
    host.acquire(request).expect("a token");
    let flights: Vec<_> = host.lookups.iter().filter_map(|lookup| lookup.flight.as_deref()).collect();
    assert!(flights.iter().any(|flight| flight.starts_with("InstanceDiscovery")), "{flights:?}");
}
