//! The steps of an acquisition, as they are kept and written.

use serde::Serialize;
use symbolon::{
    EntryFailure, Event, Outcome, RecordedFailure, RecordedRequest, RecordedToken, RecordedValue,
};

use super::micros;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    /// When it had happened, counted from the acquisition's beginning.
    pub(super) at_micros: u64,
    /// How many other acquisitions it is inside of.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) depth: u32,
    /// The application of that inner acquisition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inside: Option<String>,
    #[serde(flatten)]
    pub(super) happening: Happening,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum Happening {
    Began {
        scopes: Vec<String>,
        mtls_pop: bool,
        forced: bool,
        proactive: bool,
    },
    InstanceStarted {
        kept: bool,
    },
    InstanceStopped {
        why: String,
    },
    CacheLookedUp {
        answer: &'static str,
        joined: u32,
        duration_micros: u64,
    },
    CacheStored {
        entries: usize,
    },
    FlightFailed {
        code: String,
    },
    FactAsked {
        about: &'static str,
        known: bool,
    },
    FactLearnt {
        about: &'static str,
        lasts_ms: u64,
    },
    CredentialSelected {
        name: String,
        credential: &'static str,
        thumbprint_sha256: Option<String>,
        passed_over: Vec<PassedOver>,
        duration_micros: u64,
    },
    CredentialUnavailable {
        why: String,
        duration_micros: u64,
    },
    CredentialReported {
        name: String,
        accepted: bool,
    },
    AssertionMade {
        name: String,
        algorithm: Option<&'static str>,
        made: bool,
        duration_micros: u64,
    },
    RequestSent {
        request: Request,
    },
    RequestEnded {
        attempt: u32,
        authority: String,
        status: Option<u16>,
        error: Option<String>,
        body_bytes: Option<usize>,
        duration_micros: u64,
    },
    Paused {
        duration_micros: u64,
    },
    Abandoned,
    Ended {
        reused: bool,
        duration_micros: u64,
        outcome: End,
    },
}

/// A credential that can't be used.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PassedOver {
    pub(super) place: String,
    pub(super) source: String,
    pub(super) why: String,
}

/// How it ended.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum End {
    Token {
        token_type: String,
        token_source: &'static str,
        cache_refresh_reason: &'static str,
        expires_on: u64,
        scopes: Vec<String>,
        tenant_id: Option<String>,
        token_endpoint: Option<String>,
        region_used: Option<String>,
        bound_to: Option<String>,
    },
    Failure {
        error: &'static str,
        code: String,
        retryable: bool,
        retry_after_ms: Option<u64>,
        status: Option<u16>,
        aadsts_codes: Vec<u32>,
        suberror: Option<String>,
        trace_id: Option<String>,
        transport: Option<String>,
    },
}

/// A request as it may be shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) attempt: u32,
    pub(super) method: String,
    pub(super) scheme: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Vec<Field>,
    pub(super) headers: Vec<Field>,
    pub(super) form: Vec<Field>,
    pub(super) body_bytes: Option<usize>,
    /// The `x5t#S256` of the certificate that is presented.
    pub(super) certificate: Option<String>,
    /// The place that a secret is put into.
    pub(super) secret: Option<String>,
}

/// A name with its value, or the length of a value that isn't shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_bytes: Option<usize>,
}

impl Happening {
    /// Nothing for an event of a later version.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        Some(match *event {
            Event::Began(began) => Self::Began {
                scopes: began.scopes.iter().map(|scope| printable(scope)).collect(),
                mtls_pop: began.mtls_pop,
                forced: began.forced,
                proactive: began.proactive,
            },
            Event::InstanceStarted { kept } => Self::InstanceStarted { kept },
            Event::InstanceStopped(failure) => Self::InstanceStopped { why: printable(&failure.to_string()) },
            Event::CacheLookedUp { answer, joined, duration } => {
                Self::CacheLookedUp { answer: answer.as_str(), joined, duration_micros: micros(duration) }
            }
            Event::CacheStored { entries } => Self::CacheStored { entries },
            Event::FlightFailed { code } => Self::FlightFailed { code: printable(code) },
            Event::FactAsked { about, known } => Self::FactAsked { about, known },
            Event::FactLearnt { about, lasts } => Self::FactLearnt { about, lasts_ms: micros(lasts) / 1000 },
            Event::CredentialSelected(selected) => Self::CredentialSelected {
                name: selected.name.to_owned(),
                credential: selected.kind,
                thumbprint_sha256: selected.thumbprint_sha256.map(str::to_owned),
                passed_over: selected.passed_over.iter().map(PassedOver::from).collect(),
                duration_micros: micros(selected.duration),
            },
            Event::CredentialUnavailable(unavailable) => Self::CredentialUnavailable {
                why: printable(&unavailable.error.to_string()),
                duration_micros: micros(unavailable.duration),
            },
            Event::CredentialReported { name, accepted } => {
                Self::CredentialReported { name: name.to_owned(), accepted }
            }
            Event::AssertionMade { name, algorithm, made, duration } => {
                let duration_micros = micros(duration);
                Self::AssertionMade { name: name.to_owned(), algorithm, made, duration_micros }
            }
            Event::RequestSent(request) => Self::RequestSent { request: request.into() },
            Event::RequestEnded(ended) => Self::RequestEnded {
                attempt: ended.request.attempt,
                authority: ended.request.authority.clone(),
                status: ended.outcome.ok(),
                error: ended.outcome.err().map(|error| printable(&error.to_string())),
                body_bytes: ended.body_bytes,
                duration_micros: micros(ended.duration),
            },
            Event::Paused { duration } => Self::Paused { duration_micros: micros(duration) },
            Event::Abandoned => Self::Abandoned,
            Event::Ended(ended) => Self::Ended {
                reused: ended.reused,
                duration_micros: micros(ended.duration),
                outcome: match ended.outcome {
                    Outcome::Token(token) => token.into(),
                    Outcome::Failed(failure) => failure.into(),
                    _ => return None,
                },
            },
            _ => return None,
        })
    }

    /// Whether an earlier answer to the same request stood.
    pub(super) fn is_reuse(&self) -> bool {
        matches!(self, Self::Ended { reused: true, .. })
    }
}

impl From<&EntryFailure> for PassedOver {
    fn from(failure: &EntryFailure) -> Self {
        Self {
            place: printable(&failure.place),
            source: printable(&failure.source),
            why: printable(&failure.reason.to_string()),
        }
    }
}

impl From<RecordedToken<'_>> for End {
    fn from(token: RecordedToken<'_>) -> Self {
        Self::Token {
            token_type: printable(token.token_type()),
            token_source: token.source().as_str(),
            cache_refresh_reason: token.cache_refresh_reason().as_str(),
            expires_on: token.expires_on_unix(),
            scopes: token.scopes().map(printable).collect(),
            tenant_id: token.tenant_id().map(printable),
            token_endpoint: token.token_endpoint().map(printable),
            region_used: token.region_used().map(printable),
            bound_to: token.bound_to().map(str::to_owned),
        }
    }
}

impl From<RecordedFailure<'_>> for End {
    fn from(failure: RecordedFailure<'_>) -> Self {
        Self::Failure {
            error: failure.kind(),
            code: printable(failure.code()),
            retryable: failure.is_retryable(),
            retry_after_ms: failure.retry_after().map(|pause| micros(pause) / 1000),
            status: failure.status(),
            aadsts_codes: failure.aadsts_codes().to_vec(),
            suberror: failure.suberror().map(printable),
            trace_id: failure.trace_id().map(printable),
            transport: failure.transport().map(|error| printable(&error.to_string())),
        }
    }
}

impl From<&RecordedRequest> for Request {
    fn from(request: &RecordedRequest) -> Self {
        let fields = |fields: &[(String, RecordedValue)]| fields.iter().map(Field::from).collect();
        Self {
            attempt: request.attempt,
            method: request.method.to_string(),
            scheme: request.scheme.clone(),
            authority: request.authority.clone(),
            path: request.path.clone(),
            query: fields(&request.query),
            headers: fields(&request.headers),
            form: fields(&request.form),
            body_bytes: request.body_bytes,
            certificate: request.certificate.clone(),
            secret: request.secret.clone(),
        }
    }
}

impl From<&(String, RecordedValue)> for Field {
    fn from((name, value): &(String, RecordedValue)) -> Self {
        let (value, redacted_bytes) = match value {
            RecordedValue::Shown(value) => (Some(value.clone()), None),
            RecordedValue::Redacted { bytes } => (None, Some(*bytes)),
            _ => (None, Some(0)),
        };
        Self { name: name.clone(), value, redacted_bytes }
    }
}

/// What others said, without what looks like a token: a server may repeat what it was sent. What begins like that is a JSON
/// object in base64url.
fn printable(text: &str) -> String {
    let mut words = text.split(' ').map(|word| match word.find("eyJ") {
        Some(at) => format!("{}[redacted]", &word[..at]),
        None => word.to_owned(),
    });
    let first = words.next().unwrap_or_default();
    words.fold(first, |text, word| text + " " + &word)
}

fn is_zero(depth: &u32) -> bool {
    *depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_is_cut_off() {
        assert_eq!(printable("AADSTS1: token=eyJhbGci.e30.sig is bad"), "AADSTS1: token=[redacted] is bad");
        assert_eq!(printable("two  spaces and\nlines"), "two  spaces and\nlines");
    }
}
