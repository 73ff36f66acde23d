//! Handshakes: certificates by name, when a client certificate is asked for, and what is counted.

use symbolon_authority::Registration;

use crate::support::*;

#[tokio::test]
async fn every_host_has_a_certificate() {
    let authority = authority().host("login.contoso.test").start().await.unwrap();
    let client = Client::new(&authority);
    for host in authority.hosts() {
        let host = host.replace("*.", "westus2.");
        client.connect(&host).await.unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    for host in ["login.evil.test", "westus2.login.microsoftonline.com", "mtlsauth.microsoftonline.com"] {
        assert!(client.connect(host).await.is_err(), "{host}");
    }
    let stats = authority.stats();
    assert_eq!(stats.failed_handshakes, 3);
    assert_eq!(stats.tcp_connections, authority.hosts().len() as u64 + 3);
}

#[tokio::test]
async fn both_protocols_are_spoken() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    for (alpn, protocol) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let client = Client::new(&authority).alpn(&[alpn]);
        assert_eq!(client.token(LOGIN, &secret_form(CLIENT, SECRET)).await.status, 200);
        assert_eq!(authority.log().pop().unwrap().protocol, protocol);
        assert_eq!(authority.stats().connections.back().unwrap().alpn.as_deref(), Some(alpn));
    }
}

#[tokio::test]
async fn only_mutual_tls_hosts_ask_for_a_certificate_and_in_the_first_handshake() {
    let own = certificate("own");
    let authority = authority().start().await.unwrap();
    let client = Client::with_certificate(&authority, &own);
    client.get(LOGIN, "/nowhere").await;
    client.get(MTLS, "/nowhere").await;
    let presented: Vec<_> = authority
        .stats()
        .connections
        .iter()
        .map(|c| (c.host.clone(), c.client_certificate.clone()))
        .collect();
    assert_eq!(presented, [(LOGIN.to_owned(), None), (MTLS.to_owned(), Some(x5t_s256(&own)))]);
}

#[tokio::test]
async fn full_and_resumed_handshakes_are_counted_by_host() {
    let (own, other) = (certificate("own"), certificate("other"));
    let authority = authority().start().await.unwrap();
    let client = Client::with_certificate(&authority, &own);
    for _ in 0..3 {
        client.get(MTLS, "/nowhere").await;
    }
    let counts = |host: &str| {
        let counts = authority.stats().host(host);
        (counts.full_handshakes, counts.resumed_handshakes, counts.requests)
    };
    assert_eq!(counts(MTLS), (1, 2, 3));
    assert_eq!(counts(LOGIN), (0, 0, 0));
    assert_eq!(
        authority.log().iter().map(|entry| entry.tls_resumed).collect::<Vec<_>>(),
        [false, true, true]
    );
    // A resumed session still knows the certificate of the full handshake.
    assert!(authority.log().iter().all(|entry| entry.client_certificate == Some(x5t_s256(&own))));
    Client::with_certificate(&authority, &other).get(MTLS, "/nowhere").await;
    assert_eq!(counts(MTLS), (2, 2, 4));
    authority.reset();
    assert_eq!(counts(MTLS), (0, 0, 0));
}

#[tokio::test]
async fn a_session_is_not_resumed_at_another_host() {
    let authority = authority().start().await.unwrap();
    let client = Client::new(&authority);
    for host in [LOGIN, "login.windows.net", MTLS] {
        client.get(host, "/nowhere").await;
        assert_eq!(authority.stats().host(host).full_handshakes, 1, "{host}");
    }
}

#[tokio::test]
async fn a_stopped_authority_is_gone() {
    let authority = authority().start().await.unwrap();
    let client = Client::new(&authority);
    client.get(LOGIN, "/nowhere").await;
    authority.shutdown_and_wait().await;
    assert!(client.connect(LOGIN).await.is_err());
}
