//! A store that is down, slow or full is never in the way.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::redis_server::RedisServer;
use crate::support::{Process, acquire, bring, eventually, look, names, raw, redis, refresh_token};

#[tokio::test]
async fn a_server_that_is_killed_is_not_in_the_way() {
    let Some(mut server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    acquire(&one.app, "before").await;
    server.kill();
    for i in 0..20 {
        let took = acquire(&one.app, &format!("during {i}")).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(i < 5 || took < Duration::from_millis(300), "the circuit is open: {took:?}");
    }
    assert!(one.statistics().circuit_open && one.statistics().skipped > 0);
    assert_eq!(look(&one.app, "before").await.as_deref(), Some("before"), "the first level serves");
    server.restart();
    let other = Process::on(&server);
    let mut i = 0;
    eventually("it is used again", async || {
        i += 1;
        acquire(&one.app, &format!("after {i}")).await;
        look(&other.app, &format!("after {i}")).await.is_some()
    })
    .await;
    assert!(!one.statistics().circuit_open);
    assert_eq!(look(&other.app, "before").await, None, "the server began anew");
}

#[tokio::test]
async fn a_server_that_is_restarted_in_between_is_used_at_once() {
    let Some(mut server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    acquire(&one.app, "before").await;
    server.restart();
    acquire(&one.app, "after").await;
    assert_eq!(look(&Process::on(&server).app, "after").await.as_deref(), Some("after"));
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_before_the_next_try_is_due() {
    let Some(mut server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    acquire(&one.app, "before").await;
    server.kill();
    // Tries follow each other after 0.5, 1, 2 and 4 seconds: the last of these pauses has begun.
    let began = Instant::now();
    let mut i = 0;
    while began.elapsed() < Duration::from_millis(3800) {
        i += 1;
        acquire(&one.app, &format!("during {i}")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.restart();
    let back = Instant::now();
    eventually("it is used again", async || {
        i += 1;
        acquire(&one.app, &format!("after {i}")).await;
        !one.statistics().circuit_open
    })
    .await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_a_bounded_time() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    acquire(&one.app, "before").await;
    server.pause(true);
    let took = acquire(&one.app, "during").await;
    server.pause(false);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn nobody_there_from_the_beginning() {
    let options = redis("redis://127.0.0.1:1");
    let one = Process::new(&options);
    assert!(acquire(&one.app, "key").await < Duration::from_secs(2));
    assert!(!one.app.remove_group_through("group").await);
    assert!(one.app.members_through("group").await.is_empty());
}

#[tokio::test]
async fn a_slow_server_is_waited_for_until_it_is_too_slow() {
    let Some(server) = RedisServer::start() else { return };
    let delayed = |ms| slow(server.address(), Duration::from_millis(ms));
    let one = Process::new(&redis(&format!("redis://{}", delayed(40).await)));
    acquire(&one.app, "key").await;
    assert_eq!(look(&Process::on(&server).app, "key").await.as_deref(), Some("key"));
    let two = Process::new(&redis(&format!("redis://{}", delayed(2000).await)));
    let took = acquire(&two.app, "other").await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(two.statistics().failures > 0);
}

/// A way to the server on which every byte takes so long.
async fn slow(server: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            let ((client_read, client_write), (server_read, server_write)) =
                (client.into_split(), server.into_split());
            tokio::spawn(pass(client_read, server_write, delay));
            tokio::spawn(pass(server_read, client_write, Duration::ZERO));
        }
    });
    address
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        tokio::time::sleep(delay).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_without_memory_keeps_nothing_and_is_not_in_the_way() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    bring(&one.app, None, refresh_token("secret"), &["user"], &["user"]).await;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query_async(&mut raw(&server).await)
        .await
        .unwrap();
    assert!(acquire(&one.app, "key").await < Duration::from_secs(1));
    assert_eq!(look(&one.app, "key").await.as_deref(), Some("key"), "in the first level");
    assert!(one.statistics().failures > 0 && !one.statistics().circuit_open, "it can still be asked");
    let other = Process::on(&server);
    assert_eq!(look(&other.app, "key").await, None);
    one.app.remove_group_through("user").await;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "0"])
        .query_async(&mut raw(&server).await)
        .await
        .unwrap();
    eventually("the removal is known", async || one.statistics().removals_sent == 1).await;
    assert_eq!(look(&Process::on(&server).app, "user").await, None);
}

#[tokio::test]
async fn a_server_that_makes_room_forgets_and_gives_nothing_wrong() {
    let Some(server) =
        RedisServer::start_with(&["--maxmemory", "2mb", "--maxmemory-policy", "allkeys-random"])
    else {
        return;
    };
    let one = Process::on(&server);
    for i in 0..1500 {
        let key = format!("{i}");
        bring(&one.app, None, refresh_token(&key), &[&key, &format!("second {i}")], &[&format!("group {i}")])
            .await;
    }
    assert!(names(&server).await.len() < 1500 * 4);
    let other = Process::on(&server);
    for i in (0..1500).step_by(10) {
        let key = format!("{i}");
        let found = other.app.find(crate::support::lookup(&[vec![key.clone()]])).await;
        assert!(crate::support::secret(&found).is_none_or(|secret| secret == key));
    }
}
