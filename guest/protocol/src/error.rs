//! Errors as decisions: what the caller does next, with the authority's own details.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request or the configuration can't work as it is. Nothing was sent.
    InvalidRequest,
    /// A person must sign in, consent or answer a challenge.
    InteractionRequired,
    /// The authority doesn't accept the client or its credential.
    InvalidClient,
    /// The authority refused the request for another reason.
    Refused,
    /// The authority asked for a pause.
    Throttled,
    /// The authority can't answer now.
    TemporarilyUnavailable,
    /// No complete answer arrived: name resolution, connection, TLS, or the deadline.
    TransportFailed,
    /// The request may have had its effect though no answer arrived, and must not be sent again.
    OutcomeUnknown,
    /// There is no usable credential.
    CredentialUnavailable,
    /// The credential at hand can't authenticate the client in the way that is asked.
    CredentialUnsupported,
    /// The authority doesn't let this application bind its connection to a certificate.
    BoundTransportNotEnabled,
    /// The answer isn't what the protocol allows.
    ProtocolViolation,
}

/// The family of exceptions in which MSAL reports an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Found on this side: arguments, configuration, an answer that can't be accepted.
    Client,
    /// Reported by the authority, or its failure to answer.
    Service,
    /// The authority asked for a pause in a form that isn't an OAuth error.
    ThrottledService,
    /// A person must act.
    UiRequired,
    /// A person must act, and the authority's `claims` say how.
    ClaimsChallenge,
}

/// What a person must do, by the authority's `suberror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Classification {
    /// Nothing more is known.
    None,
    /// A simple action resolves it, such as multi-factor authentication.
    BasicAction,
    /// An action outside the sign-in resolves it, such as enrolling a device.
    AdditionalAction,
    /// Nothing resolves it now; the sign-in shows a message.
    MessageOnly,
    /// Consent is missing or was withdrawn.
    ConsentRequired,
    /// The password has expired.
    UserPasswordExpired,
}

impl Classification {
    /// The classification of a `suberror`, compared without case.
    pub fn from_suberror(suberror: &str) -> Classification {
        let known = [
            ("basic_action", Classification::BasicAction),
            ("additional_action", Classification::AdditionalAction),
            ("message_only", Classification::MessageOnly),
            ("consent_required", Classification::ConsentRequired),
            ("user_password_expired", Classification::UserPasswordExpired),
        ];
        known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(suberror))
            .map_or(Classification::None, |(_, classification)| *classification)
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// The family of exceptions in which MSAL reports it.
    pub class: ErrorClass,
    /// A stable code; MSAL's where MSAL has one.
    pub code: String,
    /// A sentence for people. Holds no token, secret or assertion.
    pub message: String,
    /// What a person must do. `None` unless the class asks for a person.
    pub classification: Classification,
    /// Whether sending the same request again may succeed.
    pub retryable: bool,
    /// How long to wait before that, in milliseconds; at most an hour.
    pub retry_after_ms: Option<u64>,
    /// The status of the authority's answer.
    pub status: Option<u16>,
    /// The numbers of the `AADSTS…` codes, in the authority's order.
    pub aadsts_codes: Vec<u32>,
    /// The authority's `suberror`.
    pub suberror: Option<String>,
    /// The claims that the next request must carry, JSON.
    pub claims: Option<String>,
    /// The correlation id that the authority reported, else the request's own.
    pub correlation_id: String,
    /// The authority's trace id.
    pub trace_id: Option<String>,
    /// The authority's timestamp, as it wrote it.
    pub timestamp: Option<String>,
}

impl Error {
    /// An error that was found on this side, with no answer of the authority's behind it.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Error {
        Error {
            kind,
            class: ErrorClass::Client,
            code: code.into(),
            message: message.into(),
            classification: Classification::None,
            retryable: false,
            retry_after_ms: None,
            status: None,
            aadsts_codes: Vec::new(),
            suberror: None,
            claims: None,
            correlation_id: String::new(),
            trace_id: None,
            timestamp: None,
        }
    }

    /// A request or configuration that can't work as it is.
    pub fn invalid_request(code: impl Into<String>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidRequest, code, message)
    }

    /// Whoever runs the acquisition broke the order of actions and events.
    pub fn unexpected_event() -> Error {
        Error::new(
            ErrorKind::ProtocolViolation,
            "unexpected_event",
            "Whoever runs the acquisition answered an action with another action's event.",
        )
    }

    /// Whether another certificate may cure the error, as Microsoft.Identity.Web decides it: `invalid_client` with the
    /// code of a bad signature, an assertion outside its lifetime, or a certificate that is revoked or outside its own.
    pub fn is_certificate_rejection(&self) -> bool {
        self.code == "invalid_client"
            && self.aadsts_codes.iter().any(|code| CERTIFICATE_REJECTIONS.contains(code))
    }

    /// Whether the authority refused because binding the connection isn't enabled for the application.
    pub fn is_bound_transport_refusal(&self) -> bool {
        self.aadsts_codes.iter().any(|code| BOUND_TRANSPORT_REFUSALS.contains(code))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl core::error::Error for Error {}

const CERTIFICATE_REJECTIONS: [u32; 6] = [700_024, 700_027, 1_000_502, 7_000_214, 7_000_274, 7_000_277];

const BOUND_TRANSPORT_REFUSALS: [u32; 2] = [51_000, 392_189];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suberrors_classify_without_case() {
        assert_eq!(Classification::from_suberror("Consent_Required"), Classification::ConsentRequired);
        assert_eq!(Classification::from_suberror("bad_token"), Classification::None);
        assert_eq!(Classification::from_suberror(""), Classification::None);
    }

    #[test]
    fn only_invalid_client_with_a_listed_code_rejects_the_certificate() {
        let mut error = Error::new(ErrorKind::InvalidClient, "invalid_client", "");
        assert!(!error.is_certificate_rejection());
        error.aadsts_codes = alloc::vec![7_000_215];
        assert!(!error.is_certificate_rejection());
        error.aadsts_codes = alloc::vec![7_000_215, 700_027];
        assert!(error.is_certificate_rejection());
        error.code = "invalid_grant".into();
        assert!(!error.is_certificate_rejection());
    }
}
