//! The way to a server: directly, somewhere else, or through a proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use symbolon_resources::transport::{
    ConnectTo, Presentation, Proxy, TransportErrorKind as Kind, TransportOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Application, Authority, Clients, Server, Setup, bound};

/// A proxy that makes tunnels to one server, whatever it is asked for, and remembers what it was asked.
struct TunnelProxy {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TunnelProxy {
    async fn start(to: SocketAddr) -> Self {
        Self::answering("HTTP/1.1 200 Connection established\r\n\r\n", to).await
    }

    async fn answering(answer: &'static str, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await.unwrap());
                    }
                    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                    client.write_all(answer.as_bytes()).await.unwrap();
                    if answer.starts_with("HTTP/1.1 200") {
                        let mut server = TcpStream::connect(to).await.unwrap();
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { url: format!("http://user:p%40ss@{address}"), heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// A proxy that must not be asked: nothing listens there.
const UNREACHABLE: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_certificate_travels_through_a_tunnel() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let setup = Setup { clients: Clients::Required(clients.certificate.clone()), ..Setup::default() };
    let server = Server::start(&authority, setup).await;
    let proxy = TunnelProxy::start(server.address).await;
    let environment = [("HTTPS_PROXY", proxy.url.as_str())];
    let application = Application::in_environment(&authority, TransportOptions::default(), &environment);
    let binding = clients.binding("daemon");
    for _ in 0..2 {
        application.get_bound("/", &binding).await.unwrap();
    }
    assert_eq!(server.clients(), [Some(binding.chain()[0].clone())]);
    // base64 of "user:p@ss"
    let expected = "CONNECT login.example.com:443 HTTP/1.1\r\nhost: login.example.com:443\r\n\
                    proxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n";
    assert_eq!(proxy.heads(), [expected]);
    assert!(!server.requests().iter().any(|request| request.headers.contains_key("proxy-authorization")));
}

#[tokio::test]
async fn the_applications_proxy_comes_before_the_environments() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let proxy = TunnelProxy::start(server.address).await;
    let own = Some(Proxy::parse(&proxy.url, "Symbolon:Proxy").unwrap());
    let options = TransportOptions { proxy: own, ..TransportOptions::default() };
    let application = Application::in_environment(&authority, options, &[("HTTPS_PROXY", UNREACHABLE)]);
    application.get("/").await.unwrap();
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let cases = [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 4\r\n\r\nno!!",
            Kind::Proxy(Some(407)),
            "407",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Kind::Proxy(Some(502)), "502"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", Kind::Proxy(None), "did not answer with HTTP"),
        ("", Kind::Proxy(None), "closed the connection"),
    ];
    for (answer, kind, text) in cases {
        let proxy = TunnelProxy::answering(answer, server.address).await;
        let environment = [("https_proxy", proxy.url.as_str())];
        let application = Application::in_environment(&authority, TransportOptions::default(), &environment);
        let error = application.get("/").await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (kind, false), "{error}");
        assert!(error.to_string().contains(text) && !format!("{error:?}").contains("p@ss"), "{error}");
        assert!(!format!("{error:?}").contains("p%40ss"));
    }
    let environment = [("https_proxy", UNREACHABLE)];
    let application = Application::in_environment(&authority, TransportOptions::default(), &environment);
    let error = application.get("/").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Proxy(None));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn hosts_in_no_proxy_are_reached_directly() {
    let authority = Authority::new("authority");
    // Through the proxy that refuses, the error is the proxy's; directly, the name can't be resolved.
    for (no_proxy, expected) in [
        ("unreachable.test", Kind::Dns),
        ("a.example, .test", Kind::Dns),
        ("*", Kind::Dns),
        ("unreachable.test:8443", Kind::Proxy(None)),
        ("", Kind::Proxy(None)),
    ] {
        let environment = [("HTTPS_PROXY", UNREACHABLE), ("NO_PROXY", no_proxy)];
        let application = Application::in_environment(&authority, TransportOptions::default(), &environment);
        let request = http::Request::get("https://unreachable.test/").body(bytes::Bytes::new()).unwrap();
        let error = application.send(request, Presentation::default()).await.unwrap_err();
        assert_eq!(error.kind(), expected, "{no_proxy}: {error}");
    }
}

#[tokio::test]
async fn this_machine_is_reached_directly() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let environment = [("HTTPS_PROXY", UNREACHABLE)];
    let application = Application::allowing(
        &authority,
        TransportOptions::default(),
        &environment,
        &format!("{url}contoso.example"),
    );
    let request = http::Request::get(&url).body(bytes::Bytes::new()).unwrap();
    assert_eq!(application.send(request, Presentation::default()).await.unwrap().status(), 200);
    assert_eq!(server.requests()[0].headers["host"], url["https://".len()..url.len() - 1]);
}

#[tokio::test]
async fn connect_to_leads_elsewhere_under_the_same_name_and_past_the_proxy() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let setup = Setup {
        // Only the URL's name is in the certificate, so the handshake checks that one.
        names: vec!["login.example.com".to_owned()],
        clients: Clients::Optional(clients.certificate.clone()),
        ..Setup::default()
    };
    let server = Server::start(&authority, setup).await;
    let address = server.address.to_string();
    let rules = [
        vec![("*.example.com", address.as_str())],
        vec![("login.example.com:443", address.as_str()), ("*.example.com", "127.0.0.1:1")],
        vec![("login.example.com", address.as_str()), ("login.example.com:8443", "127.0.0.1:1")],
    ];
    for rules in rules {
        let connect_to = ConnectTo::parse(rules).unwrap();
        let options = TransportOptions { connect_to, ..TransportOptions::default() };
        let application = Application::in_environment(&authority, options, &[("HTTPS_PROXY", UNREACHABLE)]);
        application.send(crate::support::get("/"), bound(&clients.binding("daemon"))).await.unwrap();
    }
    assert_eq!(server.requests().len(), 3);
    assert!(server.requests().iter().all(|request| request.headers["host"] == "login.example.com"));
}
