//! A component of the world `credential-provider` that attacks its host, or has a credential of a kind that others haven't:
//! which, its setting `Order` says.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use bindings::exports::symbolon::credentials::custody::{self, Configuration, SignatureScheme};
use bindings::exports::symbolon::credentials::provider::{
    self, AssertionContext, BoundUse, Certificate, Credential, CredentialBorrow, CredentialKind, Description,
    Error, ErrorKind, Outcome, Selection, SignatureAlgorithm, SignedAssertion,
};
use spin::Once;

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    reason = "generated: lifts and lowers through linear memory"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/deps/io", "../../wit/deps/clocks", "../../wit/deps/http", "../../wit/credentials"],
        world: "symbolon:credentials/credential-provider",
        generate_all,
    });

    export!(Hostile with_types_in self);

    /// What the component exports.
    pub(super) struct Hostile;
}

static CONFIGURATION: Once<Configuration> = Once::new();
static REJECTED: AtomicBool = AtomicBool::new(false);

struct Given;

impl custody::Guest for bindings::Hostile {
    fn configure(configuration: Configuration) -> Result<(), Error> {
        CONFIGURATION.call_once(|| configuration);
        match order() {
            "refuse" => Err(error(ErrorKind::NotConfigured, setting("Message"))),
            other => {
                attack(other);
                Ok(())
            }
        }
    }

    fn signature_schemes(_: CredentialBorrow<'_>) -> Vec<SignatureScheme> {
        match setting("Schemes") {
            "none" => Vec::new(),
            _ => Vec::from([SignatureScheme::RsaPssRsaeSha256]),
        }
    }

    /// Signs nothing, and says that it did.
    fn sign_handshake(
        _: CredentialBorrow<'_>,
        _: SignatureScheme,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        Ok(message)
    }

    fn secret(_: CredentialBorrow<'_>) -> Result<String, Error> {
        Ok(setting("Secret").into())
    }
}

impl provider::Guest for bindings::Hostile {
    type Credential = Given;

    fn select(_: Selection) -> Result<Credential, Error> {
        Ok(Credential::new(Given))
    }

    fn report(_: CredentialBorrow<'_>, outcome: Outcome) {
        REJECTED.store(outcome == Outcome::Rejected, Ordering::Relaxed);
    }
}

impl provider::GuestCredential for Given {
    fn describe(&self) -> Description {
        let kind = match order() {
            "secret" => CredentialKind::ClientSecret,
            "certificate" => CredentialKind::Certificate,
            _ => CredentialKind::SignedAssertion,
        };
        // Whoever reads it sees the same certificate with something behind it, which isn't the same in another instance.
        let trailer = CONFIGURATION.get().filter(|_| order() == "fickle");
        let trailer = trailer.map(|configuration| configuration.seed.as_slice()).unwrap_or_default();
        let has_certificate = kind == CredentialKind::Certificate || order() == "fickle";
        let certificate = has_certificate.then(|| Certificate {
            chain: Vec::from([[file("certificate").as_slice(), trailer].concat()]),
            thumbprint_sha256: String::new(),
            thumbprint_sha1: String::new(),
            key_id: None,
            not_after: u64::MAX,
            algorithms: Vec::from([SignatureAlgorithm::Ps256]),
        });
        Description {
            name: String::new(),
            kind,
            use_bound: BoundUse::Unspecified,
            omit_assertion_when_bound: false,
            certificate,
        }
    }

    fn sign_assertion(&self, _: SignatureAlgorithm, _: Vec<u8>) -> Result<Vec<u8>, Error> {
        attack(setting("WhenSigning"));
        match REJECTED.load(Ordering::Relaxed) {
            true => Err(error(ErrorKind::Unavailable, "found that its credential was rejected")),
            false => Ok(Vec::from([0; 256])),
        }
    }

    fn assertion(&self, context: AssertionContext) -> Result<SignedAssertion, Error> {
        attack(context.claims.as_deref().unwrap_or_default());
        let assertion = String::from_utf8(file("assertion")).unwrap_or_default();
        Ok(SignedAssertion { assertion, expires_on: None, bound: order() == "bound" })
    }
}

/// Does what the words say, where they say anything.
fn attack(words: &str) {
    if words.contains("spin") {
        loop {
            core::hint::black_box(0);
        }
    }
    if words.contains("allocate") {
        let mut hoard = Vec::new();
        loop {
            hoard.push(Vec::<u8>::with_capacity(64 * 1024));
            core::hint::black_box(&hoard);
        }
    }
    if words.contains("recurse") {
        recurse(1);
    }
    if words.contains("trap") {
        core::arch::wasm32::unreachable()
    }
}

#[allow(unconditional_recursion, reason = "that is the attack")]
fn recurse(depth: u64) -> u64 {
    core::hint::black_box(depth) + recurse(core::hint::black_box(depth + 1))
}

fn order() -> &'static str {
    setting("Order")
}

fn setting(name: &str) -> &'static str {
    let mut settings = CONFIGURATION.get().into_iter().flat_map(|configuration| &configuration.settings);
    settings.find(|setting| setting.name == name).map(|setting| setting.value.as_str()).unwrap_or_default()
}

fn file(name: &str) -> Vec<u8> {
    let mut files = CONFIGURATION.get().into_iter().flat_map(|configuration| &configuration.files);
    files.find(|file| file.name == name).map(|file| file.content.clone()).unwrap_or_default()
}

fn error(kind: ErrorKind, message: &str) -> Error {
    Error { kind, message: message.to_string(), retry_after_ms: None }
}
