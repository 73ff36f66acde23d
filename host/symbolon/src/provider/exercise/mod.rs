//! Tries out whether a component does what the world `credential-provider` asks of whoever implements it: every rule of the
//! interfaces that shows from outside, in an order in which each is as likely to fail alone.

mod inputs;
mod subject;

use std::sync::Arc;

use rustls::SignatureScheme;
use symbolon_resources::credentials::{
    ComponentConfiguration, ComponentError, ComponentFinding, SignatureAlgorithm, assertion_verifies,
    example_of_handshake, example_of_tls12, handshake_verifies, scheme_name,
};

use self::inputs::{Assertion, Needles};
use self::subject::{Asked, Subject};
use super::Compiled;
use super::bindings::exports::symbolon::credentials::provider::{CredentialKind, Error, ErrorKind, Outcome};
use super::convert;

/// Every rule, and what the component did instead. Blocks.
pub(super) fn exercise(
    compiled: Result<Arc<Compiled>, ComponentError>,
    configuration: &ComponentConfiguration,
    now_unix: u64,
) -> Vec<ComponentFinding> {
    const WORLD: &str = "is a component of the world credential-provider and imports nothing";
    match compiled {
        Err(error) => vec![ComponentFinding::new(WORLD, Some(error.to_string()))],
        Ok(compiled) => {
            let mut exercise = Exercise {
                subject: Subject::new(&compiled, configuration),
                now_unix,
                findings: vec![ComponentFinding::new(WORLD, None)],
            };
            exercise.run(configuration);
            exercise.findings
        }
    }
}

struct Exercise<'a> {
    subject: Subject<'a>,
    now_unix: u64,
    findings: Vec<ComponentFinding>,
}

impl Exercise<'_> {
    fn run(&mut self, configuration: &ComponentConfiguration) {
        self.configures(configuration);
        let started = self.subject.start();
        let has_started = started.is_ok();
        self.find("takes its configuration and selects a credential", started.err());
        if has_started {
            self.describes();
            self.signs_handshakes();
            self.signs_assertions();
            self.keeps_to_its_kind();
            self.outlives_what_became_of_it();
        }
        let repeated = Needles::new(configuration, self.subject.secret()).find(self.subject.words());
        self.find("repeats nothing that it was given, in no message and no name", repeated);
    }

    fn find(&mut self, rule: impl Into<String>, broken: Option<String>) {
        self.findings.push(ComponentFinding::new(rule, broken));
    }

    /// What isn't there, or is damaged, is an error in words.
    fn configures(&mut self, given: &ComponentConfiguration) {
        let nothing = ComponentConfiguration::new(Vec::new(), Vec::new());
        let broken = match self.subject.configure_another(&nothing) {
            Asked::Answer(()) => None,
            Asked::Error(error) => badly_refused(&error),
            Asked::Trap(trap) => Some(trap),
        };
        self.find("is content without settings and files, or says which is missing", broken);
        for (rule, damaged) in [
            ("says so where files are damaged", inputs::with_damaged_files(given)),
            ("says so where settings are wrong", inputs::with_wrong_settings(given)),
        ] {
            let broken = match self.subject.configure_another(&damaged) {
                Asked::Answer(()) => None,
                Asked::Error(error) => badly_refused(&error),
                Asked::Trap(trap) => Some(trap),
            };
            self.find(rule, broken);
        }
    }

    /// What is known about the credential is the same whenever and however one asks.
    fn describes(&mut self) {
        let again = self.subject.description_again();
        self.find("describes its credential the same each time", again);
        let other = self.subject.another_handle();
        self.find("selects the same credential again, under a handle of its own", other);
        let other = self.subject.another_instance();
        self.find("has the same credential when it is started again", other);
        let certificate = self.subject.certificate();
        let (kind, has_certificate) = (self.subject.kind(), certificate.is_some());
        let broken = match kind {
            CredentialKind::Certificate if !has_certificate => Some("found none"),
            CredentialKind::ClientSecret if has_certificate => Some("found one of a client secret"),
            _ => None,
        };
        self.find("has a certificate where its kind has one", broken.map(str::to_owned));
        if let Some(certificate) = certificate {
            let broken = inputs::chain_is_broken(&certificate);
            self.find("has a chain of certificates in DER, leaf first, and nothing else in it", broken);
            let broken = inputs::facts_are_broken(&certificate);
            self.find("gives the leaf's thumbprints and the end of its validity", broken);
        } else {
            let schemes = self.subject.schemes().is_empty();
            let broken = (!schemes).then(|| "found some without a certificate".to_owned());
            self.find("names schemes of a certificate only", broken);
        }
    }

    fn signs_handshakes(&mut self) {
        let key = self.subject.public_key();
        let claimed = self.subject.schemes();
        for (scheme, said) in convert::SCHEMES {
            let examples = examples(scheme);
            if !claimed.contains(&said) {
                let example = examples.first().map(Vec::as_slice).unwrap_or_default();
                let asked = self.subject.sign_handshake(said, example);
                let broken = unless(ErrorKind::Unsupported, asked);
                self.find(
                    format!("makes no handshake with {}, which it doesn't name", scheme_name(scheme)),
                    broken,
                );
                continue;
            }
            let broken = examples.iter().find_map(|example| {
                let asked = self.subject.sign_handshake(said, example);
                wrong(asked, |signature| handshake_verifies(scheme, &key, example, signature))
            });
            self.find(format!("signs handshakes with {}", scheme_name(scheme)), broken);
        }
        let Some(scheme) = claimed.first().copied() else { return };
        for (what, message) in inputs::no_handshakes(self.now_unix) {
            let asked = self.subject.sign_handshake(scheme, &message);
            self.find(
                format!("refuses {what} in the place of a handshake"),
                unless(ErrorKind::Refused, asked),
            );
        }
        let is_alive = wrong(self.subject.sign_handshake(scheme, &example_of_tls12()), |signature| {
            !signature.is_empty()
        });
        self.find("goes on signing handshakes after that", is_alive);
    }

    fn signs_assertions(&mut self) {
        let key = self.subject.public_key();
        let claimed = self.subject.algorithms();
        for algorithm in [SignatureAlgorithm::Rs256, SignatureAlgorithm::Ps256, SignatureAlgorithm::Es256] {
            let Ok(said) = convert::algorithm(algorithm) else { continue };
            let input = Assertion::new(algorithm, self.now_unix).signing_input();
            let asked = self.subject.sign_assertion(said, &input);
            if claimed.contains(&said) {
                let broken = wrong(asked, |signature| assertion_verifies(algorithm, &key, &input, signature));
                self.find(format!("signs assertions with {algorithm}"), broken);
            } else {
                let broken = unless(ErrorKind::Unsupported, asked);
                self.find(format!("makes no assertion with {algorithm}, which it doesn't name"), broken);
            }
        }
        let Some(said) = claimed.first().copied() else { return };
        for (what, input) in inputs::no_assertions(said, self.now_unix) {
            let asked = self.subject.sign_assertion(said, &input);
            self.find(format!("refuses to sign {what}"), unless(ErrorKind::Refused, asked));
        }
    }

    /// What other kinds of credentials do it can't.
    fn keeps_to_its_kind(&mut self) {
        let secret = self.subject.ask_secret();
        match self.subject.kind() {
            CredentialKind::ClientSecret => {
                let broken = wrong(secret, |secret| !secret.is_empty());
                self.find("gives its secret, which isn't empty", broken);
            }
            _ => self.find("gives no secret where it has none", unless(ErrorKind::Unsupported, secret)),
        }
        let assertion = self.subject.ask_assertion();
        match (self.subject.kind(), assertion) {
            (CredentialKind::SignedAssertion, Asked::Answer(made)) => {
                let bound = self.subject.certificate().is_some();
                self.find("makes assertions", inputs::assertion_is_broken(&made, bound, self.now_unix));
            }
            (CredentialKind::SignedAssertion, asked) => {
                self.find("makes assertions", wrong(asked, |_| true));
            }
            (_, asked) => {
                self.find("makes no assertions where it has none", unless(ErrorKind::Unsupported, asked));
            }
        }
    }

    /// A handle stays what it was, whatever becomes of its credential.
    fn outlives_what_became_of_it(&mut self) {
        for (outcome, rule) in [
            (Outcome::Used, "takes note that its credential was used"),
            (
                Outcome::Rejected,
                "takes note that its credential was rejected, and what it gave stays what it was",
            ),
        ] {
            let told = self.subject.report(outcome);
            let broken = told.or_else(|| self.subject.description_again());
            self.find(rule, broken);
        }
        let broken = match self.subject.select_anything() {
            Asked::Trap(trap) => Some(trap),
            Asked::Answer(()) | Asked::Error(_) => None,
        };
        self.find("selects something else after that, or says why there is nothing", broken);
    }
}

/// What is signed in handshakes with a scheme: those of RSASSA-PKCS1-v1_5 belong to TLS 1.2, the others to both.
fn examples(scheme: SignatureScheme) -> Vec<Vec<u8>> {
    let mut examples = vec![example_of_handshake(scheme)];
    if examples.first() != Some(&example_of_tls12()) {
        examples.push(example_of_tls12());
    }
    examples
}

/// What is wrong with what was made.
fn wrong<T>(asked: Asked<T>, is_right: impl FnOnce(&T) -> bool) -> Option<String> {
    match asked {
        Asked::Answer(made) if is_right(&made) => None,
        Asked::Answer(_) => Some(
            "found something else (a signature that the certificate's key doesn't verify, or nothing)"
                .to_owned(),
        ),
        Asked::Error(error) => {
            Some(format!("found the error {}: {}", error.kind.name(), printable(&error.message)))
        }
        Asked::Trap(trap) => Some(trap),
    }
}

/// What came in the place of an error of this kind.
fn unless<T>(expected: ErrorKind, asked: Asked<T>) -> Option<String> {
    match asked {
        Asked::Error(error) if error.kind == expected => None,
        Asked::Error(error) => {
            Some(format!("found the error {}; accepted: {}", error.kind.name(), expected.name()))
        }
        Asked::Answer(_) => Some(format!("found an answer; accepted: the error {}", expected.name())),
        Asked::Trap(trap) => Some(trap),
    }
}

/// What is wrong with a refusal of a configuration.
fn badly_refused(error: &Error) -> Option<String> {
    match error.kind {
        _ if error.message.trim().is_empty() => Some("found an error without a word".to_owned()),
        ErrorKind::NotConfigured | ErrorKind::Unsupported => None,
        kind => Some(format!("found the error {}; accepted: not-configured, unsupported", kind.name())),
    }
}

fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}

impl ErrorKind {
    /// As the interface writes it.
    fn name(self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
        }
    }
}
