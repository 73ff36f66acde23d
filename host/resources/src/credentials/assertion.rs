//! Tokens that stand in for a client assertion, and what they are wanted for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::binding::Binding;

/// A future that is sent between threads, as traits that are made into objects return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A token made elsewhere that stands in for a client assertion, with the certificate that it is bound to. Both come from
/// one call, so they belong together. The token is wiped on drop; `Debug` shows none of it.
#[derive(Clone)]
pub struct SignedAssertion {
    assertion: Arc<Zeroizing<String>>,
    expires_on_unix: Option<u64>,
    binding: Option<Arc<Binding>>,
}

impl SignedAssertion {
    /// A token in compact form, and when it stops being accepted, in seconds since 1970.
    pub fn new(assertion: impl Into<String>, expires_on_unix: Option<u64>) -> Self {
        Self::from_zeroizing(Zeroizing::new(assertion.into()), expires_on_unix)
    }

    pub(super) fn from_zeroizing(assertion: Zeroizing<String>, expires_on_unix: Option<u64>) -> Self {
        Self { assertion: Arc::new(assertion), expires_on_unix, binding: None }
    }

    /// The same, bound to this certificate: whoever sends the token presents it in the TLS handshake.
    pub fn with_binding(mut self, binding: Arc<Binding>) -> Self {
        self.binding = Some(binding);
        self
    }

    /// The token in compact form, for the moment in which it is put into a request.
    pub fn expose(&self) -> &str {
        &self.assertion
    }

    /// When it stops being accepted, in seconds since 1970.
    pub fn expires_on_unix(&self) -> Option<u64> {
        self.expires_on_unix
    }

    /// The certificate that it is bound to.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        self.binding.as_ref()
    }
}

impl fmt::Debug for SignedAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedAssertion")
            .field("expires_on_unix", &self.expires_on_unix)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

/// What a signed assertion is wanted for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssertionContext {
    /// The client that will present it.
    pub client_id: String,
    /// The token endpoint that it will be presented to.
    pub token_endpoint: String,
    /// The authority of the request as an https URL, before it became that endpoint.
    pub authority: String,
    /// The directory, where the authority names one.
    pub tenant_id: Option<String>,
    /// The FMI path that the assertion should carry.
    pub fmi_path: Option<String>,
    /// The claims challenge that the assertion should satisfy, as JSON.
    pub claims: Option<String>,
    /// What the client can do, such as `cp1`.
    pub client_capabilities: Vec<String>,
    /// Correlates the call with the acquisition that needs it.
    pub correlation_id: Option<String>,
}

impl AssertionContext {
    /// The context of a client at a token endpoint.
    pub fn new(client_id: impl Into<String>, token_endpoint: impl Into<String>) -> Self {
        Self { client_id: client_id.into(), token_endpoint: token_endpoint.into(), ..Self::default() }
    }
}

/// Whether a token that stands in for an assertion is asked for with a certificate that it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AssertionBinding {
    /// It needn't be bound. One that is bound all the same is used so.
    #[default]
    Unbound,
    /// Bound where that is possible, otherwise not.
    Preferred,
    /// Bound, or an error.
    Required,
}

/// Makes signed assertions for entries with `SourceType` `CustomSignedAssertion` that name it.
pub trait SignedAssertionProvider: Send + Sync {
    /// Makes an assertion. Called for each token request that needs one, cached answers are the provider's own business;
    /// where [`supports_token_binding`](Self::supports_token_binding) says so and a bound one is wanted, also once when the
    /// credential is selected, with the authority in the place of the token endpoint, to learn the certificate.
    ///
    /// # Errors
    ///
    /// Whatever went wrong. The error's text reaches logs and callers, so it holds no secret.
    fn assertion<'a>(
        &'a self,
        request: AssertionRequest<'a>,
    ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn std::error::Error + Send + Sync>>>;

    /// Whether assertions may come with a certificate. The default is no.
    fn supports_token_binding(&self) -> bool {
        false
    }
}

/// A call of a [`SignedAssertionProvider`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AssertionRequest<'a> {
    /// What the assertion is wanted for.
    pub context: &'a AssertionContext,
    /// `CustomSignedAssertionProviderData` of the entry, in order.
    pub data: &'a [(String, String)],
    /// Whether the assertion should be bound to a certificate.
    pub binding: AssertionBinding,
}

impl<'a> AssertionRequest<'a> {
    pub(super) fn new(
        context: &'a AssertionContext,
        data: &'a [(String, String)],
        binding: AssertionBinding,
    ) -> Self {
        Self { context, data, binding }
    }
}

/// `exp` of a JWT (RFC 7519 §4.1.4) in compact form, in whole seconds since 1970. Nobody has checked the signature: that
/// is for the authority that the JWT is presented to.
pub(super) fn expiry(jwt: &str) -> Option<u64> {
    let mut segments = jwt.split('.');
    let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
    if segments.next().is_some() {
        return None;
    }
    for segment in [header, signature] {
        BASE64_URL_SAFE_NO_PAD.decode(segment).ok()?;
    }
    let payload = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?);
    let Payload { exp } = serde_json::from_slice(&payload).ok()?;
    match exp {
        Number::Whole(seconds) => Some(seconds),
        // A date beyond all numbers of seconds is no date.
        Number::Fraction(seconds) if (0.0..9e15).contains(&seconds) => Some(seconds as u64),
        Number::Fraction(_) => None,
    }
}

#[derive(Deserialize)]
struct Payload {
    exp: Number,
}

/// `NumericDate` may have a fraction.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Fraction(f64),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jwt(payload: &str) -> String {
        format!("{}.{}.{}", encoded(r#"{"alg":"none"}"#), encoded(payload), encoded("signature"))
    }

    fn encoded(text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn an_expiry_is_a_date_in_a_jwt() {
        for (payload, expected) in [
            (r#"{"exp":1700000000}"#, Some(1_700_000_000)),
            (r#"{"aud":["x"],"exp":1700000000.9,"sub":"y"}"#, Some(1_700_000_000)),
            (r#"{"exp":"1700000000"}"#, None),
            (r#"{"exp":-1}"#, None),
            (r#"{"exp":1e300}"#, None),
            (r#"{"nbf":1}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(expiry(&jwt(payload)), expected, "{payload}");
        }
        let good = jwt(r#"{"exp":1}"#);
        for bad in [
            good.replace('.', ""),
            format!("{good}.{good}"),
            format!("{good}="),
            format!(" {good}"),
            format!("!{good}"),
        ] {
            assert_eq!(expiry(&bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", SignedAssertion::new("canary", Some(1)));
        assert!(!shown.contains("canary") && shown.contains("Some(1)"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_expiry_survives(exp in 0_u64..u64::MAX) {
            prop_assert_eq!(expiry(&jwt(&format!(r#"{{"exp":{exp}}}"#))), Some(exp));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = expiry(&text);
            let _ = expiry(&jwt(&text));
        }
    }
}
