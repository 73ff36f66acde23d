//! `azure_identity` as a contestant: see `symbolon/src/main.rs` for what it is told and what it prints.
#![allow(unsafe_code, reason = "getrusage")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use azure_core::credentials::{Secret, SecretBytes, TokenCredential};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport};
use azure_identity::{
    ClientCertificateCredential, ClientCertificateCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions,
};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const GRAPH: &str = "https://graph.microsoft.com/.default";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["start"] => runtime.block_on(start())?,
        ["cached", entries] => runtime.block_on(cached(entries.parse()?))?,
        ["cold", credential] => runtime.block_on(cold(credential == "certificate"))?,
        ["herd", calls] => runtime.block_on(herd(calls.parse()?))?,
        _ => return Err("start, cached, cold or herd".into()),
    };
    println!("{result}");
    Ok(())
}

struct Site {
    settings: Value,
    http: Arc<Http>,
}

impl Site {
    fn load() -> Result<Self, Failure> {
        let settings: Value = serde_json::from_slice(&std::fs::read(std::env::var("PEERS_SITE")?)?)?;
        let port = u16::try_from(settings["port"].as_u64().ok_or("no port")?)?;
        let address = SocketAddr::new(text(&settings["address"])?.parse()?, port);
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(text(&settings["caPath"])?)?)?])
            .resolve(text(&settings["host"])?, address)
            .build()?;
        let http = Arc::new(Http { client: Arc::new(http), is_canned: AtomicBool::new(false) });
        Ok(Self { settings, http })
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions { transport: Some(Transport::new(self.http.clone())), ..ClientOptions::default() }
    }

    fn credential(&self, with_certificate: bool) -> Result<Arc<dyn TokenCredential>, Failure> {
        let tenant = text(&self.settings["tenant"])?;
        if with_certificate {
            let settings = &self.settings["certificate"];
            let pfx = SecretBytes::new(std::fs::read(text(&settings["pfx"])?)?);
            let options = ClientCertificateCredentialOptions {
                client_options: self.client_options(),
                password: Some(Secret::new(text(&settings["password"])?.to_owned())),
                ..Default::default()
            };
            let client_id = text(&settings["clientId"])?.to_owned();
            return Ok(ClientCertificateCredential::new(tenant.to_owned(), client_id, pfx, Some(options))?);
        }
        let settings = &self.settings["secret"];
        let options = ClientSecretCredentialOptions { client_options: self.client_options() };
        let secret = Secret::new(text(&settings["secret"])?.to_owned());
        Ok(ClientSecretCredential::new(
            tenant,
            text(&settings["clientId"])?.to_owned(),
            secret,
            Some(options),
        )?)
    }
}

fn text(value: &Value) -> Result<&str, Failure> {
    value.as_str().ok_or_else(|| "the site isn't complete".into())
}

/// The authority, or, to fill a cache, a token of 1,400 bytes for whatever is asked.
#[derive(Debug)]
struct Http {
    client: Arc<dyn HttpClient>,
    is_canned: AtomicBool,
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !self.is_canned.load(Ordering::Relaxed) {
            return self.client.execute_request(request).await;
        }
        let token =
            json!({ "token_type": "Bearer", "expires_in": 86_399, "access_token": "t".repeat(1_400) });
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), token.to_string().into_bytes()))
    }
}

async fn start() -> Result<Value, Failure> {
    let token = Site::load()?.credential(false)?.get_token(&[GRAPH], None).await?;
    Ok(json!({ "tokenBytes": token.token.secret().len() }))
}

async fn cached(entries: usize) -> Result<Value, Failure> {
    let site = Site::load()?;
    let credential = site.credential(false)?;
    credential.get_token(&[GRAPH], None).await?;
    let before = resident();
    site.http.is_canned.store(true, Ordering::Relaxed);
    for i in 1..entries {
        credential.get_token(&[&format!("https://api-{i}.contoso.com/.default")], None).await?;
    }
    let bytes = (entries > 1).then(|| resident().saturating_sub(before) / entries);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut calls, began) = (0_u32, processor_time());
        while processor_time() - began < ROUND {
            for _ in 0..1_000 {
                std::hint::black_box(credential.get_token(&[GRAPH], None).await?);
            }
            calls += 1_000;
        }
        rounds.push((processor_time() - began).as_secs_f64() * 1e9 / f64::from(calls));
    }
    Ok(json!({ "cpuNanos": median(rounds), "bytes": bytes }))
}

/// A credential for each: there is no other way past its cache. Its connections are the same.
async fn cold(with_certificate: bool) -> Result<Value, Failure> {
    let site = Site::load()?;
    for _ in 0..20 {
        site.credential(with_certificate)?.get_token(&[GRAPH], None).await?;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut spent = Duration::ZERO;
        for _ in 0..100 {
            let credential = site.credential(with_certificate)?;
            let began = processor_time();
            credential.get_token(&[GRAPH], None).await?;
            spent += processor_time() - began;
        }
        rounds.push(spent.as_secs_f64() * 1e7);
    }
    Ok(json!({ "cpuNanos": median(rounds) }))
}

async fn herd(calls: usize) -> Result<Value, Failure> {
    let credential = Site::load()?.credential(false)?;
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let credential = credential.clone();
            tokio::spawn(async move { credential.get_token(&[GRAPH], None).await.map(|_| ()) })
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
