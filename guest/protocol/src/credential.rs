//! How a client authenticates: the words of `symbolon:credentials/provider`, and the matrix of credential and scheme.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::authority::{Authority, AuthorityKind, SignatureAlgorithm};
use crate::error::{Error, ErrorKind};
use crate::request::Scheme;

/// What a credential can do, and so how a client authenticates with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A shared secret, which the host puts into its place.
    ClientSecret,
    /// A certificate and its private key.
    Certificate,
    /// A token made elsewhere that stands in for a client assertion.
    SignedAssertion,
}

/// The public half of a certificate credential.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate and what is known of the chain above it: DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// `x5t#S256`: base64url without padding of the SHA-256 of the leaf's DER (RFC 7515 §4.1.8).
    pub thumbprint_sha256: String,
    /// `x5t`: base64url without padding of the SHA-1 of the leaf's DER (RFC 7515 §4.1.7).
    pub thumbprint_sha1: String,
    /// What `kid` names its key by (RFC 7515 §4.1.4).
    pub key_id: Option<String>,
    /// The end of the leaf's validity, in Unix seconds.
    pub not_after: u64,
    /// The signatures that its key can make. Empty for a certificate that serves for TLS only.
    pub algorithms: Vec<SignatureAlgorithm>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("thumbprint_sha256", &self.thumbprint_sha256)
            .field("not_after", &self.not_after)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// What a credential's configuration says about connections to the authority that are bound to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoundUse {
    /// Nothing: they are bound where an assertion comes with a certificate.
    #[default]
    Unspecified,
    /// Not bound, whatever an assertion comes with.
    Never,
    /// Bound where credential, flow and authority can.
    Preferred,
    /// Bound, or an error.
    Required,
}

/// What may be known about a credential.
#[derive(Clone, Debug)]
pub struct Description {
    /// The name the configuration gives it, for messages.
    pub name: String,
    /// What it can do.
    pub kind: CredentialKind,
    /// Whether connections to the authority shall be bound to it.
    pub use_bound: BoundUse,
    /// Whether a certificate does without an assertion where the connection is bound to it.
    pub omit_assertion_when_bound: bool,
    /// The public half, where the credential is or brings a certificate.
    pub certificate: Option<Certificate>,
}

impl Description {
    /// Whether it is a certificate to which connections to the authority must be bound.
    pub fn binds_connections(&self) -> bool {
        self.kind == CredentialKind::Certificate && self.use_bound == BoundUse::Required
    }

    /// The `x5t#S256` of its certificate.
    pub fn thumbprint(&self) -> Option<&str> {
        self.certificate.as_ref().map(|certificate| certificate.thumbprint_sha256.as_str())
    }
}

/// Why there is no credential, signature or assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialErrorKind {
    /// No credential is configured.
    NotConfigured,
    /// Credentials are configured and none of them can be used now.
    Unavailable,
    /// The credential at hand can't do what was asked of it.
    Unsupported,
    /// The host's rules forbid it.
    Refused,
}

/// Why there is no credential, signature or assertion, in the host's words.
#[derive(Clone, Debug)]
pub struct CredentialError {
    /// What the caller does next.
    pub kind: CredentialErrorKind,
    /// A sentence for people.
    pub message: String,
    /// How long until the provider looks again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Error {
        let (kind, code) = match error.kind {
            CredentialErrorKind::NotConfigured => (
                ErrorKind::CredentialUnavailable,
                "Client_Credentials_Required_In_Confidential_Client_Application",
            ),
            CredentialErrorKind::Unavailable => (ErrorKind::CredentialUnavailable, "credential_unavailable"),
            CredentialErrorKind::Unsupported => (ErrorKind::CredentialUnsupported, "credential_unsupported"),
            CredentialErrorKind::Refused => (ErrorKind::InvalidRequest, "credential_refused"),
        };
        Error {
            retryable: matches!(error.kind, CredentialErrorKind::Unavailable),
            retry_after_ms: error.retry_after_ms,
            ..Error::new(kind, code, error.message)
        }
    }
}

/// What the credential must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Authenticate the client in whatever way it can.
    Authenticate,
    /// Be presented in a TLS handshake.
    Bind,
    /// Authenticate the client on a connection that isn't bound to a certificate.
    AuthenticateUnbound,
}

/// What became of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The authority accepted it.
    Used,
    /// The authority refused it for a reason that another certificate may cure.
    Rejected,
}

/// What a signed assertion is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionContext {
    /// The client that will present it.
    pub client_id: String,
    /// The token endpoint that it will be presented to.
    pub token_endpoint: String,
    /// The authority of the request, before it became that endpoint.
    pub authority: String,
    /// The directory, where the authority names one.
    pub tenant_id: Option<String>,
    /// The FMI path that the assertion should carry.
    pub fmi_path: Option<String>,
    /// The claims of a claims challenge that the assertion should satisfy, JSON.
    pub claims: Option<String>,
    /// What the client can handle.
    pub client_capabilities: Vec<String>,
    /// Correlates the call with the acquisition that needs it.
    pub correlation_id: String,
}

/// A token that stands in for a client assertion.
#[derive(Clone)]
pub struct SignedAssertion {
    /// The token in compact form.
    pub assertion: String,
    /// Whether it is bound to the credential's certificate, which must then be presented in the TLS handshake.
    pub bound: bool,
}

impl fmt::Debug for SignedAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedAssertion").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// Where the host puts the value of a client secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value of this field of a form.
    FormField(String),
    /// The value of this header, behind the authentication scheme where there is one.
    Header(String),
    /// The password of HTTP Basic authorization with this user name (RFC 6749 §2.3.1).
    BasicAuthorization(String),
}

/// How a credential is presented to the authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// Present its certificate in the TLS handshake.
    pub certificate: bool,
    /// Put its secret into this place.
    pub secret: Option<Place>,
}

/// What the body of the request proves the client with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The secret, which the host fills in.
    Secret,
    /// Nothing: the secret is in the `authorization` header, with the client's name.
    BasicSecret,
    /// An assertion signed with the certificate's key.
    CertificateAssertion {
        /// Whether it carries the chain (`x5c`).
        chain: bool,
    },
    /// An assertion made elsewhere.
    SignedAssertion,
    /// Nothing: the certificate in the TLS handshake is the proof.
    Handshake,
}

/// What a request says of how the client authenticates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the token is bound to.
    pub scheme: Scheme,
    /// Whether connections of the request's flow are bound to a certificate at all, where the credential asks for it.
    pub binds: bool,
    /// Whether assertions carry the chain (`x5c`). On bound connections they always do.
    pub send_x5c: bool,
    /// Whether assertions carry claims of the caller's own.
    pub extra_claims: bool,
}

/// How the client authenticates: one cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// What the body proves the client with.
    pub proof: Proof,
    /// Whether the certificate is presented in the TLS handshake, at the authority's hosts for mutual TLS.
    pub mtls: bool,
}

impl Authentication {
    /// How a client authenticates with this credential.
    ///
    /// A signed assertion that may turn out to be bound comes back unbound here; [`Authentication::bound_by`] decides
    /// when the assertion is known.
    ///
    /// # Errors
    ///
    /// `mtls_certificate_not_provided` where proof of possession is asked of a credential without a certificate, or claims
    /// of an assertion where the certificate does without one; `invalid_credential_material` where a credential that can't
    /// be bound is configured to be; `credential_unsupported` where claims are given to a credential that signs none.
    pub fn choose(description: &Description, terms: &Terms) -> Result<Authentication, Error> {
        let chosen = match terms.scheme {
            Scheme::MtlsPop => for_proof_of_possession(description)?,
            Scheme::Bearer => for_bearer(description, terms)?,
        };
        match chosen.proof {
            Proof::CertificateAssertion { .. } => Ok(chosen),
            _ if terms.extra_claims => Err(nothing_to_sign(description, chosen.mtls)),
            _ => Ok(chosen),
        }
    }

    /// The same with a signed assertion at hand, which alone says whether it is bound.
    ///
    /// # Errors
    ///
    /// `invalid_client_assertion` for an empty assertion; as [`Authentication::choose`] for one that isn't bound where
    /// it must be.
    pub fn bound_by(
        self,
        assertion: &SignedAssertion,
        description: &Description,
        terms: &Terms,
    ) -> Result<Authentication, Error> {
        let is_pop = terms.scheme == Scheme::MtlsPop;
        if assertion.assertion.trim().is_empty() {
            return Err(Error::new(
                ErrorKind::CredentialUnavailable,
                "invalid_client_assertion",
                format!("The credential {} gave an empty assertion.", description.name),
            ));
        }
        if !assertion.bound {
            match is_pop {
                true => return Err(no_certificate(description)),
                false => refuse_unsupported_binding(description)?,
            }
        }
        let is_wanted = is_pop || terms.binds && description.use_bound != BoundUse::Never;
        Ok(Authentication { mtls: assertion.bound && is_wanted, ..self })
    }
}

/// Checks the authority of the application for proof of possession: the tenant in its configuration counts, that of the
/// request doesn't help, as in MSAL.
///
/// # Errors
///
/// `missing_tenanted_authority` for `common` and `organizations`.
pub fn require_tenant(authority: &Authority) -> Result<(), Error> {
    if authority.kind() == AuthorityKind::Aad && authority.is_multi_tenant() {
        return Err(Error::invalid_request(
            "missing_tenanted_authority",
            format!(
                "Tokens bound to a certificate need an authority with a tenant, and {} names none; configure the \
                 tenant's id or domain in place of common or organizations.",
                authority.canonical()
            ),
        ));
    }
    Ok(())
}

fn for_proof_of_possession(description: &Description) -> Result<Authentication, Error> {
    let proof = match description.kind {
        CredentialKind::Certificate => Proof::Handshake,
        CredentialKind::SignedAssertion => Proof::SignedAssertion,
        CredentialKind::ClientSecret => return Err(no_certificate(description)),
    };
    if description.certificate.is_none() {
        return Err(no_certificate(description));
    }
    Ok(Authentication { proof, mtls: true })
}

fn for_bearer(description: &Description, terms: &Terms) -> Result<Authentication, Error> {
    match description.kind {
        CredentialKind::ClientSecret => {
            refuse_unsupported_binding(description)?;
            Ok(Authentication { proof: Proof::Secret, mtls: false })
        }
        CredentialKind::Certificate => {
            let asks = matches!(description.use_bound, BoundUse::Preferred | BoundUse::Required);
            let mtls = asks && terms.binds;
            let proof = match mtls && description.omit_assertion_when_bound {
                true => Proof::Handshake,
                false => Proof::CertificateAssertion { chain: asks || terms.send_x5c },
            };
            Ok(Authentication { proof, mtls })
        }
        CredentialKind::SignedAssertion => {
            let brings = description.certificate.is_some() && description.use_bound != BoundUse::Never;
            Ok(Authentication { proof: Proof::SignedAssertion, mtls: brings && terms.binds })
        }
    }
}

fn refuse_unsupported_binding(description: &Description) -> Result<(), Error> {
    if description.use_bound == BoundUse::Required {
        return Err(Error::new(
            ErrorKind::CredentialUnsupported,
            "invalid_credential_material",
            format!(
                "{} asks for a connection bound to it (UseBoundCredential), and it has no certificate to bind to; use \
                 a certificate, or take the setting away.",
                description.name
            ),
        ));
    }
    Ok(())
}

/// The error where claims of the caller's own have no assertion to go into.
pub(crate) fn nothing_to_sign(description: &Description, mtls: bool) -> Error {
    let code = if mtls { "mtls_certificate_not_provided" } else { "credential_unsupported" };
    Error::new(
        ErrorKind::CredentialUnsupported,
        code,
        format!(
            "Extra claims for the client assertion are given, and {} signs none here; use a certificate that sends an \
             assertion, or take the claims away.",
            description.name
        ),
    )
}

fn no_certificate(description: &Description) -> Error {
    Error::new(
        ErrorKind::CredentialUnsupported,
        "mtls_certificate_not_provided",
        format!(
            "A token bound to a certificate is asked for, and {} has no certificate to bind it to; configure a \
             certificate.",
            description.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::BoundUse::{Never, Preferred, Required, Unspecified};
    use super::*;

    fn description(kind: CredentialKind, use_bound: BoundUse) -> Description {
        let certificate = (kind == CredentialKind::Certificate).then(|| Certificate {
            chain: alloc::vec![alloc::vec![0x30]],
            thumbprint_sha256: "t".into(),
            thumbprint_sha1: "s".into(),
            key_id: None,
            not_after: 0,
            algorithms: alloc::vec![SignatureAlgorithm::Ps256],
        });
        let name = "ClientCredentials[0] (test)".into();
        Description { name, kind, use_bound, omit_assertion_when_bound: false, certificate }
    }

    const BINDS: Terms = Terms { scheme: Scheme::Bearer, binds: true, send_x5c: false, extra_claims: false };

    fn choose(kind: CredentialKind, use_bound: BoundUse, scheme: Scheme) -> Result<Authentication, Error> {
        Authentication::choose(&description(kind, use_bound), &Terms { scheme, ..BINDS })
    }

    #[test]
    fn a_secret_is_sent_in_the_body_and_never_bound() {
        let secret = Authentication { proof: Proof::Secret, mtls: false };
        assert_eq!(choose(CredentialKind::ClientSecret, Unspecified, Scheme::Bearer).unwrap(), secret);
        assert_eq!(choose(CredentialKind::ClientSecret, Never, Scheme::Bearer).unwrap(), secret);
        let error = choose(CredentialKind::ClientSecret, Required, Scheme::Bearer).unwrap_err();
        assert_eq!(error.code, "invalid_credential_material");
        assert!(error.message.contains("ClientCredentials[0]"), "{error}");
        let error = choose(CredentialKind::ClientSecret, Unspecified, Scheme::MtlsPop).unwrap_err();
        assert_eq!(error.code, "mtls_certificate_not_provided");
    }

    #[test]
    fn a_certificate_signs_and_is_presented_when_bound() {
        for (use_bound, mtls) in [(Unspecified, false), (Never, false), (Preferred, true), (Required, true)] {
            let chosen = choose(CredentialKind::Certificate, use_bound, Scheme::Bearer).unwrap();
            assert_eq!(chosen, Authentication { proof: Proof::CertificateAssertion { chain: mtls }, mtls });
        }
    }

    #[test]
    fn a_flow_that_is_not_bound_keeps_the_chain() {
        let bound = description(CredentialKind::Certificate, Required);
        let chosen = Authentication::choose(&bound, &Terms::default()).unwrap();
        assert_eq!(
            chosen,
            Authentication { proof: Proof::CertificateAssertion { chain: true }, mtls: false }
        );
    }

    #[test]
    fn proof_of_possession_drops_the_assertion() {
        for use_bound in [Unspecified, Never, Preferred, Required] {
            let chosen = choose(CredentialKind::Certificate, use_bound, Scheme::MtlsPop).unwrap();
            assert_eq!(chosen, Authentication { proof: Proof::Handshake, mtls: true });
        }
    }

    #[test]
    fn the_assertion_is_omitted_on_bound_connections_alone() {
        for (use_bound, binds, omitted) in [
            (Required, true, true),
            (Preferred, true, true),
            (Required, false, false),
            (Unspecified, true, false),
            (Never, true, false),
        ] {
            let given = Description {
                omit_assertion_when_bound: true,
                ..description(CredentialKind::Certificate, use_bound)
            };
            let chosen = Authentication::choose(&given, &Terms { binds, ..BINDS }).unwrap();
            assert_eq!(chosen.proof == Proof::Handshake, omitted, "{use_bound:?} {binds}");
            assert_eq!(chosen.mtls, omitted, "{use_bound:?} {binds}");
        }
    }

    #[test]
    fn claims_need_an_assertion_that_is_signed_here() {
        let claims = Terms { extra_claims: true, ..BINDS };
        let certificate = |omit_assertion_when_bound| Description {
            omit_assertion_when_bound,
            ..description(CredentialKind::Certificate, Required)
        };
        let code = |given: &Description, terms: &Terms| {
            Authentication::choose(given, terms).map(|_| ()).map_err(|error| error.code)
        };
        assert_eq!(code(&certificate(false), &claims), Ok(()));
        let none = Err("mtls_certificate_not_provided".into());
        assert_eq!(code(&certificate(true), &claims), none);
        assert_eq!(code(&certificate(false), &Terms { scheme: Scheme::MtlsPop, ..claims }), none);
        for kind in [CredentialKind::ClientSecret, CredentialKind::SignedAssertion] {
            assert_eq!(code(&description(kind, Unspecified), &claims), Err("credential_unsupported".into()));
        }
    }

    #[test]
    fn an_assertion_says_itself_whether_it_is_bound() {
        let given = description(CredentialKind::SignedAssertion, Unspecified);
        let chosen = Authentication::choose(&given, &BINDS).unwrap();
        let bind = |bound, use_bound| {
            let given = Description { use_bound, ..given.clone() };
            let assertion = SignedAssertion { assertion: "a.b.c".into(), bound };
            chosen.bound_by(&assertion, &given, &BINDS)
        };
        assert!(bind(true, Unspecified).unwrap().mtls);
        assert!(!bind(false, Unspecified).unwrap().mtls);
        assert!(!bind(true, Never).unwrap().mtls);
        assert_eq!(bind(false, Required).unwrap_err().code, "invalid_credential_material");
        let empty = SignedAssertion { assertion: " ".into(), bound: false };
        let error = chosen.bound_by(&empty, &given, &BINDS).unwrap_err();
        assert_eq!(error.code, "invalid_client_assertion");
    }

    #[test]
    fn debug_shows_no_assertion() {
        let assertion = SignedAssertion { assertion: "canary".into(), bound: true };
        assert!(!format!("{assertion:?}").contains("canary"));
    }
}
