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

use crate::json::Object;

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
        let json = decoded(base64url)?;
        let members = Object::parse(&json)?;
        let take = |name| present_text(&members, name).unwrap_or_default();
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
        let json = unverified_claims(jwt)?;
        let claims = Object::parse(&json)?;
        let take = |name| present_text(&claims, name);
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
        let json = unverified_claims(jwt)?;
        let claims = Object::parse(&json)?;
        let take = |name| present_text(&claims, name);
        Some(AssertionSubject { oid: take("oid"), tid: take("tid"), sub: take("sub") })
    }

    /// Whether this is the user of this object id in this directory. No, where the assertion doesn't say.
    pub fn same_user(&self, local_account_id: &str, tenant: &str) -> bool {
        let is =
            |claim: &Option<String>, id| claim.as_ref().is_some_and(|mine| mine.eq_ignore_ascii_case(id));
        is(&self.oid, local_account_id) && is(&self.tid, tenant)
    }
}

/// The claims of a JWT in compact form (RFC 7519 §7.2), JSON, whoever signed it; `None` for what isn't one.
pub(crate) fn unverified_claims(jwt: &str) -> Option<Vec<u8>> {
    decoded(jwt.split('.').nth(1)?)
}

/// Whether a token's `xms_sub_fct` claim says that its user belongs to an agent: the numbers, separated by white space,
/// include 13. Anything but numbers makes it false, as Microsoft.Identity.Web does.
pub fn is_agent_user_identity(xms_sub_fct: &str) -> bool {
    let facets: Result<Vec<i32>, _> = xms_sub_fct.split_whitespace().map(str::parse).collect();
    facets.is_ok_and(|facets| facets.contains(&AGENT_USER_FACET))
}

/// The application (client) id of the blueprint to which the agent of a token belongs: the claim `xms_par_app_azp`.
pub fn parent_agent_blueprint(jwt: &str) -> Option<String> {
    Object::parse(&unverified_claims(jwt)?)?.text("xms_par_app_azp")
}

fn decoded(base64url: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64url.trim_end_matches('=')).ok()
}

/// What a member says, unless it is no text or blank.
pub(crate) fn present_text(members: &Object<'_>, name: &str) -> Option<String> {
    members.text(name).filter(|text| !text.trim().is_empty())
}

const AGENT_USER_FACET: i32 = 13;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn encoded(json: &Value) -> String {
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    fn jwt(claims: &Value) -> String {
        format!("{}.{}.c2ln", encoded(&json!({"alg": "RS256"})), encoded(claims))
    }

    fn id_token(claims: &Value) -> IdTokenClaims {
        IdTokenClaims::parse(&jwt(claims)).expect("an id token")
    }

    #[test]
    fn client_info_names_the_home_account() {
        let info = ClientInfo::parse("eyJ1aWQiOiJteS11aWQiLCJ1dGlkIjoibXktdXRpZCJ9").expect("client info");
        assert_eq!(info.home_account_id(), "my-uid.my-utid");
        let padded = ClientInfo::parse("eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ==").expect("client info");
        assert_eq!((padded.uid.as_str(), padded.utid.as_str()), ("u", "t"));
    }

    #[test]
    fn client_info_without_a_user_is_a_dot() {
        for members in [json!({}), json!({"uid": null, "utid": 7}), json!({"uid": "", "other": "x"})] {
            let info = ClientInfo::parse(&encoded(&members)).expect("client info");
            assert_eq!(info.home_account_id(), ".", "{members}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_client_info() {
        for text in ["", "=", "!", "bm90IGpzb24", "W10", "eyJ1aWQiOiJ1"] {
            assert_eq!(ClientInfo::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_claim_names_the_user() {
        let all = json!({"preferred_username": "p", "upn": "u", "email": "e", "name": "n"});
        let order = [("preferred_username", "p"), ("upn", "u"), ("email", "e"), ("name", "n")];
        let mut left = all.as_object().expect("an object").clone();
        for (claim, username) in order {
            assert_eq!(id_token(&Value::Object(left.clone())).username(), username);
            left.insert(claim.into(), json!(" "));
        }
        assert_eq!(id_token(&Value::Object(left)).username(), "Missing from the token response");
    }

    #[test]
    fn the_object_id_comes_before_the_subject() {
        assert_eq!(id_token(&json!({"oid": "o", "sub": "s"})).local_account_id(), Some("o"));
        assert_eq!(id_token(&json!({"oid": "", "sub": "s"})).local_account_id(), Some("s"));
        assert_eq!(id_token(&json!({})).local_account_id(), None);
    }

    #[test]
    fn an_id_token_gives_all_its_claims() {
        let claims = id_token(&json!({
            "oid": "o", "sub": "s", "tid": "t", "preferred_username": "p", "upn": "u", "email": "e", "name": "n",
            "given_name": "g", "family_name": "f"
        }));
        let some = |text: &str| Some(text.into());
        let expected = IdTokenClaims {
            oid: some("o"),
            sub: some("s"),
            tid: some("t"),
            preferred_username: some("p"),
            upn: some("u"),
            email: some("e"),
            name: some("n"),
            given_name: some("g"),
            family_name: some("f"),
        };
        assert_eq!(claims, expected);
    }

    #[test]
    fn debug_shows_no_name() {
        let shown = format!(
            "{:?}",
            id_token(&json!({"oid": "o-1", "preferred_username": "canary", "name": "canary"}))
        );
        assert!(shown.contains("o-1") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn an_assertion_is_of_the_same_user_if_object_id_and_tenant_are() {
        let subject = |claims| AssertionSubject::parse(&jwt(&claims)).expect("a JWT");
        let user = subject(json!({"oid": "AB-1", "tid": "T-1", "sub": "s"}));
        assert!(user.same_user("ab-1", "t-1"));
        assert!(!user.same_user("ab-2", "t-1"));
        assert!(!user.same_user("ab-1", "t-2"));
        assert!(!user.same_user("s", "t-1"));
        assert!(!subject(json!({"oid": "ab-1"})).same_user("ab-1", ""));
        assert!(!subject(json!({"tid": "t-1", "oid": ""})).same_user("", "t-1"));
    }

    #[test]
    fn what_is_no_jwt_names_nobody() {
        for text in ["", "opaque", "a.b.c", ".", "PHNhbWw+.PHNhbWw+"] {
            assert_eq!(AssertionSubject::parse(text), None, "{text}");
            assert_eq!(IdTokenClaims::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_agents_user_shows_in_the_facets_of_the_subject() {
        for facets in ["1 2 13 15", "13", " 13\t2\n"] {
            assert!(is_agent_user_identity(facets), "{facets}");
        }
        for facets in ["", " ", "1 2 3 4", "130", "-13", "13 x", "13,2", "13 99999999999"] {
            assert!(!is_agent_user_identity(facets), "{facets}");
        }
    }

    #[test]
    fn an_agents_token_names_its_blueprint() {
        let of = |claims| parent_agent_blueprint(&jwt(&claims));
        assert_eq!(of(json!({"xms_par_app_azp": "blueprint"})).as_deref(), Some("blueprint"));
        assert_eq!(of(json!({})), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_given_panics(text in "\\PC*", parts in proptest::collection::vec("[A-Za-z0-9_=-]{0,12}", 0..5)) {
            for text in [text.clone(), parts.join("."), jwt(&Value::from(text))] {
                ClientInfo::parse(&text);
                IdTokenClaims::parse(&text);
                AssertionSubject::parse(&text);
                is_agent_user_identity(&text);
            }
        }

        #[test]
        fn client_info_is_read_back(uid in "[^\\s]{1,12}", utid in "[^\\s]{1,12}") {
            let info = ClientInfo::parse(&encoded(&json!({"uid": uid, "utid": utid, "more": [1]})));
            prop_assert_eq!(info, Some(ClientInfo { uid, utid }));
        }
    }
}
