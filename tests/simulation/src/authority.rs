//! What the authority knows: the tokens that it gave, and to whom. It answers as Entra ID does, or as an OpenID Connect provider
//! whose refresh tokens are good once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use symbolon_protocol::token_request::HttpRequest;
use url::form_urlencoded;

use crate::random::Random;

/// The directories, and the users, who are all at home in the first one.
pub(crate) const TENANTS: [&str; 2] =
    ["72f988bf-86f1-41af-91ab-2d7cd011db47", "5f2d9f39-4b3c-4a26-9f0c-5d0b6c0a7e11"];
pub(crate) const USERS: [&str; 3] = [
    "a0a0a0a0-0000-4000-8000-00000000000a",
    "b0b0b0b0-0000-4000-8000-00000000000b",
    "c0c0c0c0-0000-4000-8000-00000000000c",
];
pub(crate) const PROVIDER: &str = "https://idp.test/issuer";

/// A token that was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Which application asked.
    pub(crate) party: usize,
    pub(crate) tenant: String,
    pub(crate) user: Option<usize>,
    /// Without the scopes that every user's token has.
    pub(crate) scope: String,
    /// The certificate that it is bound to.
    pub(crate) thumbprint: Option<String>,
    /// When its flight began, in the order of everything that happened.
    pub(crate) begun: u64,
    /// When it ends by the authority's own clock, which never jumps. Milliseconds since the beginning.
    pub(crate) expires_ms: u64,
}

/// Who asks, as the network sees it.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) party: usize,
    pub(crate) thumbprint: Option<&'a str>,
    /// When the flight began that the request is sent for.
    pub(crate) begun: u64,
}

struct RefreshToken {
    party: usize,
    user: usize,
    /// All that came from one sign-in at a provider.
    family: u64,
    is_used: bool,
}

#[derive(Default)]
struct State {
    issued: u64,
    given: BTreeMap<String, Given>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    revoked_families: BTreeSet<u64>,
    codes: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Authority {
    state: RefCell<State>,
    /// What no client may do.
    pub(crate) offences: RefCell<Vec<String>>,
}

pub(crate) type Fields = BTreeMap<String, String>;

impl Authority {
    pub(crate) fn given(&self, token: &str) -> Option<Given> {
        self.state.borrow().given.get(token).cloned()
    }

    /// What was given to a user's sessions so far is worth nothing any more.
    pub(crate) fn revoke(&self, user: usize) {
        let state = &mut *self.state.borrow_mut();
        let families = state.refresh_tokens.values().filter(|token| token.user == user);
        state.revoked_families.extend(families.map(|token| token.family));
    }

    /// Answers a request: status and body.
    pub(crate) fn answer(
        &self,
        request: &HttpRequest,
        asker: Asker<'_>,
        now_ms: u64,
        random: &Random,
    ) -> (u16, String) {
        if request.path_with_query.contains("/.well-known/openid-configuration") {
            return (200, metadata().to_string());
        }
        let fields = fields(request);
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let user = match field("grant_type") {
            "client_credentials" => None,
            "authorization_code" => match self.redeem_code(field("code")) {
                Some(user) => Some((user, None)),
                None => return invalid_grant("the code"),
            },
            "refresh_token" => match self.redeem(field("refresh_token"), asker, is_provider(request)) {
                Some((user, family)) => Some((user, Some(family))),
                None => return invalid_grant("the refresh token"),
            },
            _ => match user_of_assertion(field("assertion")) {
                Some(user) => Some((user, None)),
                None => return invalid_grant("the assertion"),
            },
        };
        (200, self.give(request, &fields, user, asker, now_ms, random).to_string())
    }

    fn redeem_code(&self, code: &str) -> Option<usize> {
        if !self.state.borrow_mut().codes.insert(code.to_owned()) {
            self.offences.borrow_mut().push("a code was sent twice".to_owned());
            return None;
        }
        code.split(' ').nth(1)?.parse().ok()
    }

    fn redeem(&self, token: &str, asker: Asker<'_>, is_provider: bool) -> Option<(usize, u64)> {
        let state = &mut *self.state.borrow_mut();
        let found = state.refresh_tokens.get_mut(token)?;
        let offence = |what: &str| self.offences.borrow_mut().push(what.to_owned());
        if found.party != asker.party {
            offence("a refresh token of another application was sent");
        }
        if state.revoked_families.contains(&found.family) {
            return None;
        }
        if is_provider && found.is_used {
            offence("a refresh token that is good once was redeemed, and sent again");
            return None;
        }
        found.is_used = true;
        Some((found.user, found.family))
    }

    fn give(
        &self,
        request: &HttpRequest,
        fields: &Fields,
        user: Option<(usize, Option<u64>)>,
        asker: Asker<'_>,
        now_ms: u64,
        random: &Random,
    ) -> Value {
        let state = &mut *self.state.borrow_mut();
        state.issued += 1;
        let number = state.issued;
        let scope = fields.get("scope").map_or("", String::as_str);
        let tenant = request.path_with_query.split('/').nth(1).unwrap_or_default();
        let is_bound = fields.get("token_type").is_some_and(|kind| kind == "mtls_pop");
        let expires_in = random.pick(&[600, 3_600, 86_400]);
        let token = format!("at{number}");
        let given = Given {
            party: asker.party,
            tenant: tenant.to_owned(),
            user: user.map(|(user, _)| user),
            scope: significant(scope),
            thumbprint: asker.thumbprint.filter(|_| is_bound).map(String::from),
            begun: asker.begun,
            expires_ms: now_ms + expires_in * 1_000,
        };
        state.given.insert(token.clone(), given);
        let mut answer = json!({
            "access_token": token,
            "token_type": if is_bound { "mtls_pop" } else { "Bearer" },
            "expires_in": expires_in,
        });
        if random.chance(50) {
            answer["refresh_in"] = (expires_in / 2).into();
        }
        let Some((user, family)) = user else { return answer };
        let name = USERS[user];
        answer["id_token"] = if is_provider(request) {
            jwt(&json!({ "iss": PROVIDER, "sub": name })).into()
        } else {
            answer["client_info"] = encoded(&json!({ "uid": name, "utid": TENANTS[0] })).into();
            jwt(&json!({ "oid": name, "tid": TENANTS[0], "preferred_username": name })).into()
        };
        if scope.split(' ').any(|scope| scope == "offline_access") {
            let refresh_token = format!("rt{number}");
            let family = family.unwrap_or(number);
            let kept = RefreshToken { party: asker.party, user, family, is_used: false };
            state.refresh_tokens.insert(refresh_token.clone(), kept);
            answer["refresh_token"] = refresh_token.into();
        }
        answer
    }
}

/// A token of the user for the application; `name` tells it from others of hers.
pub(crate) fn user_assertion(user: usize, name: usize) -> String {
    jwt(&json!({ "oid": USERS[user], "tid": TENANTS[0], "name": name.to_string() }))
}

pub(crate) fn home_account_id(user: usize, at_provider: bool) -> String {
    if at_provider { USERS[user].to_owned() } else { format!("{}.{}", USERS[user], TENANTS[0]) }
}

/// The fields of a form.
pub(crate) fn fields(request: &HttpRequest) -> Fields {
    form_urlencoded::parse(request.body.as_bytes()).into_owned().collect()
}

pub(crate) fn is_provider(request: &HttpRequest) -> bool {
    request.authority == "idp.test"
}

fn metadata() -> Value {
    json!({
        "issuer": PROVIDER,
        "token_endpoint": "https://idp.test/token",
        "authorization_endpoint": "https://idp.test/authorize",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    })
}

fn significant(scope: &str) -> String {
    let reserved = ["openid", "profile", "offline_access"];
    scope.split(' ').filter(|scope| !reserved.contains(scope)).collect::<Vec<_>>().join(" ")
}

fn user_of_assertion(assertion: &str) -> Option<usize> {
    let payload = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    USERS.iter().position(|user| claims["oid"] == *user)
}

fn invalid_grant(what: &str) -> (u16, String) {
    (400, json!({ "error": "invalid_grant", "error_description": format!("{what} isn't good") }).to_string())
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn jwt(claims: &Value) -> String {
    format!("e30.{}.c2ln", encoded(claims))
}
