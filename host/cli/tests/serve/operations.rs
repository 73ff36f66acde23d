//! What who runs it sees and does.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symbolon_authority::{Endpoint, Fault, FaultRule};
use symbolon_end_to_end::claims;

use crate::server::{HEADER, Server, configuration, get, refused, settings, write};
use crate::site::{CANARY, SCOPE, Site, command, run};

#[test]
fn what_is_under_way_is_answered_at_the_end() {
    let site = Site::start();
    let server = Server::start(&configuration(&site, |_| {}));
    site.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 1500 }).always());
    let stream = server.connect();
    let asked = std::thread::spawn(move || get(stream, HEADER));
    server.until("asked", |_| !site.authority.log().is_empty() || asked.is_finished());
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    server.signal("-INT");
    let (status, log) = server.ended();
    assert_eq!((status, asked.join().unwrap().status), (0, 200), "{log}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn it_does_not_wait_longer_than_five_seconds() {
    let site = Site::start();
    let server = Server::start(&configuration(&site, |_| {}));
    site.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 9000 }).always());
    let stream = server.connect();
    let asked = std::thread::spawn(move || crate::server::try_get(stream, HEADER));
    std::thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    let log = server.stop();
    assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());
    assert!(log.contains("under way for too long"), "{log}");
    assert!(asked.join().unwrap().is_none());
}

#[test]
fn a_changed_configuration_is_used_and_a_broken_one_is_not() {
    let site = Site::start();
    let config = configuration(&site, |_| {});
    let server = Server::start(&config);
    let first = server.get(HEADER).token();
    assert_eq!(claims(&first)["aud"], "https://graph.microsoft.com");

    let other = |settings: &mut Value| {
        settings["DownstreamApis"]["api"]["Scopes"] = json!(["https://vault.azure.net/.default"]);
    };
    configuration(&site, other);
    server.until("reloaded", |server| {
        claims(&server.get(HEADER).token())["aud"] != "https://graph.microsoft.com"
    });

    fs::write(&config, "{ \"AzureAd\": {\n  \"TenantId\": 5,\n").unwrap();
    server.until("told", |server| server.log().contains("malformed JSON"));
    assert_eq!(server.get(HEADER).status, 200, "the one before stays in use");
    write(&config, &settings(&site, |settings| settings["AzureAd"]["TenantId"] = "no tenant".into()));
    server.until("told", |server| server.log().contains(" AzureAd:TenantId: found \"no tenant\""));
    assert_eq!(server.get(HEADER).status, 200, "the one before stays in use");

    configuration(&site, |_| {});
    server.until("well again", |server| {
        claims(&server.get(HEADER).token())["aud"] == "https://graph.microsoft.com"
    });
    assert_eq!(server.get(HEADER).token(), first, "tokens outlive configurations");

    // Without a change of the file, by hand.
    let reloads = |server: &Server| server.log().matches("serves by the configuration as it is now").count();
    let before = reloads(&server);
    server.signal("-HUP");
    server.until("reloaded", |server| reloads(server) > before);
    server.stop();
}

#[test]
fn no_request_fails_while_configurations_change() {
    let site = Site::start();
    let config = configuration(&site, |_| {});
    let server = Server::start(&config);
    assert_eq!(server.get(HEADER).status, 200);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        use std::sync::atomic::Ordering::Relaxed;
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_done.load(Relaxed) {
                    let answer = server.get(HEADER);
                    assert_eq!(answer.status, 200, "{answer:?}");
                    asked.fetch_add(1, Relaxed);
                }
            });
        }
        for round in 0..6 {
            configuration(&site, |settings| settings["Round"] = round.into());
            let reloads = |server: &Server| server.log().matches("serves by the configuration").count();
            server.until("reloaded", |server| reloads(server) > round);
        }
        is_done.store(true, Relaxed);
    });
    assert!(asked.into_inner() > 20);
    server.stop();
}

#[test]
fn readiness_says_what_is_missing() {
    let site = Site::start();
    let config = configuration(&site, |_| {});
    let health = |command: &mut std::process::Command| {
        command.args(["--listen", "127.0.0.1:0", "--health-listen", "0.0.0.0:0"]);
    };
    let server = Server::start_with(&config, health);
    let answer = server.get("/readyz");
    assert_eq!((answer.status, &answer.json()["isReady"]), (200, &json!(true)), "{answer:?}");
    let port = server.health.as_ref().unwrap().rsplit(':').next().unwrap().to_owned();
    let probe = |path| get(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap(), path);
    assert_eq!((probe("/healthz").status, probe("/readyz").status), (200, 200));
    assert!(probe("/metrics").body.contains("symbolon_"));
    for path in [HEADER, "/Validate", "/openapi/v1.json"] {
        assert_eq!(probe(path).status, 404, "{path}");
    }
    server.stop();

    fs::write(site.path("broken.pem"), CANARY).unwrap();
    let config = configuration(&site, |settings| {
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "Path", "CertificateDiskPath": "broken.pem" }]);
    });
    let silent = FaultRule::once(Fault::CloseWithoutAnswer).always().endpoint(Endpoint::Metadata);
    site.authority.faults().add(silent);
    let server = Server::start(&config);
    let answer = server.get("/readyz");
    let report = &answer.json()["applications"][""];
    assert_eq!(answer.status, 503);
    assert!(report["credentials"][0].as_str().unwrap().contains("(Path"), "{report}");
    assert!(
        report["authority"].as_str().unwrap().starts_with("https://login.microsoftonline.com/"),
        "{report}"
    );
    assert!(!answer.body.contains(CANARY));
    assert_eq!(server.get("/healthz").status, 200, "it lives");
    server.stop();
}

#[test]
fn metrics_say_what_happened() {
    let site = Site::start();
    let config = configuration(&site, |settings| settings["Symbolon"]["Sidecar"]["AllowTrace"] = true.into());
    let server = Server::start(&config);
    for _ in 0..3 {
        assert_eq!(server.get(HEADER).status, 200);
    }
    fs::write(&config, "{").unwrap();
    server.until("told", |server| server.log().contains("malformed JSON"));
    let page = server.get("/metrics").body;
    let value = |name: &str, labels: &[&str]| {
        let of = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        page.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert_eq!(value("symbolon_acquisitions_total", &["for-client", "identityProvider"]), 1.0, "{page}");
    assert_eq!(value("symbolon_acquisitions_total", &["for-client", "\"cache\""]), 2.0, "{page}");
    assert_eq!(value("symbolon_configuration_reloads_total", &["refused"]), 1.0, "{page}");
    let traces = server.get("/Trace");
    assert!(traces.status == 200 && traces.body.contains("for-client"), "{traces:?}");
    server.stop();
}

#[test]
fn a_supervisor_is_told() {
    let site = Site::start();
    let socket = UnixDatagram::bind(site.path("notify.sock")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let server = Server::start_with(&configuration(&site, |_| {}), |command| {
        command.args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", site.path("notify.sock"));
    });
    assert!(told().contains("READY=1"));
    server.signal("-HUP");
    let reloading = told();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(told().contains("READY=1"));
    server.signal("-TERM");
    assert!(told().contains("STOPPING=1"));
    assert_eq!(server.ended().0, 0);
}

#[test]
fn logs_are_json_where_that_is_wanted_and_hold_no_secret() {
    let site = Site::start();
    let config = configuration(&site, |settings| {
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "ClientSecret", "ClientSecret": CANARY }]);
    });
    let server = Server::start_with(&config, |command| {
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--log", "trace"]);
    });
    let answer = server.get(HEADER);
    assert_eq!(answer.status, 401, "a secret that the authority doesn't know");
    let log = server.stop();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(event["level"].is_string() && event["target"].is_string(), "{line}");
    }
    assert!(log.lines().count() > 20, "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn it_gives_up_what_it_does_not_need() {
    let site = Site::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = read_secret(&site);
    fs::write(elsewhere.path().join("secret.txt"), &secret).unwrap();
    fs::create_dir(site.path("secrets")).unwrap();
    fs::write(site.path("secrets/secret.txt"), &secret).unwrap();
    let from_file = |path: &std::path::Path, landlock: bool| {
        let path = path.to_str().unwrap().to_owned();
        configuration(&site, |settings| {
            settings["AzureAd"]["ClientCredentials"] =
                json!([{ "SourceType": "ClientSecret", "ClientSecretFile": path }]);
            settings["Symbolon"]["Sidecar"]["Landlock"] = landlock.into();
        })
    };
    let (inside, outside) = (site.path("secrets/secret.txt"), elsewhere.path().join("secret.txt"));
    for landlock in [false, true] {
        let server = Server::start(&from_file(&inside, landlock));
        let status = |name: &str| {
            let text = fs::read_to_string(format!("/proc/{}/{name}", server.pid())).unwrap();
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert!(status("status").contains(&"NoNewPrivs: 1".to_owned()));
        assert!(status("limits").contains(&"Max core file size 0 0 bytes".to_owned()));
        assert_eq!(server.get(HEADER).status, 200);
        assert_eq!(server.get("/readyz").status, 200);
        // A file that nobody named when it began.
        from_file(&outside, landlock);
        server.until("reloaded", |server| server.log().contains("serves by the configuration"));
        server.until("looked at", |server| (server.get("/readyz").status == 503) == landlock);
        server.stop();
    }
}

fn read_secret(site: &Site) -> String {
    let settings = settings(site, |_| {});
    settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().unwrap().to_owned()
}

#[test]
fn the_configuration_is_printed_with_its_origins_and_without_its_secrets() {
    let site = Site::start();
    let config = configuration(&site, |settings| {
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "ClientSecret", "ClientSecret": CANARY }]);
        settings["DownstreamApis"]["api"]["ExtraHeaderParameters"] = json!({ "x-key": CANARY });
        settings["Symbolon"]["Proxy"] = format!("http://user:{CANARY}@proxy.test:1").into();
        settings["Other"] = json!({ "Password": CANARY });
    });
    let ran = run(command()
        .args(["serve", "--print-config", "--config", config.to_str().unwrap()])
        .env("Symbolon__Sidecar__MaxInFlight", "7")
        .env("AzureAd__AzureRegion", "westus2"));
    let text = ran.ok();
    assert!(!text.contains(CANARY), "{text}");
    let file = fs::read_to_string(&config).unwrap();
    let line_of = |key: &str| file.lines().position(|line| line.contains(&format!("\"{key}\""))).unwrap() + 1;
    let path = config.display();
    for expected in [
        format!("DownstreamApis:api:Scopes:0 = \"{SCOPE}\"  # {path}:{}", line_of("Scopes") + 1),
        format!(
            "AzureAd:ClientCredentials:0:ClientSecret = (not shown)  # {path}:{}",
            line_of("ClientSecret")
        ),
        format!("Symbolon:Proxy = (not shown)  # {path}:{}", line_of("Proxy")),
        "AzureAd:AzureRegion = \"westus2\"  # environment variable AzureAd__AzureRegion".to_owned(),
        "Symbolon:Sidecar:MaxInFlight = \"7\"  # environment variable Symbolon__Sidecar__MaxInFlight"
            .to_owned(),
        "Symbolon:Sidecar:Listen = \"127.0.0.1:5000, [::1]:5000\"  # default".to_owned(),
        "Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated = \"false\"  # default".to_owned(),
    ] {
        assert!(text.lines().any(|line| line == expected), "`{expected}` is not in:\n{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_path() {
    let site = Site::start();
    let config = configuration(&site, |settings| {
        settings["AzureAd"]["TenantId"] = "no tenant".into();
        settings["Symbolon"]["Sidecar"]["MaxInFlght"] = 1.into();
    });
    let file = fs::read_to_string(&config).unwrap();
    let line_of = |key: &str| file.lines().position(|line| line.contains(&format!("\"{key}\""))).unwrap() + 1;
    let expected = format!(
        "{}:{}: Symbolon:Sidecar:MaxInFlght: found an unknown key (did you mean MaxInFlight?)",
        config.display(),
        line_of("MaxInFlght")
    );
    let text = refused(&config, &[]);
    assert!(text.contains(&expected), "{text}");
    let text = fs::read_to_string(&config).unwrap().replace("MaxInFlght", "MaxInFlight");
    fs::write(&config, text).unwrap();
    let expected =
        format!("{}:{}: AzureAd:TenantId: found \"no tenant\"", config.display(), line_of("TenantId"));
    let text = refused(&config, &[]);
    assert!(text.contains(&expected), "{text}");
}
