//! What a component is given and asked, and what its answers are measured by.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use serde_json::{Value, json};
use symbolon_resources::credentials::{
    ComponentConfiguration, SignatureAlgorithm, certificate_thumbprints, example_of_handshake,
};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use super::super::bindings::exports::symbolon::credentials::provider::{self, Certificate, SignedAssertion};

/// The given configuration, each file with a canary in its place.
pub(super) fn with_damaged_files(given: &ComponentConfiguration) -> ComponentConfiguration {
    let files =
        given.files.iter().map(|(name, _)| (name.clone(), Zeroizing::new(CANARY.as_bytes().to_vec())));
    ComponentConfiguration::new(given.settings.clone(), files.collect())
}

/// The given configuration, each setting with a canary in its place.
pub(super) fn with_wrong_settings(given: &ComponentConfiguration) -> ComponentConfiguration {
    let settings = given.settings.iter().map(|(name, _)| (name.clone(), Zeroizing::new(CANARY.to_owned())));
    ComponentConfiguration::new(settings.collect(), given.files.clone())
}

/// Values that no word of the component may hold.
pub(super) struct Needles(Vec<Zeroizing<String>>);

impl Needles {
    pub(super) fn new(given: &ComponentConfiguration, secret: Option<&str>) -> Self {
        let mut needles = vec![Zeroizing::new(CANARY.to_owned())];
        needles.extend(given.settings.iter().map(|(_, value)| value.clone()));
        needles.extend(secret.map(|secret| Zeroizing::new(secret.to_owned())));
        for (_, content) in &given.files {
            needles.extend(private_lines(content));
        }
        // What is shorter is in any sentence.
        needles.retain(|needle| needle.len() >= SHORTEST_NEEDLE);
        Self(needles)
    }

    /// What was repeated; not the value itself.
    pub(super) fn find(&self, words: &[String]) -> Option<String> {
        let is_repeated =
            |needle: &Zeroizing<String>| words.iter().any(|said| said.contains(needle.as_str()));
        self.0
            .iter()
            .any(is_repeated)
            .then(|| "found a value of its configuration, or its secret, in its words".to_owned())
    }
}

/// The lines of a text outside of certificates, which everybody may see.
fn private_lines(content: &[u8]) -> Vec<Zeroizing<String>> {
    let Ok(text) = std::str::from_utf8(content) else { return Vec::new() };
    let mut is_public = false;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("-----") {
            is_public = line.starts_with("-----BEGIN CERTIFICATE");
        } else if !is_public {
            lines.push(Zeroizing::new(line.to_owned()));
        }
    }
    lines
}

/// What is wrong with a chain.
pub(super) fn chain_is_broken(certificate: &Certificate) -> Option<String> {
    if certificate.chain.is_empty() {
        return Some("found an empty chain".to_owned());
    }
    certificate.chain.iter().enumerate().find_map(|(index, der)| match X509Certificate::from_der(der) {
        Ok(([], _)) => None,
        Ok((rest, _)) => Some(format!("found {} bytes behind certificate {index}", rest.len())),
        Err(_) => Some(format!("found something else than X.509 in the place of certificate {index}")),
    })
}

/// What is wrong with what is said of a leaf.
pub(super) fn facts_are_broken(certificate: &Certificate) -> Option<String> {
    let leaf = certificate.chain.first()?;
    let (sha256, sha1) = certificate_thumbprints(leaf);
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let what = if certificate.thumbprint_sha256 != sha256 {
        "another thumbprint-sha256"
    } else if certificate.thumbprint_sha1 != sha1 {
        "another thumbprint-sha1"
    } else if certificate.not_after != not_after {
        "another not-after"
    } else {
        return None;
    };
    Some(format!("found {what} than the certificate has"))
}

/// What is wrong with an assertion that was made.
pub(super) fn assertion_is_broken(made: &SignedAssertion, bound: bool, now_unix: u64) -> Option<String> {
    let what = if made.assertion.split('.').filter(|part| !part.is_empty()).count() != 3 {
        "something else than a token in compact form"
    } else if made.bound != bound {
        "an assertion that is bound though its credential has no certificate, or the other way round"
    } else if made.expires_on.is_some_and(|end| end <= now_unix) {
        "an assertion whose time is over"
    } else {
        return None;
    };
    Some(format!("found {what}"))
}

/// A client assertion, or something that differs from one in a single place.
pub(super) struct Assertion {
    header: Value,
    payload: Value,
}

impl Assertion {
    pub(super) fn new(algorithm: SignatureAlgorithm, now_unix: u64) -> Self {
        let id = "00000000-0000-0000-0000-000000000001";
        let payload = json!({
            "aud": "https://login.microsoftonline.com/common/oauth2/v2.0/token", "iss": id, "sub": id,
            "jti": "00000000-0000-0000-0000-000000000003", "nbf": now_unix, "iat": now_unix, "exp": now_unix + 600,
        });
        Self { header: json!({ "alg": algorithm.as_str(), "typ": "JWT" }), payload }
    }

    fn with_header(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    fn with_payload(mut self, name: &str, value: Value) -> Self {
        self.payload[name] = value;
        self
    }

    fn without(mut self, name: &str) -> Self {
        if let Some(payload) = self.payload.as_object_mut() {
            payload.remove(name);
        }
        self
    }

    pub(super) fn signing_input(&self) -> Vec<u8> {
        [&self.header, &self.payload]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".")
            .into_bytes()
    }
}

/// What is no handshake of a TLS client.
pub(super) fn no_handshakes(now_unix: u64) -> Vec<(&'static str, Vec<u8>)> {
    let tls13 = example_of_handshake(SignatureScheme::RSA_PSS_SHA256);
    let server = [[b' '; 64].as_slice(), b"TLS 1.3, server CertificateVerify\0", &[0; 32]].concat();
    vec![
        ("nothing", Vec::new()),
        ("a digest", vec![0xab; 32]),
        ("an assertion", Assertion::new(SignatureAlgorithm::Ps256, now_unix).signing_input()),
        ("what a server signs", server),
        ("what has one space too few", tls13.get(1..).unwrap_or_default().to_vec()),
        ("what begins with a ServerHello", vec![2, 0, 0, 38, 3, 3]),
    ]
}

/// What is no client assertion.
pub(super) fn no_assertions(
    algorithm: provider::SignatureAlgorithm,
    now_unix: u64,
) -> Vec<(&'static str, Vec<u8>)> {
    let (own, other) = match algorithm {
        provider::SignatureAlgorithm::Rs256 => (SignatureAlgorithm::Rs256, "PS256"),
        provider::SignatureAlgorithm::Ps256 => (SignatureAlgorithm::Ps256, "RS256"),
        provider::SignatureAlgorithm::Es256 => (SignatureAlgorithm::Es256, "RS256"),
    };
    let right = || Assertion::new(own, now_unix);
    let input = |assertion: Assertion| assertion.signing_input();
    let one_segment = input(right()).split(|byte| *byte == b'.').next().unwrap_or_default().to_vec();
    vec![
        ("nothing", Vec::new()),
        ("a handshake", example_of_handshake(SignatureScheme::RSA_PSS_SHA256)),
        ("one segment", one_segment),
        ("three segments", [input(right()), b".e30".to_vec()].concat()),
        ("a token of another type", input(right().with_header("typ", "at+jwt".into()))),
        ("under the name of another algorithm", input(right().with_header("alg", other.into()))),
        ("under no algorithm", input(right().with_header("alg", "none".into()))),
        ("a header with crit", input(right().with_header("crit", json!(["b64"])))),
        (
            "an assertion of more than ten minutes",
            input(right().with_payload("exp", (now_unix + 601).into())),
        ),
        ("an assertion without end", input(right().without("exp"))),
        ("for an audience without TLS", input(right().with_payload("aud", "http://localhost/token".into()))),
        ("for no audience", input(right().without("aud"))),
    ]
}

/// What is put into the place of what is given.
const CANARY: &str = "canary-in-the-place-of-what-is-configured";

const SHORTEST_NEEDLE: usize = 8;
