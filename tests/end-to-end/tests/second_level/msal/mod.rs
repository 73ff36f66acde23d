//! A cache that applications of MSAL share: what lies in it, and that MSAL for Python finds there what we put there, and the
//! other way round.

#[path = "../../differential/python.rs"]
mod python;
mod sharing;
mod with_msal;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use symbolon::{Application, Symbolon};
use symbolon_end_to_end::World;
use symbolon_end_to_end::redis_server::RedisServer;

/// What the names of the partitions begin with.
const INSTANCE: &str = "contoso:";

/// A sample application with the shared cache.
fn application(world: &World, symbolon: &Symbolon, sample: &str, server: &RedisServer) -> Application {
    world.application_with(symbolon, sample, |settings| share(settings, server, INSTANCE))
}

fn share(settings: &mut Value, server: &RedisServer, instance_name: &str) {
    settings["Symbolon"]["TokenCache"] =
        json!({ "Mode": "Msal", "Redis": server.url(), "InstanceName": instance_name });
}

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

/// The keys of all partitions, in their order.
async fn partitions(server: &RedisServer) -> Vec<String> {
    let names: Vec<String> = connect(server).await.keys("*").await.expect("the names");
    let key = |name: &String| name.strip_prefix(INSTANCE).expect("its InstanceName").to_owned();
    let mut keys: Vec<_> = names.iter().map(key).collect();
    keys.sort();
    keys
}

/// What a partition holds.
async fn partition(server: &RedisServer, key: &str) -> Value {
    let text: Option<String> =
        connect(server).await.hget(format!("{INSTANCE}{key}"), "data").await.expect("a hash");
    text.map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON"))
}

/// Puts a partition there, as the Redis cache of .NET would.
async fn put(server: &RedisServer, key: &str, text: &str) {
    let fields = [("absexp", "-1"), ("sldexp", "-1"), ("data", text)];
    let () = connect(server).await.hset_multiple(format!("{INSTANCE}{key}"), &fields).await.expect("a hash");
}

/// The only entry of a section.
fn only<'a>(partition: &'a Value, section: &str) -> (&'a str, &'a Value) {
    let mut items = partition[section].as_object().unwrap_or_else(|| panic!("no {section}")).iter();
    let (Some((key, item)), None) = (items.next(), items.next()) else { panic!("not one {section}") };
    (key, item)
}
