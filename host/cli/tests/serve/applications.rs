//! Several applications in one process.

use serde_json::{Value, json};
use symbolon_authority::sample;
use symbolon_end_to_end::claims;

use crate::server::{HEADER, Server, refused, settings, write};
use crate::site::{Site, read_json};

/// Two applications with names, and none without.
fn two(site: &Site, edit: impl FnOnce(&mut Value)) -> std::path::PathBuf {
    let one = settings(site, |_| {});
    let mut other = read_json(&site.configuration("web-api"));
    other["DownstreamApis"] = one["DownstreamApis"].clone();
    let application =
        |from: &Value| json!({ "AzureAd": from["AzureAd"], "DownstreamApis": from["DownstreamApis"] });
    let mut both = json!({
        "Symbolon": one["Symbolon"],
        "Applications": { "one": application(&one), "Other": application(&other), "twin": application(&one) },
    });
    edit(&mut both);
    write(&site.path("both.json"), &both)
}

#[test]
fn each_has_its_own_path_and_its_own_tokens() {
    let site = Site::start();
    let server = Server::start(&two(&site, |_| {}));
    let token = |name: &str| server.get(&format!("/apps/{name}{HEADER}")).token();
    let one = token("one");
    assert_eq!(claims(&token("other"))["appid"], sample::WEB_API, "whatever the case");
    assert_ne!(claims(&one)["appid"], sample::WEB_API);
    assert_eq!(token("ONE"), one, "from the cache");
    assert_ne!(token("twin"), one, "one registration, and no cache in common");
    for path in [HEADER, "/apps/third/healthz", "/apps/one", "/apps/", "/Validate"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/apps/one/Validate").status, 401);
    server.stop();
}

#[test]
fn what_is_wrong_with_one_is_said_by_its_path() {
    let site = Site::start();
    let error = |edit: &dyn Fn(&mut Value)| refused(&two(&site, |both| edit(both)), &[]);
    for (edit, expected) in [
        (
            (|both| both["Applications"]["one"]["AzureAd"]["TenantId"] = "no tenant".into())
                as fn(&mut Value),
            ": Applications:one:AzureAd:TenantId: found \"no tenant\"",
        ),
        (
            |both| both["Applications"]["one"]["Symbolon"] = json!({ "Sidecar": { "Listen": "unix:x" } }),
            ": Applications:one:Symbolon:Sidecar:Listen: found a setting of the whole process",
        ),
        (
            |both| both["Applications"]["a/b"] = json!({ "AzureAd": {} }),
            ": Applications:a/b: found \"a/b\"; accepted: as key, up to 64 letters",
        ),
        (
            |both| both["Applications"]["one"]["DownstreamApis"]["api"]["BaseUrl"] = "nowhere".into(),
            ": Applications:one:DownstreamApis:api:BaseUrl: found ",
        ),
        (
            |both| both["Symbolon"]["Sidecar"] = json!({ "RateLimit": { "Burst": 1 } }),
            "RateLimit: found no RequestsPerSecond",
        ),
    ] {
        let text = error(&edit);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_caller_that_asks_too_often_is_told_when_to_come_back() {
    let site = Site::start();
    let config = two(&site, |both| {
        both["Applications"]["one"]["Symbolon"]["Sidecar"] =
            json!({ "RateLimit": { "RequestsPerSecond": 1, "Burst": 2 } });
    });
    let server = Server::start(&config);
    let path = format!("/apps/one{HEADER}");
    let statuses: Vec<_> = (0..12).map(|_| server.get(&path).status).collect();
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    let answer = server.get(&path);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["title"], "Too Many Requests");
    for _ in 0..4 {
        assert_eq!(
            server.get(&format!("/apps/twin{HEADER}")).status,
            200,
            "another application's is its own"
        );
    }
    server.stop();
}
