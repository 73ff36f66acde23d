//! Where requests go: the clouds and their names, authorities that a request names itself, and regions.

use std::time::Duration;

use serde_json::Value;
use symbolon::{Application, ErrorKind, ManualClock, Symbolon, TokenSource};
use symbolon_authority::{LogEntry, Platform, Source};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine, engine_with};

/// The hosts of every cloud: name, the host that is asked, the one that is asked by mutual TLS.
const CLOUDS: [(&str, &str, Result<&str, &str>); 17] = [
    ("login.microsoftonline.com", "login.microsoftonline.com", Ok("mtlsauth.microsoft.com")),
    ("login.windows.net", "login.microsoftonline.com", Ok("mtlsauth.microsoft.com")),
    ("login.microsoft.com", "login.microsoftonline.com", Ok("mtlsauth.microsoft.com")),
    ("sts.windows.net", "login.microsoftonline.com", Err("use login.microsoftonline.com")),
    (
        "login.partner.microsoftonline.cn",
        "login.partner.microsoftonline.cn",
        Ok("mtlsauth.partner.microsoftonline.cn"),
    ),
    (
        "login.chinacloudapi.cn",
        "login.partner.microsoftonline.cn",
        Err("use login.partner.microsoftonline.cn"),
    ),
    ("login.microsoftonline.de", "login.microsoftonline.de", Ok("mtlsauth.microsoftonline.de")),
    ("login.microsoftonline.us", "login.microsoftonline.us", Ok("mtlsauth.microsoftonline.us")),
    ("login.usgovcloudapi.net", "login.microsoftonline.us", Err("use login.microsoftonline.us")),
    (
        "login-us.microsoftonline.com",
        "login-us.microsoftonline.com",
        Err("use an authority whose host begins with login."),
    ),
    ("login.windows-ppe.net", "login.windows-ppe.net", Ok("mtlsauth.windows-ppe.net")),
    ("sts.windows-ppe.net", "login.windows-ppe.net", Err("use login.windows-ppe.net")),
    ("login.microsoft-ppe.com", "login.windows-ppe.net", Ok("mtlsauth.windows-ppe.net")),
    ("login.sovcloud-identity.fr", "login.sovcloud-identity.fr", Ok("mtlsauth.sovcloud-identity.fr")),
    ("login.sovcloud-identity.de", "login.sovcloud-identity.de", Ok("mtlsauth.sovcloud-identity.de")),
    ("login.sovcloud-identity.sg", "login.sovcloud-identity.sg", Ok("mtlsauth.sovcloud-identity.sg")),
    ("LOGIN.Microsoftonline.US", "login.microsoftonline.us", Ok("mtlsauth.microsoftonline.us")),
];

/// Everything goes to the local authority, under whatever name.
fn at(world: &World, symbolon: &Symbolon, sample: &str, change: impl FnOnce(&mut Value)) -> Application {
    world.application_with(symbolon, sample, |settings| {
        let address: Value = world.authority.address().to_string().into();
        for suffix in ["com", "net", "cn", "de", "us", "fr", "sg"].map(|top_level| format!("*.{top_level}")) {
            settings["Symbolon"]["ConnectTo"][suffix] = address.clone();
        }
        change(settings);
    })
}

fn instance(host: &str) -> impl FnOnce(&mut Value) {
    let instance = format!("https://{host}");
    move |settings: &mut Value| settings["AzureAd"]["Instance"] = instance.into()
}

#[tokio::test]
async fn every_cloud_is_asked_by_its_own_name_for_tokens_of_secrets_and_assertions() {
    let (world, symbolon) = (World::start().await, engine());
    for (host, asked, _) in CLOUDS {
        for (sample, proof) in [("secret", "client_secret"), ("certificate", "client_assertion")] {
            let application = at(&world, &symbolon, sample, instance(host));
            let (token, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
            token.unwrap_or_else(|error| panic!("{host}: {error}"));
            let [request] = &requests[..] else { panic!("{host}: {} requests", requests.len()) };
            assert_eq!(request.host, asked, "{host}");
            assert!(request.form.iter().any(|field| field.name == proof), "{host}");
            assert!(request.client_certificate.is_none(), "{host}");
        }
    }
    assert_eq!(world.authority.log().len(), 2 * CLOUDS.len(), "nobody was asked about well-known hosts");
}

#[tokio::test]
async fn every_cloud_that_has_hosts_for_certificates_is_asked_there_and_others_name_one() {
    let (world, symbolon) = (World::start().await, engine());
    for (host, _, asked) in CLOUDS {
        for region in [None, Some("westus2")] {
            let application = at(&world, &symbolon, "bound", |settings| {
                instance(host)(settings);
                settings["AzureAd"]["AzureRegion"] = region.into();
            });
            let (token, requests) = world
                .seen(application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession())
                .await;
            match asked {
                Ok(asked) => {
                    token.unwrap_or_else(|error| panic!("{host}: {error}"));
                    let expected = region.map_or(asked.to_owned(), |region| format!("{region}.{asked}"));
                    let [request] = &requests[..] else { panic!("{host}: {} requests", requests.len()) };
                    assert_eq!(request.host, expected);
                    assert!(request.client_certificate.is_some(), "{host}");
                }
                Err(instead) => {
                    let error = token.expect_err(host);
                    assert_eq!(error.code(), "mtls_pop_not_supported_for_environment");
                    assert!(error.to_string().contains(instead), "{error}");
                    assert!(requests.is_empty(), "{host}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_request_names_another_authority_of_the_same_cloud() {
    let (world, symbolon) = (World::start().await, engine());
    let application = at(&world, &symbolon, "secret", |_| {});
    let request = |url: &str| application.acquire_token_for_client([GRAPH]).with_authority(url).into_future();
    let (token, requests) = world.seen(request("https://login.windows.net/fabrikam.com")).await;
    let elsewhere = token.expect("a token of another directory");
    assert_eq!((&*requests[0].host, &*requests[0].path), PLACE);
    let (token, requests) = world.seen(request("https://login.windows.net/contoso.com")).await;
    let token = token.expect("a token");
    assert_eq!(requests.len(), 1);
    assert_ne!(token.access_token(), elsewhere.access_token());
    // A name of the cloud, and one that leaves the directory open: the same question.
    for url in ["https://login.microsoftonline.com/contoso.com", "https://login.windows.net/contoso.com/v2.0"]
    {
        let again = request(url).await.expect("a token");
        assert_eq!(again.metadata().token_source, TokenSource::Cache, "{url}");
        assert_eq!(again.access_token(), token.access_token());
    }
    for (url, code) in [
        ("https://login.microsoftonline.us/contoso.com", "authority_host_mismatch"),
        ("https://evil.example/contoso.com", "authority_host_mismatch"),
        ("https://login.microsoftonline.com/adfs", "authority_type_mismatch"),
    ] {
        let (token, requests) = world.seen(request(url)).await;
        let error = token.expect_err(url);
        assert_eq!((error.code(), requests.len()), (code, 0), "{error}");
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InvalidRequest);
    }
    let regional = at(&world, &symbolon, "secret", |settings| {
        settings["AzureAd"]["AzureRegion"] = "westus2".into();
    });
    let elsewhere =
        regional.acquire_token_for_client([GRAPH]).with_authority("https://login.windows.net/contoso.com");
    assert_eq!(elsewhere.await.expect_err("a region").code(), "authority_override_regional");
    let sign_in = application
        .authorization_request([GRAPH], "https://localhost/signin")
        .with_authority("https://login.windows.net/fabrikam.com");
    let url = sign_in.await.expect("a sign-in").url;
    assert!(
        url.starts_with("https://login.microsoftonline.com/fabrikam.com/oauth2/v2.0/authorize?"),
        "{url}"
    );
}

#[tokio::test]
async fn names_of_a_place_are_asked_for_by_the_discovery_of_ones_own() {
    let (world, symbolon) =
        (World::start_with(|authority| authority.host("login.contoso.test")).await, engine());
    let application = at(&world, &symbolon, "secret", |settings| {
        let address: Value = world.authority.address().to_string().into();
        settings["Symbolon"]["ConnectTo"]["*.contoso.test"] = address;
        settings["AzureAd"]["Instance"] = "https://login.windows.net".into();
        settings["Symbolon"]["InstanceDiscoveryUri"] =
            "https://login.contoso.test/common/discovery/instance".into();
    });
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    let asked = |entry: &LogEntry| (entry.host.clone(), entry.path.clone());
    let log: Vec<_> = world.authority.log().iter().map(asked).collect();
    assert_eq!(log.len(), 2);
    assert_eq!(log[0], ("login.contoso.test".to_owned(), "/common/discovery/instance".to_owned()));
    assert_eq!(log[1].0, "login.microsoftonline.com");
}

#[tokio::test]
async fn a_region_that_was_not_found_is_looked_for_again_after_five_minutes() {
    let (world, symbolon, clock) = detecting().await;
    let platform = Platform::builder().start(&world.authority).await.expect("a platform");
    // Nothing is there that answers; afterwards the platform does.
    let away = world.application_with(&symbolon, "secret", |settings| {
        settings["AzureAd"]["AzureRegion"] = "TryAutoDetect".into();
        settings["Symbolon"]["ConnectTo"]["169.254.169.254:80"] =
            platform.address(Source::Imds).to_string().into();
    });
    let rule = world.authority.faults().add(
        symbolon_authority::FaultRule::once(symbolon_authority::Fault::Status {
            status: 404,
            retry_after: None,
            body: None,
        })
        .endpoint(symbolon_authority::Endpoint::Instance)
        .always(),
    );
    let asked = || {
        let log = world.authority.log();
        log.iter().filter(|entry| entry.path == "/metadata/instance/compute").count()
    };
    away.acquire_token_for_client([GRAPH]).await.expect("a token without a region");
    assert_eq!(world.token_requests()[0].host, "login.microsoftonline.com");
    world.authority.faults().remove(rule);
    clock.advance(5 * 60 * 1000 - 10_000);
    away.acquire_token_for_client([VAULT]).await.expect("a token without a region");
    assert_eq!((asked(), &*world.token_requests()[1].host), (1, "login.microsoftonline.com"));
    clock.advance(10_000);
    let storage = "https://storage.azure.com/.default";
    let token = away.acquire_token_for_client([storage]).await.expect("a regional token");
    assert_eq!(token.metadata().region_used.as_deref(), Some("westus2"));
    assert_eq!((asked(), &*world.token_requests()[2].host), (2, "westus2.login.microsoft.com"));
    // What was found stays found.
    clock.advance(Duration::from_secs(24 * 60 * 60).as_millis() as u64);
    away.acquire_token_for_client([storage]).await.expect("a regional token");
    assert_eq!((asked(), &*world.token_requests()[3].host), (2, "westus2.login.microsoft.com"));
}

/// As [`World::timed`], with an engine that sees none of this machine's variables.
async fn detecting() -> (World, Symbolon, std::sync::Arc<ManualClock>) {
    let (world, _, clock) = World::timed().await;
    let engine = engine_with(|builder| builder.clock(clock.clone()).environment(|_| None));
    (world, engine, clock)
}

const PLACE: (&str, &str) = ("login.microsoftonline.com", "/fabrikam.com/oauth2/v2.0/token");
