//! A component of the world `symbolon:credentials/credential-provider`: it has an application's certificate and private
//! key, which come encrypted from a file, and signs with it. Whoever runs it never sees the key in the clear.
//!
//! It imports nothing. The file is its configuration's file `keys`, a PEM file; the passphrase is the setting
//! `Passphrase`, or the content of the file `passphrase`. Built for `wasm32-wasip2`; empty for every other target.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod assertion;
mod keys;
#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bindings::exports::symbolon::credentials::custody::{self, Configuration, SignatureScheme};
use bindings::exports::symbolon::credentials::provider::{
    self, AssertionContext, BoundUse, Credential, CredentialBorrow, CredentialKind, Description, Error,
    ErrorKind, Outcome, Selection, SignatureAlgorithm, SignedAssertion,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use spin::{Mutex, Once};
use zeroize::Zeroizing;

use crate::keys::Keys;

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

    export!(Component with_types_in self);

    /// What the component exports.
    pub(super) struct Component;
}

/// What the instance was configured with.
static HOLDER: Once<Holder> = Once::new();

struct Holder {
    keys: Keys,
    random: Mutex<ChaCha20Rng>,
}

/// The one credential that there is.
pub(crate) struct Held;

impl custody::Guest for bindings::Component {
    fn configure(configuration: Configuration) -> Result<(), Error> {
        let Ok(seed) = <[u8; 32]>::try_from(configuration.seed) else {
            return Err(error(ErrorKind::Unsupported, "found a seed of another size; accepted: 32 bytes"));
        };
        let settings = configuration.settings.into_iter().map(|s| (s.name, Zeroizing::new(s.value)));
        let files = configuration.files.into_iter().map(|f| (f.name, Zeroizing::new(f.content)));
        let (settings, files): (Vec<_>, Vec<_>) = (settings.collect(), files.collect());
        let passphrase = passphrase(&settings, &files)?;
        let Some(file) = named(&files, "keys") else {
            let message =
                "found no file \"keys\"; accepted: a PEM file with a certificate and its private key";
            return Err(error(ErrorKind::NotConfigured, message));
        };
        let random = Mutex::new(ChaCha20Rng::from_seed(seed));
        let keys = Keys::parse(file, passphrase).map_err(|message| error(ErrorKind::Unsupported, message))?;
        HOLDER.call_once(|| Holder { keys, random });
        Ok(())
    }

    fn signature_schemes(_: CredentialBorrow<'_>) -> Vec<SignatureScheme> {
        HOLDER.get().map(|holder| holder.keys.schemes().to_vec()).unwrap_or_default()
    }

    fn sign_handshake(
        _: CredentialBorrow<'_>,
        scheme: SignatureScheme,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let holder = holder()?;
        if !is_handshake(&message) {
            let message = "found something other than what TLS clients sign; accepted: RFC 8446 §4.4.3, RFC 5246 §7.4.8";
            return Err(error(ErrorKind::Refused, message));
        }
        holder.keys.sign_handshake(scheme, &message, &mut *holder.random.lock()).ok_or_else(cannot_sign)
    }

    fn secret(_: CredentialBorrow<'_>) -> Result<String, Error> {
        Err(error(
            ErrorKind::Unsupported,
            "found a certificate, which is no secret; accepted: sign-assertion",
        ))
    }
}

impl provider::Guest for bindings::Component {
    type Credential = Held;

    fn select(_: Selection) -> Result<Credential, Error> {
        holder().map(|_| Credential::new(Held))
    }

    /// There is nothing else to select. A new file comes with a new instance.
    fn report(_: CredentialBorrow<'_>, _: Outcome) {}
}

impl provider::GuestCredential for Held {
    fn describe(&self) -> Description {
        Description {
            name: "keys".into(),
            kind: CredentialKind::Certificate,
            use_bound: BoundUse::Unspecified,
            omit_assertion_when_bound: false,
            certificate: HOLDER.get().map(|holder| holder.keys.certificate()),
        }
    }

    fn sign_assertion(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let holder = holder()?;
        assertion::check(algorithm, &signing_input).map_err(|message| error(ErrorKind::Refused, message))?;
        holder.keys.sign(algorithm, &signing_input, &mut *holder.random.lock()).ok_or_else(cannot_sign)
    }

    fn assertion(&self, _: AssertionContext) -> Result<SignedAssertion, Error> {
        Err(error(
            ErrorKind::Unsupported,
            "found a certificate, which makes no assertions; accepted: sign-assertion",
        ))
    }
}

fn holder() -> Result<&'static Holder, Error> {
    HOLDER
        .get()
        .ok_or_else(|| error(ErrorKind::NotConfigured, "found no configuration; accepted: configure, first"))
}

fn passphrase<'a>(
    settings: &'a [(String, Zeroizing<String>)],
    files: &'a [(String, Zeroizing<Vec<u8>>)],
) -> Result<&'a str, Error> {
    if let Some(setting) = named(settings, "Passphrase") {
        return Ok(setting);
    }
    let file = named(files, "passphrase").and_then(|file| core::str::from_utf8(file).ok());
    file.map(|text| text.trim_end_matches(['\r', '\n'])).ok_or_else(|| {
        let message = "found no passphrase; accepted: the setting \"Passphrase\", or the file \"passphrase\"";
        error(ErrorKind::NotConfigured, message)
    })
}

fn named<'a, T>(values: &'a [(String, T)], name: &str) -> Option<&'a T> {
    values.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether a TLS client signs what begins like this. The first message of a handshake is a `ClientHello`, number 1.
fn is_handshake(message: &[u8]) -> bool {
    const CONTEXT: &[u8] = b"TLS 1.3, client CertificateVerify\0";
    match message.split_at_checked(64) {
        Some((octets, rest)) if octets == [b' '; 64] => rest.starts_with(CONTEXT),
        _ => message.first() == Some(&1),
    }
}

fn cannot_sign() -> Error {
    error(ErrorKind::Unsupported, "found a key that can't make this kind of signature")
}

fn error(kind: ErrorKind, message: impl ToString) -> Error {
    Error { kind, message: message.to_string(), retry_after_ms: None }
}
