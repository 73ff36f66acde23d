//! What an API answered.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use symbolon_resources::transport::Body;

use super::authorization::AuthorizationHeader;
use super::error::{DownstreamError, DownstreamErrorKind};
use crate::error::Result;

/// What an API answered: the head, and a body that is still to be read. `Debug` shows neither headers nor body.
pub struct DownstreamResponse {
    api: Arc<str>,
    response: Response<Body>,
    presented: Presented,
    limit: usize,
}

/// What a call presented, and how it went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Presented {
    /// What was presented last.
    pub header: AuthorizationHeader,
    /// How often the call was sent: once or twice.
    pub attempts: u32,
    /// Why it was not sent a second time, where the API's answer asked for that.
    pub not_retried: Option<NotRetried>,
}

/// Why a call was not sent a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRetried {
    /// Its body was longer than what is kept, and is gone.
    Body,
    /// The certificate was read again, and is still the one that was rejected.
    SameCertificate,
    /// There was no certificate to try. Why not, in words.
    NoCertificate(Arc<str>),
}

impl fmt::Display for NotRetried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("its body is too long to be kept, and can't be sent a second time"),
            Self::SameCertificate => {
                f.write_str("the certificate that was rejected is still the one to present")
            }
            Self::NoCertificate(why) => write!(f, "no other certificate can be presented: {why}"),
        }
    }
}

impl DownstreamResponse {
    pub(super) fn new(api: Arc<str>, response: Response<Body>, presented: Presented, limit: usize) -> Self {
        Self { api, response, presented, limit }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.response.version()
    }

    /// What the call presented, and how it went.
    pub fn presented(&self) -> &Presented {
        &self.presented
    }

    /// Why the call was not sent a second time, where the API's answer asked for that.
    pub fn not_retried(&self) -> Option<&NotRetried> {
        self.presented.not_retried.as_ref()
    }

    /// The key of the long-running process, whether the caller chose it or not.
    #[doc(alias = "LongRunningWebApiSessionKey")]
    pub fn long_running_session_key(&self) -> Option<&str> {
        self.presented.header.long_running_session_key()
    }

    /// The next part of the body, as it arrives; nothing at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Downstream`](crate::Error::Downstream) where it breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|error| DownstreamError::transport(&self.api, error))?;
            if let Ok(part) = frame.into_data() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The answer in the types of the crate `http`, its body as a stream.
    pub fn into_http(self) -> Response<Body> {
        self.response
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// [`Error::Downstream`](crate::Error::Downstream) where it breaks off, or is longer than
    /// [`DownstreamApiLimits::max_response_bytes`](crate::DownstreamApiLimits::max_response_bytes).
    pub async fn bytes(mut self) -> Result<Bytes> {
        let (whole, is_cut) = self.read(self.limit).await?;
        match is_cut {
            false => Ok(whole),
            true => {
                let message = format!("the answer is longer than the limit of {} bytes", self.limit);
                Err(self.error(DownstreamErrorKind::ResponseTooLarge, message).into())
            }
        }
    }

    /// The whole body as text; what isn't UTF-8 is replaced.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    /// The whole body as a value in JSON, whatever its media type is.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and where it is no such value: the error names the place in it.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let (api, status) = (self.api.clone(), self.status());
        let bytes = self.bytes().await?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let (place, error) = (error.path().to_string(), error.into_inner());
            format!("the answer is not what is expected, at {place}: {error}")
        });
        let value = value.and_then(|value| match reader.end() {
            Ok(()) => Ok(value),
            Err(error) => Err(format!("the answer is not JSON: {error}")),
        });
        value.map_err(|message| {
            let error = DownstreamError::new(DownstreamErrorKind::MalformedResponse, &api, message);
            DownstreamError { status: Some(status), ..error }.into()
        })
    }

    /// The answer, unless its status is 400 or above: that is an error then.
    ///
    /// # Errors
    ///
    /// [`Error::Downstream`](crate::Error::Downstream) with the status, the beginning of the body, and the ids by which the
    /// API's logs know the call.
    pub async fn error_for_status(mut self) -> Result<Self> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(self);
        }
        // What breaks off is as good as what is too long.
        let (start, is_cut) = self.read(ERROR_BYTES).await.unwrap_or_default();
        let token = self.presented.header.authentication_result().map(|result| result.access_token());
        let mut text = redacted(&String::from_utf8_lossy(&start), token);
        if let Some((end, _)) = text.char_indices().nth(ERROR_CHARACTERS) {
            text.truncate(end);
            text.push_str(CUT);
        } else if is_cut {
            text.push_str(CUT);
        }
        let mut error = DownstreamError::refused(&self.api, status, self.headers(), text);
        if let Some(result) = self.presented.header.authentication_result() {
            error.correlation_ids.push(("token".to_owned(), result.correlation_id().to_string()));
        }
        Err(error.into())
    }

    /// So much of the body, and whether there was more.
    async fn read(&mut self, limit: usize) -> Result<(Bytes, bool)> {
        let mut whole = BytesMut::new();
        while let Some(part) = self.chunk().await? {
            if part.len() > limit.saturating_sub(whole.len()) {
                whole.extend(part.iter().take(limit.saturating_sub(whole.len())));
                return Ok((whole.freeze(), true));
            }
            whole.extend_from_slice(&part);
        }
        Ok((whole.freeze(), false))
    }

    fn error(&self, kind: DownstreamErrorKind, message: String) -> DownstreamError {
        DownstreamError { status: Some(self.status()), ..DownstreamError::new(kind, &self.api, message) }
    }
}

impl fmt::Debug for DownstreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownstreamResponse")
            .field("api", &self.api)
            .field("status", &self.status())
            .field("presented", &self.presented)
            .finish_non_exhaustive()
    }
}

/// A text without the token that was sent, and without whatever else begins as JSON Web Tokens do.
fn redacted(text: &str, token: Option<&str>) -> String {
    let text = match token.filter(|token| !token.is_empty()) {
        Some(token) => text.replace(token, REDACTED),
        None => text.to_owned(),
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(JWT) {
        let (before, found) = rest.split_at(start);
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = found.find(|c| !is_part(c)).unwrap_or(found.len());
        let (found, after) = found.split_at(end);
        out.push_str(before);
        out.push_str(if found.len() > SHORTEST { REDACTED } else { found });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// How much of a body is part of an error, in characters …
const ERROR_CHARACTERS: usize = 4096;
/// … and how many bytes these take at most.
const ERROR_BYTES: usize = 4 * ERROR_CHARACTERS;
const CUT: &str = "… (cut off)";
const REDACTED: &str = "(redacted)";
/// `{"` in base64url: how the header of a JSON Web Token begins.
const JWT: &str = "eyJ";
/// What is shorter holds nothing.
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_left_out_of_texts() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln";
        assert_eq!(redacted(&format!("bad {jwt}, {jwt}"), None), "bad (redacted), (redacted)");
        assert_eq!(redacted("bad opaque-token!", Some("opaque-token")), "bad (redacted)!");
        assert_eq!(redacted("eyJ is short, eyJhbGciOi too", None), "eyJ is short, eyJhbGciOi too");
    }
}
