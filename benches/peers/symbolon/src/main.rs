//! Symbolon as a contestant, and the authority that all of them ask.
//!
//! A contestant is told by `PEERS_SITE` where the authority is, and by its arguments what to do: `start`, `cached ENTRIES`,
//! `cold secret|certificate`, `herd CALLS`. It prints one JSON object: processor time of a call in nanoseconds, bytes of
//! memory for each entry.
#![allow(unsafe_code, reason = "getrusage")]

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use symbolon::{Application, Settings, Symbolon};
use symbolon_authority::{Authority, LogEntry, Registration, sample};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const GRAPH: &str = "https://graph.microsoft.com/.default";
const HOST: &str = "login.microsoftonline.com";
const SECRET: &str = "a secret of the benchmark";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["authority"] => return runtime.block_on(serve()),
        ["start"] => runtime.block_on(start())?,
        ["cached", entries] => runtime.block_on(cached(entries.parse()?))?,
        ["cold", credential] => runtime.block_on(cold(credential))?,
        ["herd", calls] => runtime.block_on(herd(calls.parse()?))?,
        _ => return Err("start, cached, cold, herd or authority".into()),
    };
    println!("{result}");
    Ok(())
}

/// The authority. Says where it is, then, for each line of its input, how many requests it has had.
async fn serve() -> Result<(), Failure> {
    let directory = tempfile::TempDir::new()?;
    let authority = Authority::builder().data_dir(directory.path()).start().await?;
    authority.register(Registration::new(sample::SECRET).secret(SECRET));
    let file = |name: &str| directory.path().join(name);
    let site = json!({
        "address": authority.address().ip().to_string(),
        "port": authority.address().port(),
        "host": HOST,
        "tenant": symbolon_authority::CONTOSO,
        "caPath": file("ca.pem"),
        "secret": { "clientId": sample::SECRET, "secret": SECRET, "settings": file("appsettings-secret.json") },
        "certificate": {
            "clientId": sample::CERTIFICATE,
            "pem": file("client.pem"),
            "pfx": file("client.pfx"),
            "password": symbolon_authority::PFX_PASSWORD,
            "settings": file("appsettings-certificate.json"),
        },
    });
    say(&site)?;
    let lines = tokio::task::spawn_blocking(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            let tokens =
                authority.log().iter().filter(|entry: &&LogEntry| entry.path.ends_with("/token")).count();
            say(&json!({ "tokenRequests": tokens, "requests": authority.stats().host(HOST).requests }))?;
        }
        Ok::<_, Failure>(())
    });
    lines.await?
}

fn say(value: &Value) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{value}")?;
    Ok(output.flush()?)
}

fn application(credential: &str) -> Result<Application, Failure> {
    let site: Value = serde_json::from_slice(&std::fs::read(std::env::var("PEERS_SITE")?)?)?;
    let file = PathBuf::from(site[credential]["settings"].as_str().ok_or("no such credential")?);
    let mut settings: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    if credential == "secret" {
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = SECRET.into();
    }
    let options = Settings::from_value(settings).application(None)?;
    Ok(Symbolon::builder().build()?.application(options)?)
}

async fn start() -> Result<Value, Failure> {
    let token = application("secret")?.acquire_token_for_client([GRAPH]).await?;
    Ok(json!({ "tokenBytes": token.access_token().len() }))
}

/// Processor time of a cached call, where the cache holds so many tokens, and the memory of one of them.
async fn cached(entries: usize) -> Result<Value, Failure> {
    let application = application("secret")?;
    let token_bytes = application.acquire_token_for_client([GRAPH]).await?.access_token().len();
    if entries > 1 {
        // With these comes what is there once for all of them: instances and connections for as many as are in flight.
        fill(&application, 64).await?;
    }
    let before = resident();
    fill(&application, entries.saturating_sub(1)).await?;
    let bytes = resident().saturating_sub(before) / entries.max(1);
    // As if every token had the length that those of the others have here.
    let bytes = (entries > 1).then(|| bytes.saturating_sub(token_bytes) + 1_400);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut calls, began) = (0_u32, processor_time());
        while processor_time() - began < ROUND {
            for _ in 0..1_000 {
                std::hint::black_box(application.acquire_token_for_client([GRAPH]).await?);
            }
            calls += 1_000;
        }
        rounds.push((processor_time() - began).as_secs_f64() * 1e9 / f64::from(calls));
    }
    Ok(json!({ "cpuNanos": median(rounds), "bytes": bytes }))
}

/// Each from the authority: there is no other way in.
async fn fill(application: &Application, entries: usize) -> Result<(), Failure> {
    let workers: Vec<_> = (0..32)
        .map(|worker| {
            let application = application.clone();
            tokio::spawn(async move {
                for i in (worker..entries).step_by(32) {
                    application
                        .acquire_token_for_client([GRAPH])
                        .with_cache_partition_key("entry", i.to_string(), false)
                        .await?;
                }
                Ok::<_, symbolon::Error>(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

async fn cold(credential: &str) -> Result<Value, Failure> {
    let application = application(credential)?;
    let acquire = || application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
    for _ in 0..20 {
        acquire().await?;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = processor_time();
        for _ in 0..100 {
            acquire().await?;
        }
        rounds.push((processor_time() - began).as_secs_f64() * 1e7);
    }
    Ok(json!({ "cpuNanos": median(rounds) }))
}

async fn herd(calls: usize) -> Result<Value, Failure> {
    let application = application("secret")?;
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let application = application.clone();
            tokio::spawn(async move { application.acquire_token_for_client([GRAPH]).await.map(|_| ()) })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(json!({}))
}

/// The processor time of this process so far.
fn processor_time() -> Duration {
    // SAFETY: an all-zero `rusage` is one, and the call fills it in.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
