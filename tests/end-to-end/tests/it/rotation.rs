//! A certificate is replaced under load: each acquisition ends with the certificate that it began with (I4), and the new one
//! has connections of its own, without a resumed session (I10).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symbolon::{AgentIdentity, Application, Binding};
use symbolon_authority::{CertificateRequest, ClientCertificate, Flow, Registration, User, sample};
use symbolon_end_to_end::{GRAPH, World, engine};

const HOST: &str = "mtlsauth.microsoft.com";

fn certificate(world: &World, subject: &str) -> (ClientCertificate, Binding) {
    let made =
        CertificateRequest::new(subject, world.authority.clock().now_unix()).self_signed().expect("one");
    let binding = Binding::from_bytes(made.pem().as_bytes(), None).expect("a binding");
    (made, binding)
}

/// The sample application `bound`, registered with these certificates besides its own.
fn register(world: &World, certificates: &[&ClientCertificate]) {
    let own = std::fs::read_to_string(world.path("client.crt")).expect("the sample's certificate");
    let mut registration = Registration::new(sample::BOUND).mtls(true).pop(true).strict(true);
    registration = registration.certificate_pem(&own).expect("a certificate");
    for certificate in certificates {
        registration = registration.certificate_pem(&certificate.certificate_pem()).expect("a certificate");
    }
    world.authority.register(registration);
}

async fn bound(world: &World) -> Application {
    let options = world.options("bound", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = true.into();
    });
    engine().application(options.expect("options")).expect("an application")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_has_connections_of_its_own() {
    let world = World::start().await;
    let (certificate, replacement) = certificate(&world, "renewed.contoso.test");
    register(&world, &[&certificate]);
    let application = bound(&world).await;
    let acquire = async || application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await;

    acquire().await.expect("a token");
    acquire().await.expect("a token");
    assert_eq!(world.authority.stats().host(HOST).full_handshakes, 1, "the connection is kept");

    let new = application.replace_certificate(0, replacement).expect("the replacement");
    acquire().await.expect("a token");
    acquire().await.expect("a token");
    let stats = world.authority.stats();
    assert_eq!(stats.host(HOST).full_handshakes, 2, "one more, for the new certificate");
    assert_eq!(stats.host(HOST).resumed_handshakes, 0);
    let presented: Vec<_> = stats.connections.iter().filter_map(|c| c.client_certificate.clone()).collect();
    assert_eq!(presented.len(), 2);
    assert_ne!(presented[0], presented[1]);
    assert_eq!(presented[1], new.thumbprint_sha256());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_of_the_old_certificate_is_not_given_out() {
    let world = World::start().await;
    let (certificate, replacement) = certificate(&world, "renewed.contoso.test");
    register(&world, &[&certificate]);
    let application = bound(&world).await;
    let acquire =
        async || application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await;

    let old = acquire().await.expect("a token");
    assert_eq!(acquire().await.expect("a token").access_token(), old.access_token(), "from the cache");
    let new = application.replace_certificate(0, replacement).expect("the replacement");
    let token = acquire().await.expect("a token");
    assert_ne!(token.access_token(), old.access_token());
    let binding = token.binding_certificate().expect("a binding");
    assert_eq!(binding.thumbprint_sha256(), new.thumbprint_sha256());
    assert_eq!(world.token_requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_each_acquisition_has_one_certificate() {
    let world = World::start().await;
    let certificates: Vec<_> =
        (0..4).map(|n| certificate(&world, &format!("generation-{n}.contoso.test"))).collect();
    register(&world, &certificates.iter().map(|(certificate, _)| certificate).collect::<Vec<_>>());
    let application = bound(&world).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..8)
        .map(|number| {
            let (application, stop) = (application.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let request = application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
                    let request =
                        if number % 2 == 0 { request } else { request.with_mtls_proof_of_possession() };
                    let token = request.await.expect("every acquisition succeeds");
                    if let Some(binding) = token.binding_certificate() {
                        assert_eq!(confirmation(token.access_token()), binding.thumbprint_sha256());
                    }
                }
            })
        })
        .collect();
    for (_, replacement) in certificates {
        let before = world.token_requests().len();
        while world.token_requests().len() < before + 10 {
            tokio::task::yield_now().await;
        }
        application.replace_certificate(0, replacement).expect("the replacement");
    }
    let before = world.token_requests().len();
    while world.token_requests().len() < before + 10 {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.expect("no assertion failed");
    }
    // The authority refuses an assertion and a handshake that differ (500181); the assertion names its certificate.
    for request in world.token_requests() {
        assert_eq!(request.status, Some(200), "{request:?}");
        if let Some((header, _)) = request.client_assertion() {
            assert_eq!(header["x5t#S256"].as_str(), request.client_certificate.as_deref());
        }
    }
}

/// An agent's chain that is bound from end to end: each of its acquisitions has one certificate, on every leg, while the
/// blueprint's is replaced under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_each_chain_of_an_agent_has_one_certificate() {
    let world = World::start().await;
    let certificates: Vec<_> =
        (0..3).map(|n| certificate(&world, &format!("blueprint-{n}.contoso.test"))).collect();
    let own = std::fs::read_to_string(world.path("client.crt")).expect("the sample's certificate");
    let mut blueprint = Registration::new(sample::BLUEPRINT_BOUND).mtls(true).pop(true).mtls_flows(Flow::ALL);
    let all = certificates.iter().map(|(certificate, _)| certificate.certificate_pem());
    for certificate in all.chain([own]) {
        blueprint = blueprint.certificate_pem(&certificate).expect("a certificate");
    }
    world.authority.register(blueprint);
    let application = world.application_with(&engine(), "blueprint-bound", |settings| {
        settings["Symbolon"]["BoundFlows"] = serde_json::json!(["for-agent"]);
    });
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..4)
        .map(|load| {
            let name = format!("load-{load}@contoso.com");
            let id = uuid::Uuid::from_u128(0x10ad_0000_0000_4000_8000_0000_0000_0000 + load).to_string();
            world.authority.register_user(User::new(&id, &name));
            let (application, stop) = (application.clone(), stop.clone());
            tokio::spawn(async move {
                let mut correlation_ids = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let agent = AgentIdentity::with_user_principal_name(sample::BOUND_AGENT, &name);
                    let token = application.acquire_token_for_agent(agent, [GRAPH]).with_force_refresh(true);
                    correlation_ids.push(token.await.expect("every acquisition succeeds").correlation_id());
                }
                correlation_ids
            })
        })
        .collect();
    for (_, replacement) in certificates {
        world.requested(world.token_requests().len() + 10).await;
        application.replace_certificate(0, replacement).expect("the replacement");
    }
    world.requested(world.token_requests().len() + 10).await;
    stop.store(true, Ordering::Relaxed);
    let mut acquisitions = Vec::new();
    for load in loads {
        acquisitions.extend(load.await.expect("no assertion failed"));
    }
    let requests = world.token_requests();
    for id in acquisitions {
        let legs =
            requests.iter().filter(|leg| leg.header("client-request-id") == Some(id.to_string().as_str()));
        let mut certificates: Vec<_> = legs
            .map(|leg| {
                assert_eq!((leg.status, leg.host.as_str()), (Some(200), HOST), "{leg:?}");
                leg.client_certificate.clone().expect("a certificate")
            })
            .collect();
        certificates.dedup();
        assert_eq!(certificates.len(), 1, "{id}");
    }
    // The proof is bound to the certificate of the handshake, or the authority would have refused (500181).
    for leg in requests.iter().filter(|leg| leg.client_assertion().is_some()) {
        let (_, proof) = leg.client_assertion().expect("a proof");
        assert_eq!(proof["cnf"]["x5t#S256"].as_str(), leg.client_certificate.as_deref());
    }
    let mut used: Vec<_> = requests.iter().filter_map(|leg| leg.client_certificate.clone()).collect();
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 4, "each certificate had its time");
}

/// `cnf.x5t#S256` of a token.
fn confirmation(token: &str) -> String {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("a JWT");
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
    claims["cnf"]["x5t#S256"].as_str().expect("a confirmation").to_owned()
}
