//! The section `DownstreamApis`: what is read, what is refused, and in which words.

#![allow(clippy::unwrap_used, reason = "helpers of tests count as tests")]

use std::ffi::OsString;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use symbolon_resources::configuration::{
    DownstreamApiLimits, ProtocolScheme, Settings, check_base_url, parse_method,
};

fn settings(api: Value) -> Settings {
    Settings::from_value(json!({ "DownstreamApis": { "graph": api } }))
}

fn errors(api: Value) -> Vec<String> {
    let error = settings(api).downstream_api("graph").unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn every_option_is_read_in_whatever_case() {
    let settings = Settings::from_value(json!({
        "downstreamapis": { "Graph": {
            "baseUrl": " https://graph.microsoft.com/v1.0/ ", "RelativePath": "me", "HTTPMETHOD": "Patch",
            "Scopes": ["a", "b"], "RequestAppToken": "true", "ProtocolScheme": "mtls_pop", "AcceptHeader": "",
            "ContentType": "application/json-patch+json", "ExtraHeaderParameters": { "OData-Version": "4.0" },
            "ExtraQueryParameters": { "n": 1, "flag": true },
            "AcquireTokenOptions": {
                "AuthenticationOptionsName": "Other", "CorrelationId": "11111111-2222-3333-4444-555555555555",
                "Claims": "{}", "Tenant": "", "ForceRefresh": true, "FmiPath": "p", "PopPublicKey": "jwk",
                "LongRunningWebApiSessionKey": "key", "ManagedIdentity": { "UserAssignedClientId": "id" },
                "ExtraQueryParameters": { "dc": "1" }, "ExtraHeadersParameters": { "x-h": "2" },
                "ExtraParameters": {
                    "EXTRA_BODY_PARAMETERS": { "p": "3" }, "IDWEB_AGENT_IDENTITY": "agent", "IDWEB_USERNAME": "user",
                },
            },
        }},
        "Symbolon": { "DownstreamApis": { "graph": {
            "TimeoutSeconds": 5, "IdleTimeoutSeconds": "6", "FollowRedirects": true, "RejectedByBadRequest": true,
            "ReplayLimitBytes": 7, "MaxResponseBytes": 8,
        }}},
    }));
    let api = settings.downstream_api("GRAPH").unwrap();
    assert_eq!(api.base_url.as_deref(), Some("https://graph.microsoft.com/v1.0/"));
    assert_eq!((api.relative_path.as_str(), &api.http_method), ("me", &Method::PATCH));
    assert_eq!((&api.scopes[..], api.request_app_token), (&["a".to_owned(), "b".to_owned()][..], true));
    assert_eq!(api.protocol_scheme, ProtocolScheme::MtlsPop);
    assert_eq!(api.accept_header.as_deref(), Some(""));
    assert_eq!(api.content_type.as_deref(), Some("application/json-patch+json"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(api.extra_header_parameters, [pair("OData-Version", "4.0")]);
    assert_eq!(api.extra_query_parameters, [pair("flag", "true"), pair("n", "1")]);
    let acquire = &api.acquire_token_options;
    assert_eq!(acquire.authentication_options_name.as_deref(), Some("Other"));
    assert_eq!((acquire.tenant.as_deref(), acquire.force_refresh), (Some(""), true));
    assert_eq!(acquire.managed_identity, Some(Some("id".to_owned())));
    assert_eq!(acquire.extra_body_parameters, [pair("p", "3")]);
    assert_eq!(acquire.agent_username.as_deref(), Some("user"));
    assert_eq!(
        (api.limits.timeout, api.limits.idle_timeout),
        (Some(Duration::from_secs(5)), Duration::from_secs(6))
    );
    assert_eq!((api.limits.replay_limit, api.limits.max_response_bytes), (7, 8));
    assert!(api.limits.follow_redirects && api.limits.rejected_by_bad_request);
}

#[test]
fn what_is_not_said_has_a_default() {
    let api = settings(json!({})).downstream_api("graph").unwrap();
    assert_eq!(
        (api.base_url, api.http_method, api.protocol_scheme),
        (None, Method::GET, ProtocolScheme::Bearer)
    );
    assert_eq!((api.scopes.len(), api.request_app_token, api.accept_header), (0, false, None));
    assert_eq!(api.limits, DownstreamApiLimits::default());
}

#[test]
fn scopes_are_a_list_or_a_text() {
    for (written, expected) in [
        (json!("a  b"), &["a", "b"][..]),
        (json!(["a", "b"]), &["a", "b"]),
        (json!(""), &[]),
        (json!([]), &[]),
        (json!(null), &[]),
    ] {
        assert_eq!(settings(json!({ "Scopes": written })).downstream_api("graph").unwrap().scopes, expected);
    }
    let variables =
        [("DownstreamApis__graph__Scopes", "c d"), ("DownstreamApis__graph__BaseUrl", "https://e")];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let settings = settings(json!({ "Scopes": ["a", "b"] })).with_environment(variables);
    let api = settings.downstream_api("graph").unwrap();
    assert_eq!(
        (&api.scopes[..], api.base_url.as_deref()),
        (&["c".to_owned(), "d".to_owned()][..], Some("https://e"))
    );
}

#[test]
fn problems_say_where_what_and_what_instead() {
    for (api, expected) in [
        (
            json!({ "BaseUrll": "https://h" }),
            "DownstreamApis:graph:BaseUrll: found an unknown key (did you mean BaseUrl?)",
        ),
        (
            json!({ "BaseUrl": "graph" }),
            "DownstreamApis:graph:BaseUrl: found \"graph\"; accepted: an absolute URL",
        ),
        (json!({ "BaseUrl": "https://h?a" }), "without query"),
        (json!({ "BaseUrl": "http://h", "ProtocolScheme": "MTLS" }), "accepted: an absolute https URL"),
        (
            json!({ "ProtocolScheme": "Saml" }),
            "ProtocolScheme: found \"Saml\"; accepted: Bearer, MTLS_POP, MTLS",
        ),
        (json!({ "HttpMethod": "a b" }), "HttpMethod: found \"a b\"; accepted: an HTTP method"),
        (
            json!({ "ExtraHeaderParameters": { "x y": "" } }),
            "ExtraHeaderParameters:x y: found a name that no header has",
        ),
        (json!({ "ExtraHeaderParameters": { "x": "a\nb" } }), "found a value that no header can hold"),
        (json!({ "AcquireTokenOptions": { "ForcRefresh": true } }), "(did you mean ForceRefresh?)"),
        (
            json!({ "AcquireTokenOptions": { "PopClaim": "canary" } }),
            "found a key that is known and not supported",
        ),
        (json!({ "AcquireTokenOptions": { "CorrelationId": "canary" } }), "accepted: a GUID"),
        (
            json!({ "AcquireTokenOptions": { "ExtraParameters": { "IDWEB_USERNAME": "canary" } } }),
            "AcquireTokenOptions:ExtraParameters: found a user without an agent",
        ),
    ] {
        let found = errors(api).join("\n");
        assert!(found.contains(expected) && !found.contains("canary"), "{found}");
    }
    let other = Settings::from_value(json!({
        "DownstreamApis": { "graph": {} },
        "Symbolon": { "DownstreamApis": { "graph": { "Timeout": 1 }, "grahp": {} } },
    }));
    let found = other.downstream_api("graph").unwrap_err().to_string();
    assert!(found.contains("Symbolon:DownstreamApis:graph:Timeout: found an unknown key"), "{found}");
    assert!(
        found.contains("Symbolon:DownstreamApis:grahp: found an unknown API; accepted: the name of"),
        "{found}"
    );
    let found = other.downstream_api("none").unwrap_err().to_string();
    assert!(found.contains("DownstreamApis:none: found no such API"), "{found}");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let api =
        json!({ "BaseUrl": "http://h", "Serializer": "x", "AcquireTokenOptions": { "UserFlow": "B2C_1" } });
    let warnings = settings(api).downstream_api("graph").unwrap().warnings;
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    for expected in
        ["BaseUrl: is not https", "Serializer: is an unknown key", "UserFlow: is known and has no effect"]
    {
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{warnings:?}");
    }
    let local = settings(json!({ "BaseUrl": "http://[::1]:5000" })).downstream_api("graph").unwrap();
    assert_eq!(local.warnings.len(), 0);
}

#[test]
fn urls_and_methods_are_checked_in_code_too() {
    assert_eq!(check_base_url(" https://h/a ", ProtocolScheme::Mtls).unwrap(), "https://h/a");
    for url in ["", "h", "ftp://h", "https://u@h", "https://h#f"] {
        check_base_url(url, ProtocolScheme::Bearer).unwrap_err();
    }
    for (name, method) in [("get", Method::GET), ("", Method::GET), ("Delete", Method::DELETE)] {
        assert_eq!(parse_method(name), Some(method));
    }
    assert_eq!(parse_method("PROPFIND").unwrap().as_str(), "PROPFIND");
    assert_eq!((parse_method("CONNECT"), parse_method("a b")), (None, None));
}
