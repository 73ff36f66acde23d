//! What went wrong, the exit status that it ends in, and how it is told.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use symbolon::{
    AcquisitionError, DownstreamError, DownstreamErrorKind, Error, ErrorKind, TransportErrorKind,
};

use crate::output;

/// How the process ends. A stable contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 0,
    /// Usage, configuration, no usable credential.
    Configuration = 2,
    /// The authority answered and the answer can't be used, or a person must sign in before it is asked.
    Refused = 3,
    /// No complete answer.
    NoAnswer = 4,
    /// The guest was stopped, a limit of this process, a bug.
    Internal = 5,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// A command that can't do what it was asked to. Holds no secret, no key and no token.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    /// Nothing is told where nobody reads.
    report: Option<Box<Report>>,
}

/// What is told, in words or as JSON: `{"error": {…}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    kind: &'static str,
    code: Option<String>,
    message: String,
    http_status: Option<u16>,
    #[serde(rename = "aadstsCodes")]
    aadsts_codes: Vec<u32>,
    suberror: Option<String>,
    claims: Option<String>,
    correlation_id: Option<String>,
    trace_id: Option<String>,
    timestamp: Option<String>,
    is_retryable: bool,
    retry_after_seconds: Option<f64>,
    help: Option<&'static str>,
    exit_status: u8,
}

impl Failure {
    /// The command line, or a file that it names, can't be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Configuration, "usage", message)
    }

    /// The configuration can't work, or no credential of it.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(Status::Configuration, "configuration", message)
    }

    /// A user, or a long-running process, that isn't known: what the protocol says where it can be asked.
    pub(crate) fn interaction_required(code: &str, message: &str) -> Self {
        let kind = ErrorKind::InteractionRequired;
        let mut report = Report::new(Status::Refused, kind.as_str(), format!("{code}: {message}"));
        report.code = Some(code.to_owned());
        report.help = help(kind);
        Self { status: Status::Refused, report: Some(Box::new(report)) }
    }

    /// The API answered with a status that isn't wanted.
    pub(crate) fn api(api: &str, status: u16) -> Self {
        let mut failure =
            Self::new(Status::Refused, "refused", format!("{api} answered with the status {status}"));
        if let Some(report) = &mut failure.report {
            report.http_status = Some(status);
        }
        failure
    }

    /// What should never happen.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Status::Internal, "internal", message)
    }

    /// A file that can't be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::usage(format!("{}: {error}", path.display()))
    }

    /// Standard output that can't be written. A reader that went away had enough.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { status: Status::Ok, report: None },
            _ => Self::usage(format!("standard output can't be written: {error}")),
        }
    }

    fn new(status: Status, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, report: Some(Box::new(Report::new(status, kind, message))) }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// The kind of error, for counting; nothing where nobody reads.
    pub(crate) fn kind(&self) -> &'static str {
        self.report.as_ref().map_or("closed", |report| report.kind)
    }

    /// `{"error": {…}}`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": self.report })
    }

    /// Tells it on standard error: in words, or as one line of JSON.
    pub(crate) fn print(&self, json: bool) {
        match &self.report {
            None => {}
            Some(_) if json => output::note(&self.to_json().to_string()),
            Some(report) => output::note(&report.to_text()),
        }
    }
}

/// What went wrong, in one sentence.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.report.as_ref().map_or("nobody reads the output", |report| &report.message))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = status(&error);
        let mut report = Report::new(status, kind(&error), error.to_string());
        report.is_retryable = error.is_retryable();
        report.retry_after_seconds = error.retry_after().map(|after| after.as_secs_f64());
        if let Some(decision) = error.acquisition() {
            report.add(decision);
        }
        Self { status, report: Some(Box::new(report)) }
    }
}

impl Report {
    fn new(status: Status, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            http_status: None,
            aadsts_codes: Vec::new(),
            suberror: None,
            claims: None,
            correlation_id: None,
            trace_id: None,
            timestamp: None,
            is_retryable: false,
            retry_after_seconds: None,
            help: None,
            exit_status: status as u8,
        }
    }

    fn add(&mut self, error: &AcquisitionError) {
        self.code = Some(error.code.clone());
        self.http_status = error.status;
        self.aadsts_codes.clone_from(&error.aadsts_codes);
        self.suberror.clone_from(&error.suberror);
        self.claims.clone_from(&error.claims);
        self.correlation_id = Some(error.correlation_id.clone()).filter(|id| !id.is_empty());
        self.trace_id.clone_from(&error.trace_id);
        self.timestamp.clone_from(&error.timestamp);
        self.help = help(error.kind);
    }

    fn to_text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        let codes: Vec<_> = self.aadsts_codes.iter().map(|code| format!("AADSTS{code}")).collect();
        let retry = self
            .retry_after_seconds
            .map(|seconds| format!("in {}", words(Duration::from_secs_f64(seconds.max(0.0)))));
        let details = [
            ("kind", self.code.as_ref().map(|_| self.kind.to_owned())),
            ("codes", Some(codes.join(", ")).filter(|codes| !codes.is_empty())),
            ("suberror", self.suberror.clone()),
            ("HTTP status", self.http_status.map(|status| status.to_string())),
            ("claims", self.claims.clone()),
            ("correlation id", self.correlation_id.clone()),
            ("trace id", self.trace_id.clone()),
            ("timestamp", self.timestamp.clone()),
            ("try again", retry),
            ("what helps", self.help.map(str::to_owned)),
        ];
        for (name, value) in details {
            if let Some(value) = value {
                // Writing to a string can't fail.
                let _ = write!(text, "\n  {name}: {value}");
            }
        }
        text
    }
}

/// The exit status for an error.
fn status(error: &Error) -> Status {
    match error {
        Error::Configuration(_) | Error::Credential(_) => Status::Configuration,
        Error::Acquisition(error) => status_of_decision(error),
        Error::Downstream(error) => status_of_call(error),
        Error::DeadlineExceeded { .. } => Status::NoAnswer,
        _ => Status::Internal,
    }
}

fn status_of_call(error: &DownstreamError) -> Status {
    use DownstreamErrorKind as Kind;
    let transport = error.transport.as_ref().filter(|_| error.kind != Kind::InvalidRequest);
    if let Some(status) = transport.and_then(|transport| status_of_transport(transport.kind())) {
        return status;
    }
    match error.kind {
        Kind::InvalidRequest => Status::Configuration,
        Kind::Refused | Kind::ResponseTooLarge | Kind::MalformedResponse => Status::Refused,
        Kind::TransportFailed | Kind::LateClientAuth | Kind::DeadlineExceeded => Status::NoAnswer,
        _ => Status::Internal,
    }
}

fn status_of_decision(error: &AcquisitionError) -> Status {
    if let Some(status) = error.transport.as_ref().and_then(|transport| status_of_transport(transport.kind()))
    {
        return status;
    }
    status_of_kind(error.kind, error.status.is_some())
}

/// The exit status for a decision. `answered` is whether it follows from an answer of the authority.
fn status_of_kind(kind: ErrorKind, answered: bool) -> Status {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::CredentialUnavailable | ErrorKind::CredentialUnsupported => {
            if answered {
                Status::Refused
            } else {
                Status::Configuration
            }
        }
        ErrorKind::Refused
        | ErrorKind::InvalidClient
        | ErrorKind::InteractionRequired
        | ErrorKind::Throttled
        | ErrorKind::BoundTransportNotEnabled
        | ErrorKind::ProtocolViolation => Status::Refused,
        ErrorKind::TemporarilyUnavailable if answered => Status::Refused,
        ErrorKind::TemporarilyUnavailable | ErrorKind::TransportFailed | ErrorKind::OutcomeUnknown => {
            Status::NoAnswer
        }
        _ => Status::Internal,
    }
}

/// What the transport saw decides where an answer came that can't be used, and where nothing was sent at all.
fn status_of_transport(kind: TransportErrorKind) -> Option<Status> {
    use TransportErrorKind as Kind;
    match kind {
        Kind::ResponseTooLarge | Kind::MalformedResponse => Some(Status::Refused),
        Kind::PolicyRefused | Kind::SecretNotRepresentable => Some(Status::Configuration),
        Kind::InvalidRequest
        | Kind::ContentLengthGiven
        | Kind::SecretPlaceMissing
        | Kind::SecretPlaceNotEmpty
        | Kind::SecretPlaceRepeated => Some(Status::Internal),
        _ => None,
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Configuration(_) => "configuration",
        Error::Acquisition(error) => error.kind.as_str(),
        Error::Credential(_) => "credential-unavailable",
        Error::Downstream(error) => error.kind.as_str(),
        Error::Guest(_) => "guest",
        Error::InFlightLimit { .. } => "in-flight-limit",
        Error::ApplicationInFlightLimit { .. } => "application-in-flight-limit",
        Error::DeadlineExceeded { .. } => "deadline-exceeded",
        Error::Engine(_) => "engine",
        _ => "internal",
    }
}

/// What the reader can do, where the message itself can't know it.
fn help(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::InteractionRequired => {
            "a person must sign in or consent; an application can't do that by itself"
        }
        ErrorKind::InvalidClient => {
            "compare ClientId, TenantId and the credential with the app registration; `symbolon check` shows which credential is used"
        }
        ErrorKind::Throttled => "fewer requests: keep the process, it keeps its tokens",
        ErrorKind::TemporarilyUnavailable => "try again later",
        ErrorKind::OutcomeUnknown => "the request may have had its effect; it must not be sent again",
        ErrorKind::BoundTransportNotEnabled => {
            "have mutual TLS enabled for the app registration, or use the credential without UseBoundCredential"
        }
        _ => return None,
    })
}

fn words(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 120.0 => format!("{} s", seconds.ceil()),
        seconds => format!("{} min", (seconds / 60.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use symbolon::GuestFailure;

    use super::*;

    #[test]
    fn the_exit_status_follows_from_the_decision() {
        use ErrorKind as Kind;
        for (kind, unanswered, answered) in [
            (Kind::InvalidRequest, 2, 3),
            (Kind::CredentialUnavailable, 2, 3),
            (Kind::CredentialUnsupported, 2, 3),
            (Kind::InteractionRequired, 3, 3),
            (Kind::InvalidClient, 3, 3),
            (Kind::Refused, 3, 3),
            (Kind::Throttled, 3, 3),
            (Kind::BoundTransportNotEnabled, 3, 3),
            (Kind::ProtocolViolation, 3, 3),
            (Kind::TemporarilyUnavailable, 4, 3),
            (Kind::TransportFailed, 4, 4),
            (Kind::OutcomeUnknown, 4, 4),
        ] {
            let found = (status_of_kind(kind, false) as u8, status_of_kind(kind, true) as u8);
            assert_eq!(found, (unanswered, answered), "{kind}");
        }
    }

    #[test]
    fn the_transport_tells_apart_what_a_decision_does_not() {
        use TransportErrorKind as Kind;
        for (kind, expected) in [
            (Kind::ResponseTooLarge, Some(Status::Refused)),
            (Kind::MalformedResponse, Some(Status::Refused)),
            (Kind::PolicyRefused, Some(Status::Configuration)),
            (Kind::SecretPlaceMissing, Some(Status::Internal)),
            (Kind::CertificateUntrusted, None),
            (Kind::ResetInBody, None),
            (Kind::Dns, None),
        ] {
            assert_eq!(status_of_transport(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn the_exit_status_of_errors_without_a_decision() {
        let budget = Duration::from_millis(100);
        for (error, expected, kind) in [
            (Error::DeadlineExceeded { limit: budget }, Status::NoAnswer, "deadline-exceeded"),
            (Error::InFlightLimit { limit: 1 }, Status::Internal, "in-flight-limit"),
            (Error::ApplicationInFlightLimit { limit: 1 }, Status::Internal, "application-in-flight-limit"),
            (Error::Guest(GuestFailure::CpuBudget { budget }), Status::Internal, "guest"),
            (Error::Engine(Arc::from("no")), Status::Internal, "engine"),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.status(), failure.kind()), (expected, kind));
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.status(), Status::Ok);
        let failure = Failure::output(io::ErrorKind::StorageFull.into());
        assert_eq!(failure.status(), Status::Configuration);
    }

    fn report() -> Report {
        let mut report = Report::new(Status::Refused, "throttled", "too many requests");
        report.code = Some("request_throttled".to_owned());
        report.http_status = Some(429);
        report.aadsts_codes = vec![90055];
        report.correlation_id = Some("c".to_owned());
        report.is_retryable = true;
        report.retry_after_seconds = Some(2.5);
        report.help = help(ErrorKind::Throttled);
        report
    }

    #[test]
    fn a_failure_in_words() {
        assert_eq!(
            report().to_text(),
            "error: too many requests\n  kind: throttled\n  codes: AADSTS90055\n  HTTP status: 429\n  \
             correlation id: c\n  try again: in 3 s\n  what helps: fewer requests: keep the process, it keeps its tokens"
        );
        assert_eq!(Report::new(Status::Configuration, "usage", "no").to_text(), "error: no");
    }

    #[test]
    fn a_failure_as_json() {
        let failure = Failure { status: Status::Refused, report: Some(Box::new(report())) };
        let expected = serde_json::json!({ "error": {
            "kind": "throttled", "code": "request_throttled", "message": "too many requests", "httpStatus": 429,
            "aadstsCodes": [90055], "suberror": null, "claims": null, "correlationId": "c", "traceId": null,
            "timestamp": null, "isRetryable": true, "retryAfterSeconds": 2.5,
            "help": "fewer requests: keep the process, it keeps its tokens", "exitStatus": 3,
        }});
        assert_eq!(failure.to_json(), expected);
    }
}
