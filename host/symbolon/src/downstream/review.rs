//! What an answer asks for. The protocol says so; here is only what it is asked about.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Response, StatusCode};
use symbolon_resources::configuration::ProtocolScheme;
use symbolon_resources::transport::{Body, TransportError, TransportErrorKind};
use uuid::Uuid;

use super::options::DownstreamApiOptions;
use crate::application::Application;
use crate::engine::{Answer, ApiAnswer, Origin, Presented, Question, Refusal};
use crate::error::{Error, Result};

pub(crate) use crate::engine::Verdict;

/// Asks the protocol what an answer asks for, where it may ask for something.
pub(crate) async fn review(
    application: &Application,
    options: &DownstreamApiOptions,
    outcome: &Result<Response<Body>, TransportError>,
    attempt: u32,
) -> Result<Verdict> {
    let presented = match options.protocol_scheme {
        ProtocolScheme::Mtls => Presented::Certificate,
        _ => Presented::Token,
    };
    let (answer, challenges) = match outcome {
        Ok(response) => {
            let challenges = challenges(response.headers());
            let may_ask = match presented {
                Presented::Certificate => response.status().is_client_error(),
                Presented::Token => !challenges.is_empty(),
            };
            if !may_ask {
                return Ok(Verdict::Accept);
            }
            (ApiAnswer::Status(response.status().as_u16()), challenges)
        }
        Err(error) => match error.kind() {
            TransportErrorKind::ClientCertificateRefused(alert) => (ApiAnswer::Alert(alert), Vec::new()),
            _ => return Ok(Verdict::Accept),
        },
    };
    let bad_request_rejects = options.limits.rejected_by_bad_request;
    ask(application, Refusal { presented, answer, challenges, attempt, bad_request_rejects }).await
}

/// The claims that an answer to a call with a token asks for.
pub(super) async fn challenge(
    application: &Application,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<String>> {
    let challenges = challenges(headers);
    if challenges.is_empty() {
        return Ok(None);
    }
    let answer = ApiAnswer::Status(status.as_u16());
    let (presented, attempt, bad_request_rejects) = (Presented::Token, 1, false);
    let refusal = Refusal { presented, answer, challenges, attempt, bad_request_rejects };
    match ask(application, refusal).await? {
        Verdict::AcquireWithClaims(claims) => Ok(Some(claims)),
        _ => Ok(None),
    }
}

async fn ask(application: &Application, refusal: Refusal) -> Result<Verdict> {
    let origin = Origin::new("review", Uuid::new_v4());
    match application.ask(origin, Question::Review(refusal)).await? {
        Answer::Reviewed(verdict) => Ok(verdict),
        _ => Err(Error::unexpected_answer()),
    }
}

fn challenges(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}
