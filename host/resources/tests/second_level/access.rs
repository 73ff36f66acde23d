//! How a server is reached: passwords, users with few rights, sockets.

use std::io::Write;
use std::sync::{Arc, Mutex};

use symbolon_resources::cache::Entry;
use symbolon_resources::second_level::{Sealing, TokenCacheOptions, try_store};

use crate::redis_server::RedisServer;
use crate::support::{
    Process, RIGHTS, acquire, bring, eventually, find, lead, look, redis, redis_with, refresh_token, secret,
    token,
};

#[tokio::test]
async fn a_password_is_sent_and_a_wrong_one_is_no_failure() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "pass word"]) else { return };
    let address = server.address();
    let right = redis(&format!("redis://:pass%20word@{address}/3"));
    let connection_string =
        redis(&format!("{address},password=pass word,defaultDatabase=3,abortConnect=False"));
    bring(&Process::new(&right).app, None, refresh_token("secret"), &["key"], &[]).await;
    assert_eq!(look(&Process::new(&connection_string).app, "key").await.as_deref(), Some("secret"));
    for wrong in [server.url(), format!("redis://:wrong@{address}")] {
        let process = Process::new(&redis(&wrong));
        assert_eq!(look(&process.app, "key").await, None);
        assert!(process.statistics().failures > 0);
        let error = try_store(&redis(&wrong).store).await.unwrap_err();
        assert!(!error.contains("wrong") && !error.is_empty(), "{error}");
    }
}

#[tokio::test]
async fn a_socket_of_the_machine_does_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let path = socket.to_str().unwrap();
    let Some(server) = RedisServer::start_with(&["--unixsocket", path]) else { return };
    let one = Process::new(&redis(&format!("unix://{path}")));
    bring(&one.app, None, refresh_token("secret"), &["key"], &[]).await;
    assert_eq!(look(&Process::on(&server).app, "key").await.as_deref(), Some("secret"));
    let clear = TokenCacheOptions::new(redis(&server.url()).store, Sealing::Clear);
    assert_eq!(look(&Process::new(&clear).app, "key").await, None);
}

#[tokio::test]
async fn a_user_needs_few_rights_and_those_are_in_the_documentation() {
    let documentation: Vec<_> = include_str!("../../../../docs/cache.md").split_whitespace().collect();
    assert!(documentation.join(" ").contains(RIGHTS), "{RIGHTS}");
    let Some(server) = RedisServer::start_with(&["--requirepass", "admin"]) else { return };
    let admin = |command: &[&str]| server.cli(&[&["--no-auth-warning", "-a", "admin"], command].concat());
    let user: Vec<_> = RIGHTS.split_whitespace().collect();
    let made = admin(&[&["ACL", "SETUSER", "cache", "on", ">pass word"], &user[..]].concat());
    assert_eq!(made, "OK");
    let options = redis(&format!("redis://cache:pass%20word@{}", server.address()));
    try_store(&options.store).await.unwrap();
    let (one, other) = (Process::new(&options), Process::new(&options));
    // All that there is: a lock, an entry with several keys and a group, a removal that the other one hears of.
    let ticket = lead(&one.app, "a").await;
    bring(&one.app, Some(ticket), Entry::AccessToken(token("both")), &["a", "b"], &["group"]).await;
    assert_eq!(secret(&find(&other.app, &["b"]).await).as_deref(), Some("both"));
    assert_eq!(other.app.members_through("group").await.len(), 1);
    assert!(one.app.remove_group_through("group").await);
    eventually("gone from the other one", async || other.app.get("b").is_none()).await;
    assert_eq!((one.statistics().failures, other.statistics().failures), (0, 0));
    assert!(server.refused_commands(&["--no-auth-warning", "-a", "admin"]).is_empty());

    let few = admin(&["ACL", "SETUSER", "reader", "on", ">pass", "~symbolon:*", "+mget", "+xrevrange"]);
    assert_eq!(few, "OK");
    let options = redis(&format!("redis://reader:pass@{}", server.address()));
    let reader = Process::new(&options);
    acquire(&reader.app, "key").await;
    assert!(reader.statistics().failures > 0 && !reader.statistics().circuit_open, "it may still ask");
    let elsewhere = redis_with(&format!("redis://reader:pass@{}", server.address()), |redis| {
        redis.prefix = "another:".to_owned();
    });
    assert_eq!(try_store(&elsewhere.store).await.unwrap_err(), "refused (NOPERM)");
    let refused = server.refused_commands(&["--no-auth-warning", "-a", "admin"]);
    assert!(refused.iter().any(|command| command == "set"), "{refused:?}");
}

#[tokio::test]
async fn a_password_of_a_file_is_read_for_each_connection_and_never_told() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "the-first-one"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let options = redis_with(&server.url(), |redis| redis.password_file = Some(file.clone()));
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let one = Process::new(&options);
    let missing = try_store(&options.store).await.unwrap_err();
    assert!(missing.ends_with("password, which can't be read (entity not found)"), "{missing}");
    acquire(&one.app, "without").await;

    std::fs::write(&file, "the-first-one\n").unwrap();
    eventually("it signs in", async || {
        acquire(&one.app, "first").await;
        look(&Process::new(&options).app, "first").await.is_some()
    })
    .await;

    // The operator changes it at the server, in the file, and ends what is left of the old one.
    server.cli(&[
        "--no-auth-warning",
        "-a",
        "the-first-one",
        "CONFIG",
        "SET",
        "requirepass",
        "the-second-one",
    ]);
    let kill = ["--no-auth-warning", "-a", "the-second-one", "CLIENT", "KILL", "TYPE", "normal"];
    server.cli(&kill);
    for key in ["a", "b", "c", "d"] {
        acquire(&one.app, key).await;
    }
    assert!(one.statistics().circuit_open);
    assert_eq!(try_store(&options.store).await.unwrap_err(), "authentication failed");
    std::fs::write(&file, "the-second-one").unwrap();
    let mut i = 0;
    eventually("it signs in again", async || {
        i += 1;
        acquire(&one.app, &format!("second {i}")).await;
        look(&Process::new(&options).app, &format!("second {i}")).await.is_some()
    })
    .await;
    let seen = format!("{options:?} {} {}", options.store, lines.text());
    assert!(seen.contains("authentication failed") && seen.contains("available again"), "{seen}");
    assert!(!seen.contains("the-first-one") && !seen.contains("the-second-one"), "{seen}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
