//! Whom an API lets in.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value, json};

use super::{CertificateRefusal, Demand, Shared};
use crate::{encoding::base64url, incoming::Incoming, jwt::Jwt, read};

/// What an API says to a request that it doesn't let in.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) challenge: Option<String>,
    pub(super) why: &'static str,
}

impl Refused {
    fn token(scheme: &str, why: &'static str) -> Self {
        let challenge = format!(r#"{scheme} realm="", error="invalid_token", error_description="{why}""#);
        Self { status: 401, challenge: Some(challenge), why }
    }
}

/// The token of a request: its scheme, and its claims where it is the authority's.
pub(super) struct Presented {
    pub(super) scheme: Option<String>,
    token: Option<String>,
    pub(super) claims: Option<Map<String, Value>>,
}

impl Presented {
    pub(super) fn read(headers: &HeaderMap, shared: &Shared) -> Self {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = match header.map(|header| header.split_once(' ').unwrap_or((header, ""))) {
            Some((scheme, token)) => (Some(scheme.to_owned()), Some(token.to_owned())),
            None => (None, None),
        };
        let verified = token.as_deref().filter(|token| Incoming::verify(token, shared.key()).is_ok());
        let claims = verified.and_then(Jwt::parse).map(|jwt| jwt.payload);
        Self { scheme, token, claims }
    }
}

impl Shared {
    /// How this certificate is refused, if it is.
    pub(super) fn refusal(&self, thumbprint: &str) -> Option<CertificateRefusal> {
        let rules = read(&self.rules);
        let accepted = rules.accepted.as_ref()?;
        let is_accepted = accepted.iter().any(|known| known == thumbprint);
        (!is_accepted).then(|| rules.refusal.unwrap_or(CertificateRefusal::Status(401)))
    }

    pub(super) fn admit(&self, presented: &Presented, certificate: Option<&str>) -> Result<(), Refused> {
        match &self.demand {
            Demand::Nothing => Ok(()),
            Demand::Certificate => self.admit_certificate(certificate),
            Demand::Token(audience) => self.admit_token(audience, presented, certificate),
        }
    }

    fn admit_certificate(&self, certificate: Option<&str>) -> Result<(), Refused> {
        let refused =
            |status| Refused { status, challenge: None, why: "the client certificate is not accepted" };
        let Some(certificate) = certificate else {
            return Err(Refused { why: "there is no client certificate", ..refused(401) });
        };
        match self.refusal(certificate) {
            None => Ok(()),
            Some(CertificateRefusal::Status(status)) => Err(refused(status)),
            Some(_) => Err(refused(401)),
        }
    }

    fn admit_token(
        &self,
        audience: &str,
        presented: &Presented,
        certificate: Option<&str>,
    ) -> Result<(), Refused> {
        let Some(scheme) = presented.scheme.as_deref() else {
            return Err(Refused::token("Bearer", "there is no token"));
        };
        let token = presented.token.as_deref().unwrap_or_default();
        let incoming = Incoming::verify(token, self.key())
            .map_err(|_| Refused::token(scheme, "the token is not the authority's"))?;
        if incoming.audience != audience {
            return Err(Refused::token(scheme, "the token is for another audience"));
        }
        let now_unix = self.authority.clock.now_unix();
        incoming.check_time(now_unix).map_err(|_| Refused::token(scheme, "the token is expired"))?;
        let expected = if incoming.bound_to.is_some() { "mtls_pop" } else { "Bearer" };
        if !scheme.eq_ignore_ascii_case(expected) {
            return Err(Refused::token(expected, "the token comes by another scheme than its own"));
        }
        if incoming.bound_to.is_some() && incoming.bound_to.as_deref() != certificate {
            return Err(Refused::token(
                scheme,
                "the token is bound to another certificate than the connection's",
            ));
        }
        self.admit_claims(scheme, presented)
    }

    /// The challenge of continuous access evaluation and of authentication contexts.
    fn admit_claims(&self, scheme: &str, presented: &Presented) -> Result<(), Refused> {
        let rules = read(&self.rules);
        let Some(demanded) = rules.acrs.as_deref() else { return Ok(()) };
        let acrs = presented.claims.as_ref().and_then(|claims| claims.get("acrs")).and_then(Value::as_array);
        if acrs.is_some_and(|acrs| acrs.iter().any(|value| value == demanded)) {
            return Ok(());
        }
        let claims = json!({ "access_token": { "acrs": { "essential": true, "value": demanded } } });
        let claims = base64url(claims.to_string().as_bytes());
        let challenge = format!(
            r#"{scheme} realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="{claims}""#
        );
        Err(Refused { status: 401, challenge: Some(challenge), why: "the token lacks claims" })
    }

    fn key(&self) -> &crate::Certificate {
        self.authority.key.certificate()
    }
}
