//! Who an answer or an assertion speaks for.
//!
//! No signature is checked: what is read here came over TLS from the authority, or is checked by the authority that it
//! is sent to. Nothing here is fit to decide what somebody may do.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The user name of an account whose id token names nobody, as MSAL writes it.
pub const MISSING_USERNAME: &str = "Missing from the token response";

/// `client_info` of a token response: the user in the directory that the user comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The object id of the user. Empty where the authority didn't say.
    pub uid: String,
    /// The tenant of the user. Empty where the authority didn't say.
    pub utid: String,
}

impl ClientInfo {
    /// Reads the base64url of a JSON object; `None` for anything else. Padding is tolerated.
    pub fn parse(base64url: &str) -> Option<ClientInfo> {
        let mut members = object(base64url)?;
        let mut take = |name| take_text(&mut members, name).unwrap_or_default();
        Some(ClientInfo { uid: take("uid"), utid: take("utid") })
    }

    /// `{uid}.{utid}`, the same in all directories; `.` where neither is known, as MSAL does.
    pub fn home_account_id(&self) -> String {
        format!("{}.{}", self.uid, self.utid)
    }
}

/// What an id token says about the user (OpenID Connect Core 1.0 §2). Claims that are blank or no text are `None`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IdTokenClaims {
    /// The object id in the directory that issued the token.
    pub oid: Option<String>,
    /// The subject: the user as this application knows them.
    pub sub: Option<String>,
    /// The directory that issued the token.
    pub tid: Option<String>,
    /// What the user signs in with.
    pub preferred_username: Option<String>,
    /// The user principal name.
    pub upn: Option<String>,
    /// The address for mail.
    pub email: Option<String>,
    /// The display name.
    pub name: Option<String>,
    /// The given name.
    pub given_name: Option<String>,
    /// The family name.
    pub family_name: Option<String>,
}

impl IdTokenClaims {
    /// Reads an id token in compact form; `None` for what isn't one.
    pub fn parse(jwt: &str) -> Option<IdTokenClaims> {
        let mut claims = unverified_claims(jwt)?;
        let mut take = |name| take_text(&mut claims, name);
        Some(IdTokenClaims {
            oid: take("oid"),
            sub: take("sub"),
            tid: take("tid"),
            preferred_username: take("preferred_username"),
            upn: take("upn"),
            email: take("email"),
            name: take("name"),
            given_name: take("given_name"),
            family_name: take("family_name"),
        })
    }

    /// What the user signs in with, else the nearest to it, else [`MISSING_USERNAME`], as MSAL does.
    pub fn username(&self) -> &str {
        [&self.preferred_username, &self.upn, &self.email, &self.name]
            .into_iter()
            .find_map(|claim| claim.as_deref())
            .unwrap_or(MISSING_USERNAME)
    }

    /// The object id, else the subject.
    pub fn local_account_id(&self) -> Option<&str> {
        self.oid.as_deref().or(self.sub.as_deref())
    }
}

impl fmt::Debug for IdTokenClaims {
    /// Shows ids and no names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdTokenClaims")
            .field("oid", &self.oid)
            .field("sub", &self.sub)
            .field("tid", &self.tid)
            .finish_non_exhaustive()
    }
}

/// The user of a JWT that is exchanged on behalf of that user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSubject {
    /// The object id in the directory that issued the token.
    pub oid: Option<String>,
    /// The directory that issued the token.
    pub tid: Option<String>,
    /// The subject: the user as the token's audience knows them.
    pub sub: Option<String>,
}

impl AssertionSubject {
    /// Reads a JWT in compact form; `None` for what isn't one.
    pub fn parse(jwt: &str) -> Option<AssertionSubject> {
        let mut claims = unverified_claims(jwt)?;
        let mut take = |name| take_text(&mut claims, name);
        Some(AssertionSubject { oid: take("oid"), tid: take("tid"), sub: take("sub") })
    }

    /// Whether this is the user of this object id in this directory. No, where the assertion doesn't say.
    pub fn same_user(&self, local_account_id: &str, tenant: &str) -> bool {
        let is =
            |claim: &Option<String>, id| claim.as_ref().is_some_and(|mine| mine.eq_ignore_ascii_case(id));
        is(&self.oid, local_account_id) && is(&self.tid, tenant)
    }
}

/// The claims of a JWT in compact form (RFC 7519 §7.2), whoever signed it; `None` for what isn't one.
pub fn unverified_claims(jwt: &str) -> Option<Map<String, Value>> {
    object(jwt.split('.').nth(1)?)
}

/// Whether a token's `xms_sub_fct` claim says that its user belongs to an agent: the numbers, separated by white space,
/// include 13. Anything but numbers makes it false, as Microsoft.Identity.Web does.
pub fn is_agent_user_identity(xms_sub_fct: &str) -> bool {
    let facets: Result<Vec<i32>, _> = xms_sub_fct.split_whitespace().map(str::parse).collect();
    facets.is_ok_and(|facets| facets.contains(&AGENT_USER_FACET))
}

/// The application (client) id of the blueprint to which the agent of a token belongs: the claim `xms_par_app_azp`.
pub fn parent_agent_blueprint(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("xms_par_app_azp")?.as_str()
}

fn object(base64url: &str) -> Option<Map<String, Value>> {
    let json = URL_SAFE_NO_PAD.decode(base64url.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

fn take_text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.remove(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    }
}

const AGENT_USER_FACET: i32 = 13;
