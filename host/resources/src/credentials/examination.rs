//! Whether a component does what the world `credential-provider` asks of whoever implements it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use serde_json::{Value, json};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::binding::SignatureAlgorithm;
use super::component::{ComponentCredential, ComponentError, ComponentProblem};
use super::component_key::{example_of_handshake, handshake_verifies};
use super::selected::CredentialKind;

/// Something that a component must do, tried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComponentFinding {
    /// What it must do, such as `signs assertions with PS256`.
    pub rule: String,
    /// What it did instead, if it did.
    pub broken: Option<String>,
}

impl ComponentFinding {
    /// What became of a rule.
    pub fn new(rule: impl Into<String>, broken: Option<String>) -> Self {
        Self { rule: rule.into(), broken }
    }
}

/// Tries a credential out. Blocks, for as long as some ten signatures take.
pub(super) fn examine(
    credential: &dyn ComponentCredential,
    audience: &str,
    now_unix: u64,
) -> Vec<ComponentFinding> {
    let description = credential.description();
    let mut findings = Vec::new();
    let mut find = |rule: String, broken: Option<String>| findings.push(ComponentFinding { rule, broken });
    if description.kind != CredentialKind::ClientSecret {
        find(
            "gives no secret where it has none".to_owned(),
            not(ComponentProblem::Unsupported, credential.secret()),
        );
    }
    let Some(leaf) = description.chain.first() else { return findings };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return findings };
    let key = &certificate.public_key().subject_public_key.data;
    for scheme in &description.schemes {
        let handshake = example_of_handshake(*scheme);
        let signed = credential.sign_handshake(*scheme, &handshake);
        let broken = wrong(signed, |signature| handshake_verifies(*scheme, key, &handshake, signature));
        find(format!("signs handshakes with {}", scheme_name(*scheme)), broken);
    }
    let assertion = |algorithm: SignatureAlgorithm, seconds: u64| {
        let header = json!({ "alg": algorithm.as_str(), "typ": "JWT" });
        let payload = json!({
            "aud": audience, "iss": "check", "sub": "check", "jti": "check", "nbf": now_unix, "exp": now_unix + seconds,
        });
        [header, payload]
            .map(|part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".")
            .into_bytes()
    };
    for algorithm in &description.algorithms {
        let input = assertion(*algorithm, 600);
        let signed = credential.sign_assertion(*algorithm, &input);
        let broken = wrong(signed, |signature| assertion_verifies(*algorithm, key, &input, signature));
        find(format!("signs assertions with {algorithm}"), broken);
    }
    if let Some(scheme) = description.schemes.first() {
        let input = assertion(SignatureAlgorithm::Ps256, 600);
        let signed = credential.sign_handshake(*scheme, &input);
        find(
            "refuses an assertion in the place of a handshake".to_owned(),
            not(ComponentProblem::Refused, signed),
        );
    }
    if let Some(algorithm) = description.algorithms.first() {
        let mut sign = |rule: &str, input: &[u8]| {
            let signed = credential.sign_assertion(*algorithm, input);
            find(rule.to_owned(), not(ComponentProblem::Refused, signed));
        };
        sign(
            "refuses a handshake in the place of an assertion",
            &example_of_handshake(SignatureScheme::RSA_PSS_SHA256),
        );
        sign("refuses an assertion of more than ten minutes", &assertion(*algorithm, 601));
    }
    findings
}

/// What is wrong with a signature.
fn wrong(signed: Result<Vec<u8>, ComponentError>, verifies: impl FnOnce(&[u8]) -> bool) -> Option<String> {
    match signed {
        Ok(signature) if verifies(&signature) => None,
        Ok(_) => Some("found a signature that the certificate's key doesn't verify".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether a certificate's key, as its bit string has it, verifies the signature of an assertion (RFC 7518 §3.1).
pub fn assertion_verifies(
    algorithm: SignatureAlgorithm,
    key: &[u8],
    signing_input: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(jws(algorithm), key).verify(signing_input, signature).is_ok()
}

/// What came in the place of this problem.
fn not<T>(expected: ComponentProblem, answer: Result<T, ComponentError>) -> Option<String> {
    match answer {
        Ok(_) => Some("found an answer; accepted: an error".to_owned()),
        Err(error) if error.problem == expected => None,
        Err(error) => Some(format!("found an error of another kind ({error})")),
    }
}

fn jws(algorithm: SignatureAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        SignatureAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
    }
}

/// A scheme's name as messages have it, such as `rsa-pss-sha256`.
pub fn scheme_name(scheme: SignatureScheme) -> String {
    format!("{scheme:?}").to_ascii_lowercase().replace('_', "-")
}
