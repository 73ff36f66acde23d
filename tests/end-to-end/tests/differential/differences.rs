//! The differences that there are, and why.

use std::fmt;

use serde_json::Value;

use crate::requests::{Found, Kind, Report};

/// A field in which the requests differ, and what each side's is: text, or [`NONE`] or [`SOME`].
struct Difference {
    field: &'static str,
    at: At,
    symbolon: &'static str,
    msal: &'static str,
    why: &'static str,
}

/// The field isn't there.
const NONE: &str = "";
/// The field is there, with a value that says nothing here.
const SOME: &str = "*";

/// Where a difference is. It must be wherever this says, and nowhere else.
#[derive(Debug)]
enum At {
    /// In each token request.
    TokenRequests,
    /// In each request of this kind.
    Requests(Kind),
    /// In these steps.
    Steps(&'static [&'static str]),
    /// In at least one step.
    SomeSteps,
}

const fn differ(
    field: &'static str,
    at: At,
    symbolon: &'static str,
    msal: &'static str,
    why: &'static str,
) -> Difference {
    Difference { field, at, symbolon, msal, why }
}

const DIFFERENCES: &[Difference] = &[
    differ(
        "header x-client-sku",
        At::TokenRequests,
        "Symbolon",
        "MSAL.Python",
        "another client, which says so",
    ),
    differ("header x-client-ver", At::TokenRequests, SOME, "1.39.0", "another client, which says so"),
    differ(
        "header x-client-os",
        At::TokenRequests,
        NONE,
        SOME,
        "the sandbox doesn't know the system it runs on",
    ),
    differ(
        "header x-client-current-telemetry",
        At::TokenRequests,
        SOME,
        SOME,
        "schema 5, as MSAL.NET sends it; MSAL for Python is at schema 4, with other numbers for the same calls",
    ),
    differ(
        "header x-client-last-telemetry",
        At::TokenRequests,
        NONE,
        SOME,
        "belongs to schema 4; MSAL.NET doesn't send it either",
    ),
    differ(
        "header return-client-request-id",
        At::TokenRequests,
        "true",
        NONE,
        "the answer's id is compared with the request's, as MSAL.NET does",
    ),
    differ(
        "header accept",
        At::TokenRequests,
        NONE,
        "application/json",
        "token endpoints answer with nothing else (RFC 6749 §5.1), and MSAL.NET sends none",
    ),
    differ("header user-agent", At::TokenRequests, NONE, SOME, "that of MSAL for Python's HTTP library"),
    differ(
        "protocol",
        At::TokenRequests,
        "HTTP/2.0",
        "HTTP/1.1",
        "MSAL for Python's HTTP library has no HTTP/2",
    ),
    differ(
        "form client_info",
        At::Requests(Kind::CLIENT_CREDENTIALS),
        "2",
        "1",
        "as MSAL.NET asks where there is no user",
    ),
    differ(
        "form client_assertion payload nbf",
        At::Steps(&[
            "client credentials, certificate",
            "client credentials, x5c",
            "client credentials, x5c of a chain",
            "client credentials, SHA-1",
            "region, x5c",
            "on behalf of, x5c",
        ]),
        "a time",
        NONE,
        "as MSAL.NET sends it; MSAL for Python has iat alone",
    ),
    differ(
        "form client_assertion header x5c",
        At::Steps(&["client credentials, x5c of a chain"]),
        SOME,
        SOME,
        "the certificates that lead to the issuer go along (RFC 7515 §4.1.6); MSAL for Python sends the first alone",
    ),
    differ(
        "form client_assertion header alg",
        At::Steps(&["client credentials, SHA-1"]),
        "PS256",
        "RS256",
        "MSAL for Python's way for a certificate that is named by its SHA-1 thumbprint; Entra ID doesn't need it",
    ),
    differ(
        "form client_assertion header x5t",
        At::Steps(&["client credentials, SHA-1"]),
        NONE,
        SOME,
        "the same: SHA-1 is for AD FS",
    ),
    differ(
        "form client_assertion header x5t#S256",
        At::Steps(&["client credentials, SHA-1"]),
        SOME,
        NONE,
        "the same: SHA-256 is for Entra ID",
    ),
    differ(
        "form client_assertion payload aud",
        At::Steps(&["region, x5c"]),
        "https://westus2.login.microsoft.com/{tenant}/oauth2/v2.0/token",
        "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        "an assertion is for the endpoint that it is sent to, as with MSAL.NET; Entra ID takes both",
    ),
    differ(
        "requests",
        At::Steps(&["on behalf of again", "agent's user again"]),
        "0",
        "1",
        "MSAL for Python leaves it to its callers to look for the token in the cache",
    ),
    differ(
        "token source",
        At::Steps(&["on behalf of again", "agent's user again"]),
        "cache",
        "identity_provider",
        "the same: the cached token serves",
    ),
    differ(
        "token source",
        At::Steps(&["renewal"]),
        "cache",
        "identity_provider",
        "the token that still lives is given out at once and renewed meanwhile; MSAL for Python lets its caller wait",
    ),
    differ(
        "GET /{tenant}/v2.0/.well-known/openid-configuration",
        At::SomeSteps,
        NONE,
        SOME,
        "the endpoints follow from the authority; MSAL for Python looks them up for each client, and for each region",
    ),
    differ(
        "GET /common/userrealm/alice@contoso.com",
        At::Steps(&["username and password"]),
        NONE,
        SOME,
        "finds out whether the user's password belongs to a federated issuer that speaks WS-Trust, which we don't",
    ),
    differ(
        "form code_verifier",
        At::Requests(Kind::AUTHORIZATION_CODE),
        "128 characters",
        "43 characters",
        "as long as RFC 7636 §4.1 allows, as MSAL.NET makes it",
    ),
    differ(
        "query nonce",
        At::Requests(Kind::AUTHORIZE),
        "43 characters",
        "64 characters",
        "256 bits in base64url; MSAL for Python sends a hash of its nonce, in hexadecimal",
    ),
    differ(
        "query state",
        At::Requests(Kind::AUTHORIZE),
        "43 characters",
        "22 characters",
        "256 bits instead of 128",
    ),
    differ(
        "query client-request-id",
        At::Requests(Kind::AUTHORIZE),
        "36 characters",
        NONE,
        "finds the sign-in in the authority's logs, as with MSAL.NET",
    ),
    differ(
        "query client_info",
        At::Requests(Kind::AUTHORIZE),
        NONE,
        "1",
        "the token request for the code asks for it, and that answer is the one that is used",
    ),
    differ(
        "query X-AnchorMailbox",
        At::Requests(Kind::AUTHORIZE),
        NONE,
        "21 characters",
        "a hint for the authority's servers, which login_hint gives as well",
    ),
];

/// Holds what was found against the list, both ways.
pub(crate) fn check(report: &Report) {
    let unlisted =
        report.found.iter().filter(|found| !DIFFERENCES.iter().any(|listed| listed.is(report, found)));
    let unlisted = unlisted.map(|found| format!("not listed: {}", Shown(report, found)));
    let missing = DIFFERENCES.iter().flat_map(|listed| listed.missing(report));
    let wrong: Vec<_> = unlisted.chain(missing).collect();
    assert!(wrong.is_empty(), "differences:\n{}", wrong.join("\n"));
    println!(
        "{} requests of {} steps compared, {} differences",
        report.requests.len(),
        report.steps.len(),
        DIFFERENCES.len()
    );
}

impl Difference {
    /// Whether this is what was found.
    fn is(&self, report: &Report, found: &Found) -> bool {
        let kind = found.request.and_then(|at| report.requests.get(at));
        let is_here = match &self.at {
            At::TokenRequests => kind.is_some_and(|kind| *kind != Kind::AUTHORIZE),
            At::Requests(expected) => kind == Some(expected),
            At::Steps(steps) => steps.contains(&found.step),
            At::SomeSteps => true,
        };
        is_here
            && self.field == found.field
            && matches(self.symbolon, &found.symbolon)
            && matches(self.msal, &found.msal)
    }

    /// Where it should have been found and wasn't.
    fn missing(&self, report: &Report) -> Vec<String> {
        let found: Vec<_> = report.found.iter().filter(|found| self.is(report, found)).collect();
        let in_requests = |expected: &dyn Fn(&Kind) -> bool| -> Vec<String> {
            let requests = report.requests.iter().enumerate().filter(|(_, kind)| expected(kind));
            let lacking = requests.filter(|(at, _)| !found.iter().any(|found| found.request == Some(*at)));
            lacking.map(|(at, kind)| format!("request {at} ({})", kind.0)).collect()
        };
        let places = match &self.at {
            At::TokenRequests => in_requests(&|kind| *kind != Kind::AUTHORIZE),
            At::Requests(expected) => in_requests(&|kind| kind == expected),
            At::Steps(steps) => {
                let lacking = steps.iter().filter(|step| !found.iter().any(|found| found.step == **step));
                lacking.map(|step| (*step).to_owned()).collect()
            }
            At::SomeSteps if found.is_empty() => vec!["any step".to_owned()],
            At::SomeSteps => Vec::new(),
        };
        let missing = |place| format!("listed, and not in {place}: {} ({})", self.field, self.why);
        places.into_iter().map(missing).collect()
    }
}

fn matches(expected: &str, value: &Value) -> bool {
    match (expected, value) {
        (NONE, value) => value.is_null(),
        (SOME, value) => !value.is_null(),
        (text, Value::String(value)) => text == value,
        (json, value) => serde_json::from_str(json).is_ok_and(|expected: Value| expected == *value),
    }
}

/// A difference as a failing test shows it.
struct Shown<'a>(&'a Report, &'a Found);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report, Found { step, field, symbolon, msal, request }) = self;
        write!(f, "{field}: {symbolon} instead of {msal} in {step}")?;
        match request.and_then(|at| report.requests.get(at)) {
            Some(kind) => write!(f, " ({})", kind.0),
            None => Ok(()),
        }
    }
}
