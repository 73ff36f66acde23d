//! What `symbolon serve` shows of what it does: metrics, traces where that is allowed, spans to a collector.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::server::{HEADER, Server, configuration, settings, write};
use crate::site::Site;

#[test]
fn the_page_of_metrics_is_there() {
    let site = Site::start();
    let server = Server::start(&configuration(&site, |_| {}));
    let token = server.get(HEADER).token();
    server.get(HEADER).token();
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let counts = |labels: &str| {
        let line = answer
            .body
            .lines()
            .find(|line| line.starts_with("symbolon_acquisitions_total{") && line.contains(labels));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(counts("symbolon_token_source=\"identityProvider\"").as_deref(), Some("1"), "{}", answer.body);
    assert_eq!(counts("symbolon_token_source=\"cache\"").as_deref(), Some("1"));
    assert!(!answer.body.contains(&token));
    // Nobody allowed more.
    assert_eq!(server.get("/Trace").status, 404);
    server.stop();
}

#[test]
fn traces_are_there_while_the_configuration_allows_them() {
    let site = Site::start();
    let allow =
        |allow: bool| settings(&site, |json| json["Symbolon"]["Sidecar"]["AllowTrace"] = allow.into());
    let config = write(&site.path("serve.json"), &allow(true));
    let server = Server::start(&config);
    let token = server.get(HEADER).token();
    let all = server.get("/Trace").json();
    let id = all["acquisitions"][0]["correlationId"].as_str().expect("an acquisition").to_owned();
    let one = server.get(&format!("/Trace/{id}"));
    assert_eq!(one.json()["acquisitions"].as_array().map(Vec::len), Some(1));
    assert_eq!(one.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    let page = server.get(&format!("/Trace/{id}?format=html"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for shown in [&one.body, &page.body, &all.to_string()] {
        assert!(shown.contains("for-client") && !shown.contains(&token) && !shown.contains("eyJ"));
    }
    for unknown in ["/Trace/0b7e7b52-0000-4000-8000-000000000000", "/Trace/x"] {
        assert_eq!(server.get(unknown).status, 404, "{unknown}");
    }

    write(&config, &allow(false));
    server.until("forgotten", |server| server.get("/Trace").status == 404);
    assert_eq!(server.get(&format!("/Trace/{id}")).status, 404);
    // The metrics say that the configuration is another one now, and that a broken one is none.
    server.until("counted", |server| reloads(server, "applied") == "1");
    std::fs::write(&config, "{").expect("a configuration");
    server.until("refused", |server| reloads(server, "refused") == "1");
    server.get(HEADER).token();
    server.stop();
}

fn reloads(server: &Server, result: &str) -> String {
    let page = server.get("/metrics").body;
    let label = format!("symbolon_reload_result=\"{result}\"");
    let line = page
        .lines()
        .find(|line| line.starts_with("symbolon_configuration_reloads_total{") && line.contains(&label));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
}

#[test]
fn a_collector_that_the_environment_names_gets_the_callers_trace() {
    let site = Site::start();
    let (address, exports) = collector();
    let server = Server::start_with(&configuration(&site, |_| {}), |command| {
        command.args(["--listen", "127.0.0.1:0"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", address);
        command.env("OTEL_SERVICE_NAME", "orders-sidecar");
    });
    let trace: Vec<u8> = (1..=16).collect();
    let id: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut stream = server.connect();
    let request = format!(
        "GET {HEADER} HTTP/1.1\r\nhost: localhost\r\ntraceparent: 00-{id}-00f067aa0ba902b7-01\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    stream.read_to_string(&mut String::new()).expect("an answer");
    server.stop();

    let exports = exports.lock().expect("no panic");
    let of = |path: &str| {
        exports.iter().filter(|(known, _)| known == path).map(|(_, body)| body).collect::<Vec<_>>()
    };
    let holds = |body: &[u8], what: &[u8]| body.windows(what.len()).any(|window| window == what);
    let spans = of("/v1/traces");
    assert!(
        spans.iter().any(|body| holds(body, &trace) && holds(body, b"acquire_token for-client")),
        "no such span"
    );
    assert!(spans.iter().all(|body| holds(body, b"orders-sidecar") && !holds(body, b"eyJ")));
    assert!(of("/v1/metrics").iter().any(|body| holds(body, b"symbolon.acquisitions")));
}

/// A path and what was posted there.
type Exports = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Takes whatever is posted.
fn collector() -> (String, Exports) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let exports = Exports::default();
    let taken = exports.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let taken = taken.clone();
            thread::spawn(move || while take(&stream, &taken).is_some() {});
        }
    });
    (address, exports)
}

/// Takes one request. Nothing where the connection ends.
fn take(stream: &TcpStream, taken: &Exports) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    taken.lock().ok()?.push((path, body));
    (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

#[test]
fn a_protocol_that_is_not_spoken_is_said_at_the_start() {
    let site = Site::start();
    let config = configuration(&site, |_| {});
    let mut command = crate::site::command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().expect("a path")]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let message = crate::site::run(&mut command).failed(2);
    assert!(
        message.contains("OTEL_EXPORTER_OTLP_PROTOCOL: found \"grpc\"; accepted: http/protobuf"),
        "{message}"
    );
}
