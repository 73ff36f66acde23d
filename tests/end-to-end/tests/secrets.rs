//! A private key or client secret never enters the guest's memory, a log line, an error or a `Debug` output (I1).
//!
//! Every linear memory of every guest is kept when it is dropped, and searched for canaries; a canary in a scope, which must
//! be found, shows that the search works. In a binary of its own: what it logs must not mix with other tests.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "that is how a test fails")]
#![allow(unsafe_code, reason = "wasmtime asks for a linear memory through an unsafe trait")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy, TokenForm};
use symbolon::{AgentIdentity, Application, ApplicationId, SessionKey, Symbolon, User, UserAssertion};
use symbolon_authority::{Fault, FaultRule, REDIRECT_URI, Registration, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::flows::Flow;
use symbolon_end_to_end::keys::{Keys, PASSPHRASE};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

#[path = "it/linker/plugin.rs"]
#[allow(dead_code, reason = "shared with the tests of the linker, which need more of it")]
mod plugin;

const SECRET: &str = "canary-secret-2f9c0d17~needs+encoding&here";
const SCOPE_CANARY: &str = "canary-scope-71ab";

#[tokio::test(flavor = "current_thread")]
async fn nothing_shows_a_key_or_a_secret() {
    let (memories, (logs, _guard)) = (Memories::default(), Logs::captured());
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
    canaries.extend(private_key(&world));
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

/// A line of the private key's PEM, and the bytes that it stands for. The first lines hold the modulus, which is public; the
/// private exponent begins after some 290 bytes, at 48 a line.
fn private_key(world: &World) -> [(&'static str, Vec<u8>); 2] {
    let key = std::fs::read_to_string(world.path("client.pem")).expect("the key");
    let private = key.split("PRIVATE KEY-----").nth(1).expect("a private key");
    let line = private.lines().filter(|line| line.len() == 64).nth(9).expect("a line of it");
    let bytes = BASE64_STANDARD.decode(line).expect("base64");
    [("a line of the key", line.into()), ("bytes of the key", bytes)]
}

/// By every flow, with a secret and with a certificate, with success and with errors: keys and client secrets stay out of the
/// guest; what users bring and get is in the guest and nowhere else.
#[tokio::test(flavor = "current_thread")]
async fn nothing_of_any_flow_is_shown() {
    every_flow(Keys::Host).await;
}

/// The same where a component has the keys: its own memory isn't among those that are searched.
#[tokio::test(flavor = "current_thread")]
async fn nothing_of_any_flow_is_shown_with_keys_in_a_component() {
    every_flow(Keys::Component).await;
}

async fn every_flow(keys: Keys) {
    let (memories, (logs, _guard)) = (Memories::default(), Logs::captured());
    let world = World::start().await.with_keys(keys);
    let symbolon = Symbolon::builder().memory_creator(Arc::new(memories.clone())).build().expect("an engine");
    let mut shown = String::new();
    let mut brought = vec![sample::ALICE_PASSWORD.to_owned()];
    for flow in Flow::ALL {
        for sample in [flow.sample(), flow.bound_sample()] {
            let options = world.options(sample, |_| {}).expect("options");
            let id = ApplicationId::new(uuid::Uuid::new_v4().to_string());
            let application = symbolon.application(options.with_id(id)).expect("an application");
            let scenario = flow.prepare_for(&world, application).await.expect("what comes before");
            let reset = FaultRule::once(Fault::ResetInsideBody);
            world.authority.faults().add(reset);
            let broken = scenario.acquire().await.expect_err("a reset");
            let violation = FaultRule::once(Fault::TokenType { value: Some("pop".into()) });
            world.authority.faults().add(violation);
            let violated = scenario.acquire().await.expect_err("another type");
            let token = scenario.acquire().await.expect("a token");
            let account = token.account();
            shown += &format!("{broken}{broken:?}{violated}{violated:?}{token:?}{account:?}");
            shown += &format!("{:?}", token.authorization_header());
            brought.extend([token.access_token().to_owned(), scenario.input.clone()]);
            brought.extend(token.id_token().map(str::to_owned));
        }
    }
    let application = world.application(&symbolon, "web-api");
    shown += &refusals(&world, &application, &mut brought).await;
    shown += &debug_of_requests(&application, &mut brought).await;

    let (memory, logged) = (memories.kept(), logs.text());
    assert!(contains(&memory, sample::ALICE_PASSWORD.as_bytes()), "the search finds what is there");
    let secret = |sample: &str| {
        let settings = world.settings(sample);
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().expect("a secret").to_owned()
    };
    let mut kept_out: Vec<(&str, Vec<u8>)> = private_key(&world).into();
    kept_out.push(("the passphrase of the component's keys", PASSPHRASE.into()));
    kept_out.push(("the web API's secret", secret("web-api").into()));
    kept_out.push(("the blueprint's secret", secret("blueprint").into()));
    for (what, canary) in kept_out {
        assert!(!contains(&memory, &canary), "{what} was in a guest's memory");
        assert!(!contains(logged.as_bytes(), &canary), "{what} was logged");
        assert!(!contains(shown.as_bytes(), &canary), "{what} was shown");
    }
    assert!(brought.len() > 60, "{} things to look for", brought.len());
    for name in ["on-behalf-of", "silent", "by-authorization-code", "for-agent"] {
        assert!(logged.contains(name), "there are logs of {name}");
    }
    assert!(shown.contains("correlation_id"), "there is shown text to search");
    for canary in brought.iter().filter(|canary| !canary.is_empty()) {
        assert!(!logged.contains(canary.as_str()), "{canary} was logged");
        assert!(!shown.contains(canary.as_str()), "{canary} was shown");
    }
    for (what, text) in [("log", &logged), ("shown text", &shown)] {
        assert!(!text.contains("eyJ"), "something like a JWT was in a {what}");
    }
}

/// The authority's refusals of what users bring, which say what is wrong with it.
async fn refusals(world: &World, application: &Application, brought: &mut Vec<String>) -> String {
    let mut shown = String::new();
    let foreign = world.user_token(sample::ALICE, sample::SECRET);
    let code = world.code(sample::ALICE, sample::SECRET);
    let (password, refresh_token) = ("canary-password-58aa", "1.canary-refresh-token-9d1e");
    let alice = || User::Username(sample::ALICE.to_owned());
    for refused in [
        application.acquire_token_on_behalf_of([GRAPH], &foreign).await,
        application.initiate_long_running_process([GRAPH], &foreign, "canary-key-2b7f").await,
        application.acquire_token_in_long_running_process([GRAPH], "canary-key-2b7f").await,
        application.acquire_token_by_authorization_code([GRAPH], &code, REDIRECT_URI).await,
        application.acquire_token_by_refresh_token([GRAPH], refresh_token).await,
        application.acquire_token_by_username_password([GRAPH], sample::ALICE, password).await,
        application
            .acquire_token_by_user_federated_identity_credential([GRAPH], alice(), "canary-credential-77c0")
            .await,
    ] {
        let error = refused.expect_err("a refusal");
        shown += &format!("{error}{error:?}");
    }
    let canaries = [password, refresh_token, "canary-key-2b7f", "canary-credential-77c0"].map(str::to_owned);
    brought.extend(canaries.into_iter().chain([foreign, code]));
    shown
}

/// What `Debug` shows of that which is still to be asked.
async fn debug_of_requests(application: &Application, brought: &mut Vec<String>) -> String {
    let canary = "canary-argument-c14d";
    let agent = || AgentIdentity::with_user_principal_name(sample::AGENT_ONE, canary);
    let user = || User::Username(canary.to_owned());
    let begun = application
        .authorization_request([GRAPH], REDIRECT_URI)
        .with_login_hint(canary)
        .await
        .expect("a sign-in");
    let mut shown = format!("{begun:?}{:?}{:?}{:?}", SessionKey::from(canary), agent(), user());
    shown += &format!("{:?}", UserAssertion::from(canary));
    shown +=
        &format!("{:?}", application.authorization_request([GRAPH], REDIRECT_URI).with_login_hint(canary));
    shown += &format!("{:?}", application.acquire_token_on_behalf_of([GRAPH], canary));
    shown += &format!("{:?}", application.initiate_long_running_process([GRAPH], canary, canary));
    shown += &format!("{:?}", application.acquire_token_in_long_running_process([GRAPH], canary));
    shown += &format!("{:?}", application.acquire_token_by_refresh_token([GRAPH], canary));
    let redeem = application.acquire_token_by_authorization_code([GRAPH], canary, REDIRECT_URI);
    shown += &format!("{:?}", redeem.with_code_verifier(canary));
    shown += &format!("{:?}", application.acquire_token_by_username_password([GRAPH], canary, canary));
    let named = application.acquire_token_by_user_federated_identity_credential([GRAPH], user(), canary);
    shown += &format!("{named:?}");
    shown +=
        &format!("{:?}", application.acquire_token_for_agent(agent(), [GRAPH]).with_user_assertion(canary));
    brought.extend([canary.to_owned(), begun.code_verifier, begun.state, begun.nonce]);
    shown
}

/// A guest of another host that gets its tokens sealed has no byte of them, in its memory or in what it is given. One that gets
/// them raw has, which shows that the search works.
#[tokio::test(flavor = "current_thread")]
async fn a_sealed_token_is_nowhere_in_its_guest() {
    let (logs, _guard) = Logs::captured();
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "web-api", &api, serde_json::json!({}));
    for form in [TokenForm::Raw, TokenForm::Sealed] {
        let memories = Memories::default();
        let mut config = wasmtime::Config::new();
        config.with_host_memory(Arc::new(memories.clone())).memory_init_cow(false);
        let Some(host) = plugin::Host::with(config) else { return };
        let policy = GuestPolicy::new().allow_flow(GuestFlow::ByUsernamePassword).token_form(form);
        let policy = policy.allow_flow(GuestFlow::Silent).allow_api(&api.url(), [GRAPH]).expect("an origin");
        let guest = GuestCtx::new("a guest", application.clone(), policy);
        let mut plugin = host.plugin(&guest).await;

        let user = format!("username={}|password={}", sample::ALICE, sample::ALICE_PASSWORD);
        let acquire = format!("acquire|by-username-password|{user}|scope=");
        let mut said =
            plugin.steps([format!("{acquire}{GRAPH}"), format!("{acquire}{VAULT}"), "accounts".into()]).await;
        let account = application.account(&said[2]).await.expect("an answer").expect("an account");
        let token = application.acquire_token_silent([GRAPH], &account).await.expect("the same token");
        if form == TokenForm::Sealed {
            // The API repeats it in a header.
            api.answer_next(200, [("x-echo", token.access_token())]);
        }
        let url = api.url();
        for step in [
            format!("send|GET|{url}/a|header=x-own:{SCOPE_CANARY}"),
            format!("send|POST|{url}/b|body=b"),
            "send|GET|https://evil.test/".to_owned(),
            format!("acquire|silent|account={}|scope={GRAPH}", said[2]),
            format!("send|GET|{url}/c"),
        ] {
            said.push(plugin.step(step).await);
        }
        drop(plugin);

        let (memory, said) = (memories.kept(), said.concat());
        assert!(contains(&memory, SCOPE_CANARY.as_bytes()), "the search finds what is there");
        let is_raw = form == TokenForm::Raw;
        for part in token.access_token().split('.').chain([token.access_token(), "eyJ"]) {
            assert_eq!(
                contains(&memory, part.as_bytes()),
                is_raw,
                "a token in the guest's memory ({form:?})"
            );
            assert_eq!(said.contains(part), is_raw, "a token in what the guest was given ({form:?})");
        }
        assert_eq!(said.contains("(redacted)"), !is_raw, "the guest saw the answer");
        let shown = format!("{guest:?}");
        assert!(!shown.contains("eyJ") && shown.contains("a guest"), "{shown}");
    }
    assert_eq!(api.log().len(), 3);
    let logged = logs.text();
    assert!(logged.contains("symbolon.guest.send"), "there are logs to search");
    assert!(!logged.contains("eyJ"), "something like a JWT was logged");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = needle.split_first().expect("something to look for");
    let mut left = haystack;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = &left[at + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
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
        let mut kept = self.kept.0.lock().expect("no panic");
        // Most of a memory was never written to.
        for page in content.chunks(4096).filter(|page| page.iter().any(|byte| *byte != 0)) {
            kept.extend_from_slice(page);
        }
        // SAFETY: the mapping was made with this length.
        unsafe { libc::munmap(self.base.cast(), self.reserved) };
    }
}

/// Keeps what was logged.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Logs of this thread, while the guard lives.
    fn captured() -> (Self, DefaultGuard) {
        let logs = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(logs.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (logs, guard)
    }

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
