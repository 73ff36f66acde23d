//! Where requests may go, and what a key may sign.

use alloc::format;
use alloc::string::String;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use symbolon_protocol::authority::Authority;
use symbolon_protocol::cloud::known_cloud;

use crate::settings::Settings;

/// The hosts of an application's authority.
#[derive(Debug)]
pub struct Egress {
    /// The authority's host, with the port when it isn't 443.
    host: String,
    region: Option<String>,
}

/// The members of a client assertion that say where it goes and how long it lasts.
#[derive(Deserialize)]
struct Assertion {
    aud: String,
    exp: u64,
}

impl Egress {
    /// The policy for a configuration.
    ///
    /// # Errors
    ///
    /// A sentence that names what is wrong with the authority.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let authority =
            Authority::parse(&settings.authority()?).map_err(|error| format!("AzureAd: {error}"))?;
        Ok(Self {
            host: authority.host().into(),
            region: settings.get("AzureAd:AzureRegion").map(Into::into),
        })
    }

    /// Whether a credential may be shown there: the authority's host, the other names of its cloud, and those with the
    /// region before them. `host` has the port when it isn't 443.
    pub fn allows_credential(&self, host: &str) -> bool {
        let regional = self.region.as_deref().and_then(|region| {
            let (label, rest) = host.split_once('.')?;
            label.eq_ignore_ascii_case(region).then_some(rest)
        });
        self.is_own(host) || regional.is_some_and(|rest| self.is_own(rest))
    }

    /// Whether a request without a credential may go there: the same, and every cloud that is known, because those are
    /// asked whether an authority is one.
    pub fn allows(&self, host: &str) -> bool {
        self.allows_credential(host) || known_cloud(host).is_some()
    }

    /// Whether this is what a key signs for its application: a client assertion for an endpoint where a credential may be
    /// shown, that ends within 10 minutes.
    pub fn allows_assertion(&self, signing_input: &[u8], now_unix: u64) -> bool {
        let payload = signing_input.split(|byte| *byte == b'.').nth(1);
        let json = payload.and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
        let assertion = json.and_then(|json| serde_json::from_slice::<Assertion>(&json).ok());
        assertion.is_some_and(|Assertion { aud, exp }| {
            let host = aud.strip_prefix("https://").and_then(|rest| rest.split('/').next());
            host.is_some_and(|host| self.allows_credential(host)) && exp <= now_unix + LONGEST_ASSERTION
        })
    }

    fn is_own(&self, host: &str) -> bool {
        let cloud = known_cloud(&self.host);
        host.eq_ignore_ascii_case(&self.host)
            || cloud.is_some_and(|cloud| cloud.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host)))
    }
}

/// The host and port of `Symbolon:Gateway`: a process on the same machine that makes the TLS connections to the authority,
/// for hosts that don't trust the authority's roots.
///
/// # Errors
///
/// A sentence, for a gateway that requests would leave the machine to reach: they hold the credential.
pub fn gateway(settings: &Settings) -> Result<Option<String>, String> {
    const ACCEPTED: &str = "accepted: http://127.0.0.1:PORT, http://localhost:PORT, http://[::1]:PORT";
    let Some(url) = settings.get("Symbolon:Gateway") else { return Ok(None) };
    let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).unwrap_or_default();
    match authority.rsplit_once(':') {
        Some(("127.0.0.1" | "localhost" | "[::1]", port)) if port.parse::<u16>().is_ok() => {
            Ok(Some(authority.into()))
        }
        _ => Err(format!("Symbolon:Gateway: found {url}; {ACCEPTED}")),
    }
}

/// In seconds.
const LONGEST_ASSERTION: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn egress(authority: &str, region: &str) -> Egress {
        let values = [("AzureAd:Authority", authority), ("AzureAd:AzureRegion", region)];
        let values = values.map(|(name, value)| (name.to_string(), value.to_string()));
        Egress::new(&Settings::new(values)).unwrap()
    }

    #[test]
    fn credentials_are_shown_to_the_authority_alone() {
        let public = egress("https://login.microsoftonline.com/t", "westeurope");
        for (host, expected) in [
            ("login.microsoftonline.com", true),
            ("LOGIN.windows.net", true),
            ("westeurope.login.microsoft.com", true),
            ("eastus.login.microsoft.com", false),
            ("login.microsoftonline.us", false),
            ("login.microsoftonline.com:8443", false),
            ("evil.test", false),
        ] {
            assert_eq!(public.allows_credential(host), expected, "{host}");
        }
        assert!(public.allows("login.microsoftonline.us") && !public.allows("evil.test"));
        let own = egress("https://localhost:8443/t", "");
        assert!(own.allows_credential("localhost:8443"));
        assert!(!own.allows_credential("localhost") && !own.allows_credential("login.microsoftonline.com"));
        assert!(own.allows("login.microsoftonline.com"));
    }

    #[test]
    fn a_gateway_is_on_the_same_machine() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://localhost:8080/", Some("localhost:8080")),
            ("http://localhost", None),
            ("https://localhost:8080", None),
            ("http://gateway.test:8080", None),
            ("http://127.0.0.1:80@evil.test:8080", None),
        ] {
            let seen = gateway(&Settings::new([("Symbolon:Gateway".to_string(), url.to_string())]));
            assert_eq!(seen.ok().flatten().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn only_assertions_for_the_authority_are_signed() {
        let own = egress("https://localhost:8443/t", "");
        let input = |payload: &str| format!("e30.{}", BASE64_URL_SAFE_NO_PAD.encode(payload)).into_bytes();
        for (payload, expected) in [
            (r#"{"aud":"https://localhost:8443/t/oauth2/v2.0/token","exp":1600}"#, true),
            (r#"{"aud":"https://localhost:8443/t/oauth2/v2.0/token","exp":1601}"#, false),
            (r#"{"aud":"https://localhost:8443/t/oauth2/v2.0/token"}"#, false),
            (r#"{"aud":"https://evil.test/localhost:8443","exp":1600}"#, false),
            (r#"{"aud":"http://localhost:8443/t","exp":1600}"#, false),
            ("{}", false),
        ] {
            assert_eq!(own.allows_assertion(&input(payload), 1000), expected, "{payload}");
        }
        assert!(!own.allows_assertion(b"canary", 1000));
    }
}
