//! A private key or client secret never enters the guest's memory, a log line, an error or a `Debug` output (I1).
//!
//! Every linear memory of every guest is kept when it is dropped, and searched for canaries; a canary in a scope, which must
//! be found, shows that the search works. In a binary of its own: what it logs must not mix with other tests.

#![allow(clippy::expect_used, reason = "that is how a test fails")]
#![allow(unsafe_code, reason = "wasmtime asks for a linear memory through an unsafe trait")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use symbolon::Symbolon;
use symbolon_authority::{Fault, FaultRule, Registration, sample};
use symbolon_end_to_end::{GRAPH, World};
use tracing_subscriber::fmt::MakeWriter;

const SECRET: &str = "canary-secret-2f9c0d17~needs+encoding&here";
const SCOPE_CANARY: &str = "canary-scope-71ab";

#[tokio::test(flavor = "current_thread")]
async fn nothing_shows_a_key_or_a_secret() {
    let (memories, logs) = (Memories::default(), Logs::default());
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(logs.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let world = World::start().await;
    world.authority.register(Registration::new(sample::SECRET).secret(SECRET));
    let symbolon = Symbolon::builder().memory_creator(Arc::new(memories.clone())).build().expect("an engine");
    let mut shown = String::new();

    let options = world.options("secret", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = SECRET.into();
    });
    let by_secret = symbolon.application(options.expect("options")).expect("an application");
    let by_certificate = world.application(&symbolon, "bound");
    let token = by_secret.acquire_token_for_client([GRAPH]).await.expect("a token");
    shown += &format!("{token:?}{by_secret:?}{symbolon:?}{:?}", by_secret.check_credentials().await);
    shown += &format!("{:?}", by_secret.acquire_token_for_client([GRAPH]));
    let assertion = by_certificate.acquire_token_for_client([GRAPH]).await.expect("a token");
    let pop = by_certificate
        .acquire_token_for_client([GRAPH])
        .with_mtls_proof_of_possession()
        .await
        .expect("a token");
    shown += &format!("{assertion:?}{pop:?}{by_certificate:?}{:?}", by_certificate.check_credentials().await);
    world.authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders).always());
    for application in [&by_secret, &by_certificate] {
        let error = application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await;
        let error = error.expect_err("a reset");
        shown += &format!("{error}{error:?}");
    }
    world.authority.faults().clear();
    let refused = by_secret.acquire_token_for_client([SCOPE_CANARY]).await.expect_err("no such scope");
    shown += &format!("{refused}{refused:?}");

    let key = std::fs::read_to_string(world.path("client.pem")).expect("the key");
    let memory = memories.kept();
    let logged = logs.text();
    assert!(
        logged.contains("symbolon.acquire") && logged.contains("symbolon.transport.send"),
        "there are logs to search"
    );
    assert!(!memory.is_empty(), "there are memories to search");
    assert!(contains(&memory, SCOPE_CANARY.as_bytes()), "the search finds what is there");

    let mut canaries: Vec<(&str, Vec<u8>)> = vec![("the secret", SECRET.into())];
    canaries.push(("the secret, encoded", b"canary-secret-2f9c0d17~needs%2Bencoding%26here".to_vec()));
    canaries.push(("the secret, encoded", b"canary-secret-2f9c0d17%7Eneeds%2Bencoding%26here".to_vec()));
    // A line of the private key's PEM, and the bytes that it stands for. The first lines hold the modulus, which is public;
    // the private exponent begins after some 290 bytes, at 48 a line.
    let private = key.split("PRIVATE KEY-----").nth(1).expect("a private key");
    let line = private.lines().filter(|line| line.len() == 64).nth(9).expect("a line of it");
    canaries.push(("a line of the key", line.into()));
    use base64::Engine as _;
    canaries.push(("bytes of the key", base64::prelude::BASE64_STANDARD.decode(line).expect("base64")));
    for (what, canary) in &canaries {
        assert!(!contains(&memory, canary), "{what} was in a guest's memory");
        assert!(!contains(logged.as_bytes(), canary), "{what} was logged");
        assert!(!contains(shown.as_bytes(), canary), "{what} was shown");
    }
    for (what, text) in [("log", &logged), ("shown text", &shown)] {
        for token in [&token, &assertion, &pop] {
            assert!(!contains(text.as_bytes(), token.access_token().as_bytes()), "a token was in a {what}");
        }
        assert!(!text.contains("eyJ"), "something like a JWT was in a {what}");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Keeps what was in linear memories when they were dropped.
#[derive(Clone, Default)]
struct Memories(Arc<Mutex<Vec<u8>>>);

impl Memories {
    fn kept(&self) -> Vec<u8> {
        self.0.lock().expect("no panic").clone()
    }
}

/// A linear memory: reserved address space, of which the beginning is accessible.
struct Memory {
    base: *mut u8,
    reserved: usize,
    size: usize,
    kept: Memories,
}

// SAFETY: the mapping belongs to this value alone, whichever thread that is on.
unsafe impl Send for Memory {}
// SAFETY: shared references only read the fields.
unsafe impl Sync for Memory {}

// SAFETY: each call gives a mapping of its own, with the reservation and guard that it asks for.
unsafe impl wasmtime::MemoryCreator for Memories {
    fn new_memory(
        &self,
        _ty: wasmtime::MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn wasmtime::LinearMemory>, String> {
        let reserved = reserved.unwrap_or(minimum).max(minimum) + guard;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), reserved, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err("no address space".into());
        }
        let mut memory = Memory { base: base.cast(), reserved, size: 0, kept: self.clone() };
        wasmtime::LinearMemory::grow_to(&mut memory, minimum).map_err(|error| error.to_string())?;
        Ok(Box::new(memory))
    }
}

// SAFETY: `as_ptr` stays the same for the life of the value, and `byte_size` bytes behind it are accessible.
unsafe impl wasmtime::LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.reserved
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        // SAFETY: the range lies in this value's own mapping.
        let changed =
            unsafe { libc::mprotect(self.base.cast(), new_size, libc::PROT_READ | libc::PROT_WRITE) };
        if changed != 0 {
            return Err(wasmtime::Error::msg("no memory"));
        }
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the first `size` bytes of the mapping are readable, and nobody else has it any more.
        let content = unsafe { std::slice::from_raw_parts(self.base, self.size) };
        self.kept.0.lock().expect("no panic").extend_from_slice(content);
        // SAFETY: the mapping was made with this length.
        unsafe { libc::munmap(self.base.cast(), self.reserved) };
    }
}

/// Keeps what was logged.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
