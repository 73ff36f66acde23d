//! Whole token requests, one of each kind of credential.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::*;
use symbolon_protocol::credential::{Place, Presentation, SignedAssertion};
use symbolon_protocol::request::{ClientFlow, Flow, Options, Request};
use symbolon_protocol::token_request::HttpRequest;

/// The request as text: method and URL, headers, body with one field a line.
fn text(request: &HttpRequest) -> String {
    let mut text = format!("POST https://{}{}\n", request.authority, request.path_with_query);
    for (name, value) in &request.headers {
        text += &format!("{name}: {value}\n");
    }
    text += "\n";
    text += &request.body.replace('&', "\n");
    text
}

fn headers(telemetry: &str) -> String {
    format!(
        "content-type: application/x-www-form-urlencoded
x-client-SKU: Symbolon
x-client-Ver: {}
client-request-id: {CORRELATION}
return-client-request-id: true
x-client-current-telemetry: {telemetry}
x-ms-lib-capability: retry-after, h429
",
        env!("CARGO_PKG_VERSION")
    )
}

/// The signing input, and the signature of the test world.
fn assertion(trace: &Trace) -> String {
    format!("{}.____", trace.signed.last().expect("signed").1)
}

#[test]
fn with_a_secret() {
    let (result, trace) = run(request(), &context(), World::new(secret(), vec![token("at", "Bearer")]));
    result.unwrap();
    let expected = format!(
        "POST https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token\n{}\n\
         client_id={CLIENT}\n\
         client_secret=\n\
         scope=https%3A%2F%2Fgraph.microsoft.com%2F.default\n\
         grant_type=client_credentials\n\
         client_info=2",
        headers("5|1004,2,,,|0,1,1,,,")
    );
    assert_eq!(text(trace.request()), expected);
    let place = Some(Place::FormField("client_secret".into()));
    assert_eq!(trace.request().presentation, Presentation { certificate: false, secret: place });
    assert_eq!(trace.actions, ["find", "select", "send", "used", "put"]);
}

#[test]
fn with_a_certificate() {
    let (result, trace) =
        run(request(), &context(), World::new(certificate("t1"), vec![token("at", "Bearer")]));
    result.unwrap();
    let expected = format!(
        "POST https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token\n{}\n\
         client_id={CLIENT}\n\
         client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\n\
         client_assertion={}\n\
         scope=https%3A%2F%2Fgraph.microsoft.com%2F.default\n\
         grant_type=client_credentials\n\
         client_info=2",
        headers("5|1004,2,,,|0,1,1,,,"),
        assertion(&trace)
    );
    assert_eq!(text(trace.request()), expected);
    assert_eq!(trace.request().presentation, Presentation::default());
    let (_, input) = &trace.signed[0];
    assert_eq!(claim(input, "aud"), format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(trace.actions, ["find", "select", "sign", "send", "used", "put"]);
}

#[test]
fn with_a_certificate_over_mutual_tls_in_a_region() {
    let mut context = context();
    context.application.azure_region = Some("westeurope".into());
    let (result, trace) =
        run(request(), &context, World::new(bound_certificate("t1"), vec![token("at", "Bearer")]));
    let endpoint = format!("https://westeurope.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token");
    let token = result.unwrap();
    assert_eq!(token.token_endpoint.as_deref(), Some(endpoint.as_str()));
    assert_eq!((token.region.as_deref(), token.key_id), (Some("westeurope"), None));
    let expected = format!(
        "POST {endpoint}\n{}\n\
         client_id={CLIENT}\n\
         client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\n\
         client_assertion={}\n\
         scope=https%3A%2F%2Fgraph.microsoft.com%2F.default\n\
         grant_type=client_credentials\n\
         client_info=2",
        headers("5|1004,2,westeurope,,6|0,1,1,,,"),
        assertion(&trace)
    );
    assert_eq!(text(trace.request()), expected);
    assert_eq!(trace.request().presentation, Presentation { certificate: true, secret: None });
    let (_, input) = &trace.signed[0];
    assert_eq!(claim(input, "aud"), endpoint);
    let header = input.split('.').next().unwrap();
    let expected = r#"{"alg":"PS256","typ":"JWT","x5t#S256":"t1","x5c":["MAE=","MAI="]}"#;
    use base64::Engine;
    assert_eq!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(expected), header);
}

#[test]
fn for_a_token_bound_to_the_certificate() {
    let (result, trace) =
        run(pop_request(), &context(), World::new(bound_certificate("t1"), vec![token("at", "mtls_pop")]));
    let token = result.unwrap();
    assert_eq!((token.token_type.as_str(), token.key_id.as_deref()), ("mtls_pop", Some("t1")));
    let expected = format!(
        "POST https://mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token\n{}\n\
         client_id={CLIENT}\n\
         scope=https%3A%2F%2Fgraph.microsoft.com%2F.default\n\
         grant_type=client_credentials\n\
         client_info=2\n\
         token_type=mtls_pop",
        headers("5|1004,2,,,|0,1,6,,,")
    );
    assert_eq!(text(trace.request()), expected);
    assert_eq!(trace.request().presentation, Presentation { certificate: true, secret: None });
    assert_eq!(trace.actions, ["select", "find", "send", "used", "put"]);
}

#[test]
fn with_an_assertion_made_elsewhere() {
    for (bound, host, assertion_type) in
        [(false, "login.microsoftonline.com", "jwt-bearer"), (true, "mtlsauth.microsoft.com", "jwt-pop")]
    {
        let assertion = Some(SignedAssertion { assertion: "a.b.c".into(), bound });
        let world = World { assertion, ..World::new(federated(), vec![token("at", "Bearer")]) };
        let (result, trace) = run(request(), &context(), world);
        result.unwrap();
        let expected = format!(
            "POST https://{host}/{TENANT}/oauth2/v2.0/token\n{}\n\
             client_id={CLIENT}\n\
             client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A{assertion_type}\n\
             client_assertion=a.b.c\n\
             scope=https%3A%2F%2Fgraph.microsoft.com%2F.default\n\
             grant_type=client_credentials\n\
             client_info=2",
            headers("5|1004,2,,,|0,1,1,,,")
        );
        assert_eq!(text(trace.request()), expected);
        assert_eq!(trace.request().presentation, Presentation { certificate: bound, secret: None });
    }
}

#[test]
fn with_everything_that_can_be_asked_beside() {
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    let request = Request {
        flow: Flow::ForClient(ClientFlow {
            fmi_path: Some("a/b".into()),
            attributes: Some(r#"{"k":1}"#.into()),
            attribute_tokens: vec![" z ".into(), "a".into(), "z".into(), "".into()],
        }),
        scopes: vec!["r/.default".into()],
        options: Options {
            tenant_id: Some("Contoso.com".into()),
            claims: Some(r#"{"access_token":{"nbf":{"essential":true}}}"#.into()),
            extra_query_parameters: vec![
                pair("caller-sdk-id", "sdk"),
                pair("CALLER-SDK-VER", "1"),
                pair("ManagedCert", "true"),
                pair("dc", "a b&"),
            ],
            extra_body_parameters: vec![pair("custom", "x"), pair("blank", " ")],
            extra_headers: vec![pair("X-Client-SKU", "Mine"), pair("x-anchormailbox", "oid:1@2")],
            ..request().options
        },
        ..request()
    };
    let mut context = context();
    context.application.client_capabilities = vec!["cp1".into()];
    let (result, trace) = run(request, &context, World::new(secret(), vec![token("at", "Bearer")]));
    let token = result.unwrap();
    assert_eq!(token.tenant_id.as_deref(), Some("contoso.com"));
    assert_eq!(token.reuse, None, "an answer to a challenge answers that challenge only");
    let expected = format!(
        "POST https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token?dc=a%20b%26
content-type: application/x-www-form-urlencoded
x-client-Ver: {}
client-request-id: {CORRELATION}
return-client-request-id: true
x-client-current-telemetry: 5|1004,2,,,|0,1,1,sdk,1,t
x-ms-lib-capability: retry-after, h429
X-Client-SKU: Mine
x-anchormailbox: oid:1@2

client_id={CLIENT}
client_secret=
scope=r%2F.default
claims=%7B%22access_token%22%3A%7B%22xms_cc%22%3A%7B%22values%22%3A%5B%22cp1%22%5D%7D%2C%22nbf%22%3A%7B%22essential%22%3Atrue%7D%7D%7D
grant_type=client_credentials
client_info=2
fmi_path=a%2Fb
attributes=%7B%22k%22%3A1%7D
attribute_tokens=a%20z
custom=x",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text(trace.request()), expected);
    assert!(trace.lookups[0].bypass);
}

#[test]
fn debug_shows_no_value_of_the_request() {
    let assertion = Some(SignedAssertion { assertion: "canary".into(), bound: false });
    let world = World { assertion, ..World::new(federated(), vec![token("at", "Bearer")]) };
    let (_, trace) = run(request(), &context(), world);
    assert!(trace.request().body.contains("canary"));
    assert!(!format!("{:?}", trace.request()).contains("canary"));
}
