//! What the transport logs, at every level and with all that its dependencies log.

#![allow(clippy::unwrap_used, reason = "helpers of tests count as tests")]

#[path = "transport/support.rs"]
#[expect(dead_code, reason = "the other tests of the transport use the rest")]
mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use symbolon_resources::credentials::ClientSecret;
use symbolon_resources::transport::{Place, Presentation};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Application, Authority, Clients, HOST, Server, Setup};

fn post(body: &'static str) -> Request<Bytes> {
    Request::post(format!("https://{HOST}/token?q=1"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

fn secret() -> ClientSecret {
    ClientSecret::new("canary-secret")
}

fn form_field() -> Presentation {
    Presentation { certificate: None, secret: Some((Place::FormField("client_secret".to_owned()), secret())) }
}

#[tokio::test]
async fn no_log_line_has_the_secret_the_query_or_the_body() {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    // For the whole process, which is why this test has one of its own.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();

    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let setup = Setup {
        alpn: vec![b"h2", b"http/1.1"],
        clients: Clients::Optional(clients.certificate.clone()),
        ..Setup::default()
    };
    let server = Server::start(&authority, setup).await;
    let application = Application::new(&authority, &server);
    let presentation =
        Presentation { certificate: Some(clients.binding("daemon")), secret: form_field().secret };
    application.send(post("username=canary-user&client_secret="), presentation).await.unwrap();
    application.send(post("a=1"), form_field()).await.unwrap_err();
    let basic = Place::BasicAuthorization("canary-client".to_owned());
    application
        .send(post("a=1"), Presentation { certificate: None, secret: Some((basic, secret())) })
        .await
        .unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    // The control: the dependencies are heard, and the requests are there, with what is worth knowing.
    assert!(text.contains("TRACE") && text.contains("h2::"), "{text}");
    assert!(text.contains("symbolon.transport.send{host=\"login.example.com\" bound=true}"), "{text}");
    assert!(text.contains("outcome=\"answered\"") && text.contains("status=200"), "{text}");
    assert!(text.contains("outcome=SecretPlaceMissing"), "{text}");
    assert!(!text.contains("canary") && !text.contains("q=1"), "{text}");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
