//! SAML assertions, in a profile for tests: the document of a SAML 1.1 or 2.0 assertion, with this authority's
//! signature (RS256) over its exact bytes in a comment behind it instead of an enveloped XML signature.
//!
//! ```text
//! <Assertion …>…</Assertion><!--symbolon-test-signature:base64url-->
//! ```

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::on_behalf_of;
use crate::{
    SamlAssertion,
    clock::{date_time, timestamp},
    encoding::{base64url, from_base64, from_base64url, random_guid},
    flow,
    jwt::SigningKey,
    refusal::{self, Refusal},
    token::Call,
};

/// An assertion about a user, in base64url.
pub(crate) fn issue(
    assertion: &SamlAssertion,
    user_principal_name: &str,
    key: &SigningKey,
    now_unix: u64,
) -> String {
    let time = |unix: u64| date_time(unix).format(&Rfc3339).unwrap_or_default();
    let (version, id, subject) = if assertion.version_1_1 {
        (r#"MajorVersion="1" MinorVersion="1""#, "AssertionID", "NameIdentifier")
    } else {
        (r#"Version="2.0""#, "ID", "NameID")
    };
    let document = format!(
        r#"<Assertion {version} {id}="_{}" IssueInstant="{now}"><Subject><{subject}>{}</{subject}></Subject><Conditions NotBefore="{now}" NotOnOrAfter="{}"><Audience>{}</Audience></Conditions></Assertion>"#,
        random_guid(),
        escaped(user_principal_name),
        time(now_unix.saturating_add(assertion.lifetime_seconds)),
        escaped(&assertion.audience),
        now = time(now_unix),
    );
    let signature = base64url(&key.signature(document.as_bytes()));
    base64url(format!("{document}{OPEN}{signature}{CLOSE}").as_bytes())
}

/// Checks an assertion; gives the user's name.
pub(super) fn verify(text: &str, call: &Call<'_>) -> Result<String, Refusal> {
    let bad = |reason: &str| {
        refusal::USER_ASSERTION_SIGNATURE
            .because(format!("Assertion failed signature validation. [Reason - {reason}]"))
    };
    let text = from_base64(text).and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| bad("The assertion is not base64url of an XML document."))?;
    let (document, signature) = text
        .strip_suffix(CLOSE)
        .and_then(|text| text.rsplit_once(OPEN))
        .ok_or_else(|| bad("The assertion is not signed."))?;
    let signature = from_base64url(signature).unwrap_or_default();
    if !call.state.key.certificate().verifies("RS256", document.as_bytes(), &signature) {
        return Err(bad("The key was not found."));
    }
    // The bytes are this authority's own from here on.
    let is_1_1 = document.contains(r#"MajorVersion="1""#);
    if is_1_1 != (call.form().get("grant_type") == Some(flow::SAML_1_1_BEARER)) {
        return Err(bad("The assertion is of another version of SAML than the grant."));
    }
    let part = |from: &str, to: &str| between(document, from, to).ok_or_else(|| bad("A part is missing."));
    on_behalf_of::check_audience(&unescaped(part("<Audience>", "</Audience>")?), call)?;
    let unix = |time: &str| {
        OffsetDateTime::parse(time, &Rfc3339).ok().and_then(|time| u64::try_from(time.unix_timestamp()).ok())
    };
    let not_before = unix(part("NotBefore=\"", "\"")?).ok_or_else(|| bad("A time is malformed."))?;
    let expires = unix(part("NotOnOrAfter=\"", "\"")?).ok_or_else(|| bad("A time is malformed."))?;
    if !(not_before..expires).contains(&call.now_unix) {
        return Err(refusal::USER_ASSERTION_TIME.because(format!(
            "Assertion is not within its valid time range. Current time: {}, expiry time of assertion {}.",
            timestamp(call.now_unix),
            timestamp(expires)
        )));
    }
    let tag = if is_1_1 { "NameIdentifier" } else { "NameID" };
    Ok(unescaped(part(&format!("<{tag}>"), &format!("</{tag}>"))?))
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(part, _)| part)
}

fn escaped(text: &str) -> String {
    ESCAPES.iter().fold(text.to_owned(), |text, (plain, escape)| text.replace(plain, escape))
}

fn unescaped(text: &str) -> String {
    ESCAPES.iter().rev().fold(text.to_owned(), |text, (plain, escape)| text.replace(escape, plain))
}

/// `&` first, since the others bring it.
const ESCAPES: [(&str, &str); 4] = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;")];
const OPEN: &str = "<!--symbolon-test-signature:";
const CLOSE: &str = "-->";
