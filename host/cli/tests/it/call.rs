//! `symbolon call` against a local API, over real TLS.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use symbolon_authority::{Api, Ask, Demand};

use crate::site::{SCOPE, Site, command, run};

/// An authority and an API that takes its tokens, or certificates.
pub(crate) struct Scene {
    pub(crate) site: Site,
    api: Api,
}

impl Scene {
    pub(crate) fn start() -> Self {
        Self::with(
            Api::builder().demand(Demand::Token("https://graph.microsoft.com".to_owned())).ask(Ask::Optional),
        )
    }

    fn with(builder: symbolon_authority::ApiBuilder) -> Self {
        let site = Site::start();
        let api = site.run_to_end(builder.start(&site.authority)).unwrap();
        Self { site, api }
    }

    /// A sample's configuration with the API `graph`, changed by `options`.
    pub(crate) fn configuration(&self, sample: &str, options: Value) -> PathBuf {
        self.site.edited(sample, |json| {
            json["Symbolon"]["ConnectTo"][self.api.host()] = self.api.address().to_string().into();
            let mut api = json!({ "BaseUrl": self.api.url(), "Scopes": SCOPE, "RequestAppToken": true });
            api.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            json["DownstreamApis"] = json!({ "graph": api });
        })
    }
}

#[test]
fn an_api_is_called_with_whatever_it_takes() {
    let scene = Scene::start();
    for (sample, scheme, presented) in [
        ("secret", "Bearer", "presented a token: Bearer"),
        ("bound", "MTLS_POP", "presented a certificate: "),
    ] {
        let configuration = scene.configuration(sample, json!({ "ProtocolScheme": scheme }));
        let config = configuration.to_str().unwrap();
        let ran =
            scene.site.run(&["call", "graph", "users?$top=5", "--config", config, "-v", "-H", "x-a: b"]);
        assert!(ran.stderr.contains(presented), "{}", ran.stderr);
        assert!(ran.stderr.contains("< HTTP/2.0 200 OK"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("eyJ"), "{}", ran.stderr);
        let seen = ran.json();
        assert_eq!((&seen["path"], &seen["query"]), (&json!("/users"), &json!("$top=5")));
        assert_eq!(seen["headers"]["x-a"], "b");
        assert_eq!(seen["clientCertificate"].is_object(), scheme == "MTLS_POP");
    }
}

#[test]
fn a_body_comes_from_a_file_or_from_standard_input() {
    let scene = Scene::start();
    let configuration = scene.configuration("secret", json!({}));
    let config = configuration.to_str().unwrap();
    let file = scene.site.path("body");
    // Longer than what is kept.
    let content: Vec<u8> = (0..3 << 20).map(|index: u32| index.to_le_bytes()[1]).collect();
    fs::write(&file, &content).unwrap();
    let content_type = ["--content-type", "application/octet-stream"];
    let line = ["call", "graph", "orders", "--config", config, "--body-file"];

    let seen = scene.site.run(&[&line[..], &[file.to_str().unwrap()], &content_type].concat()).json();
    assert_eq!((&seen["method"], &seen["bodyLength"]), (&json!("POST"), &json!(3 << 20)));
    assert_eq!(seen["headers"]["content-type"], "application/octet-stream");
    assert_eq!(seen["headers"]["content-length"], (3 << 20).to_string());
    let digest = seen["bodySha256"].clone();

    let input = fs::File::open(&file).unwrap();
    let ran = run(command().args(line).args(["-", "--method", "put"]).stdin(Stdio::from(input)));
    let seen = ran.json();
    assert_eq!((&seen["method"], &seen["bodySha256"]), (&json!("PUT"), &digest));
    assert_eq!(seen["headers"].get("content-length"), None, "nobody knows it");

    let echoed = run(command().args(["call", "graph", "bytes/300000", "--config", config])).ok();
    assert_eq!(echoed.len(), 300_000);
}

#[test]
fn the_status_of_an_api_is_a_failure_where_that_is_wanted() {
    let scene = Scene::start();
    let configuration = scene.configuration("secret", json!({}));
    let config = configuration.to_str().unwrap();
    let line = ["call", "graph", "status/404", "--config", config];
    assert_eq!(serde_json::from_str::<Value>(&scene.site.run(&line).ok()).unwrap()["path"], "/status/404");

    let ran = scene.site.run(&[&line[..], &["--fail"]].concat());
    assert_eq!(ran.status, 3);
    assert!(ran.stdout.contains("/status/404"), "the answer is told still: {}", ran.stdout);
    assert!(ran.stderr.contains("graph answered with the status 404"), "{}", ran.stderr);
}

#[test]
fn what_goes_wrong_has_a_status_of_its_own() {
    let scene = Scene::start();
    let call = |configuration: &PathBuf, api: &str| {
        scene.site.run(&["call", api, "--config", configuration.to_str().unwrap()])
    };
    let good = scene.configuration("secret", json!({}));
    let message = call(&good, "grahp").failed(2);
    assert!(
        message.contains("DownstreamApis:grahp: found no such API; accepted: the name of an API"),
        "{message}"
    );
    assert!(message.contains("\"graph\""), "{message}");

    let user = scene.configuration("secret", json!({ "RequestAppToken": false }));
    assert!(call(&user, "graph").failed(2).contains("nothing says for which user"));

    let pop = scene.configuration("bound", json!({ "ProtocolScheme": "MTLS_POP", "RequestAppToken": false }));
    assert!(call(&pop, "graph").failed(2).contains("IDW10116"));
    assert_eq!(scene.site.authority.log().len(), 0, "nothing was asked for");

    let certificate = scene.configuration("secret", json!({ "ProtocolScheme": "MTLS" }));
    let message = call(&certificate, "graph").failed(2);
    assert!(message.contains("no certificate among the client credentials"), "{message}");

    let nobody = scene.site.edited("secret", |json| {
        json["Symbolon"]["ConnectTo"]["api.contoso.test"] = "127.0.0.1:1".into();
        json["DownstreamApis"] = json!({ "graph": { "BaseUrl": "https://api.contoso.test" } });
    });
    assert!(call(&nobody, "graph").failed(4).contains("transport-failed"));
}

#[test]
fn a_check_says_what_would_be_sent_where() {
    let scene = Scene::start();
    let configuration =
        scene.configuration("bound", json!({ "ProtocolScheme": "MTLS_POP", "RelativePath": "v1" }));
    let text = scene.site.run(&["check", "--config", configuration.to_str().unwrap()]).ok();
    assert!(text.contains("API graph: GET https://api.contoso.test/v1\n  presents the application's own token for https://graph.microsoft.com/.default, and in the TLS handshake the certificate that it is bound to"), "{text}");

    let configuration = scene.configuration("bound", json!({ "BaseUrll": "x", "ProtocolScheme": "SAML" }));
    let ran = scene.site.run(&["check", "--config", configuration.to_str().unwrap()]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stdout.contains("DownstreamApis:graph:BaseUrll: found an unknown key (did you mean BaseUrl?)"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("accepted: Bearer, MTLS_POP, MTLS"), "{}", ran.stdout);
}

#[test]
fn a_user_is_called_for_with_a_token_from_a_file() {
    let scene = Scene::start();
    let configuration =
        scene.configuration("web-api", json!({ "RequestAppToken": false, "Scopes": ["User.Read"] }));
    let config = configuration.to_str().unwrap();
    let assertion = scene.site.path("user-assertion-alice.jwt");
    let line = [
        "call",
        "graph",
        "me",
        "--config",
        config,
        "-v",
        "--user-assertion-file",
        assertion.to_str().unwrap(),
    ];
    let ran = scene.site.run(&[&line[..], &["--session-key", "AllocateForMe"]].concat());
    assert!(ran.stderr.contains("* session key "), "{}", ran.stderr);
    assert_eq!(ran.json()["authorizationScheme"], "Bearer");
}
