//! The secret arrives in its place, and nowhere else.

use bytes::Bytes;
use http::Request;
use symbolon_resources::credentials::ClientSecret;
use symbolon_resources::transport::{Place, Presentation, TransportErrorKind as Kind};

use crate::support::{Application, Authority, HOST, Server, Setup};

const SECRET: &str = "canary&s=cr+t %C3~\u{e9}";
const ENCODED: &str = "canary%26s%3Dcr%2Bt+%25C3%7E%C3%A9";

fn post(body: &'static str) -> Request<Bytes> {
    Request::post(format!("https://{HOST}/token?q=1"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("host", "lies.example.com")
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

fn secret_at(place: Place) -> Presentation {
    Presentation { certificate: None, secret: Some((place, ClientSecret::new(SECRET))) }
}

fn form_field() -> Presentation {
    secret_at(Place::FormField("client_secret".to_owned()))
}

#[tokio::test]
async fn a_form_field_arrives_filled_with_the_right_length() {
    let authority = Authority::new("authority");
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let server = Server::start(&authority, Setup { alpn: vec![alpn], ..Setup::default() }).await;
        let application = Application::new(&authority, &server);
        application.send(post("a=%7e&client_secret=&scope=x+y"), form_field()).await.unwrap();
        let [seen] = &server.requests()[..] else { panic!("one request") };
        let expected = format!("a=%7e&client_secret={ENCODED}&scope=x+y");
        assert_eq!(seen.body, expected);
        assert_eq!(seen.headers["content-length"], expected.len().to_string());
        assert_eq!(seen.uri.path_and_query().unwrap(), "/token?q=1");
        let host = seen.headers.get("host").map(|host| host.to_str().unwrap()).or(seen.uri.host());
        assert_eq!(host, Some(HOST));
    }
}

#[tokio::test]
async fn headers_arrive_filled() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    let mut request = post("a=1");
    request.headers_mut().insert("x-secret", http::HeaderValue::from_static(""));
    application.send(request, secret_at(Place::Header("x-secret".to_owned()))).await.unwrap();
    let user = "11111111-1111-1111-1111-111111111111";
    application.send(post("a=1"), secret_at(Place::BasicAuthorization(user.to_owned()))).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].headers["x-secret"].as_bytes(), SECRET.as_bytes());
    use base64::Engine as _;
    let pair = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{ENCODED}"));
    assert_eq!(requests[1].headers["authorization"], format!("Basic {pair}"));
    assert!(requests.iter().all(|request| request.body == "a=1" && request.headers["content-length"] == "3"));
}

#[tokio::test]
async fn a_body_without_bytes_has_a_length_where_one_is_expected() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    application.send(post(""), Presentation::default()).await.unwrap();
    application.get("/").await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].headers["content-length"], "0");
    assert!(!requests[1].headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_secret_without_its_place_is_not_sent_and_neither_is_the_request() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    let header = || secret_at(Place::Header("x-secret".to_owned()));
    let mut authorized = post("a=1");
    authorized.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer x"));
    let mut measured = post("client_secret=");
    measured.headers_mut().insert("content-length", http::HeaderValue::from_static("14"));
    let cases = [
        (post("a=1"), form_field(), Kind::SecretPlaceMissing),
        (post("client_secret=x"), form_field(), Kind::SecretPlaceNotEmpty),
        (post("client_secret=&client_secret="), form_field(), Kind::SecretPlaceRepeated),
        (post("a=1"), header(), Kind::SecretPlaceMissing),
        (authorized, secret_at(Place::BasicAuthorization("id".to_owned())), Kind::SecretPlaceNotEmpty),
        (measured, form_field(), Kind::ContentLengthGiven),
    ];
    for (request, presentation, expected) in cases {
        let error = application.send(request, presentation).await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (expected, false), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    assert_eq!(server.accepted(), 0);
}
