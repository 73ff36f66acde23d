//! An authority that knows its users: answers a token request as Entra ID does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use symbolon_protocol::response::{HttpResponse, TransportError};

use super::{TENANT, answer};

/// A user who is a guest in the directory: home and directory have ids of their own for the same person.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// In the home.
    pub(crate) uid: &'static str,
    /// In the directory.
    pub(crate) oid: &'static str,
    pub(crate) upn: &'static str,
}

pub(crate) const HOME: &str = "5f2d9f39-4b3c-4a26-9f0c-5d0b6c0a7e11";

pub(crate) static ALICE: User = User {
    uid: "a0a0a0a0-0000-4000-8000-00000000000a",
    oid: "a1a1a1a1-0000-4000-8000-00000000000a",
    upn: "Alice@contoso.com",
};

pub(crate) static BOB: User = User {
    uid: "b0b0b0b0-0000-4000-8000-00000000000b",
    oid: "b1b1b1b1-0000-4000-8000-00000000000b",
    upn: "bob@contoso.com",
};

impl User {
    pub(crate) fn home_account_id(&self) -> String {
        format!("{}.{HOME}", self.uid)
    }

    /// A token of hers for the application. Each name is another token.
    pub(crate) fn token(&self, name: &str) -> String {
        jwt(&json!({ "oid": self.oid, "tid": TENANT, "sub": self.oid, "name": name }))
    }
}

/// A JWT that nobody signed.
pub(crate) fn jwt(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// What the authority gives, beside access tokens. Tokens are numbered: `at1`, `at2`.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    issued: usize,
    /// Whether refresh tokens are given.
    pub(crate) refreshes: bool,
    /// Whether it says who the user is.
    pub(crate) names_users: bool,
    /// The user for whom it takes everybody.
    pub(crate) mistakes_for: Option<&'static User>,
    /// When a renewal is due, in seconds.
    pub(crate) refresh_in: Option<u64>,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory { issued: 0, refreshes: true, names_users: true, mistakes_for: None, refresh_in: None }
    }
}

impl Directory {
    /// Answers a request by the fields of its form.
    pub(crate) fn answer(&mut self, fields: &[(String, String)]) -> Result<HttpResponse, TransportError> {
        self.issued += 1;
        let field =
            |name: &str| fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let mut body = json!({
            "access_token": format!("at{}", self.issued),
            "token_type": field("token_type").unwrap_or("Bearer"),
            "expires_in": 3600,
        });
        if let Some(refresh_in) = self.refresh_in {
            body["refresh_in"] = refresh_in.into();
        }
        let user = match field("grant_type").expect("a grant") {
            "client_credentials" => return answer(200, &body.to_string()),
            "authorization_code" => named(field("code")),
            "refresh_token" => named(field("refresh_token")),
            "password" => named(field("username")),
            "user_fic" => named(field("user_id").or(field("username"))),
            _ => named(field("assertion").map(subject).as_deref()),
        };
        let user = self.mistakes_for.unwrap_or(user);
        if self.refreshes && field("scope").is_some_and(|scope| scope.contains("offline_access")) {
            body["refresh_token"] = format!("rt{}.{}", self.issued, user.oid).into();
        }
        if self.names_users {
            body["client_info"] =
                URL_SAFE_NO_PAD.encode(json!({ "uid": user.uid, "utid": HOME }).to_string()).into();
            body["id_token"] =
                jwt(&json!({ "oid": user.oid, "tid": TENANT, "preferred_username": user.upn })).into();
        }
        if field("return_spa_code").is_some() {
            body["spa_code"] = "spa".into();
        }
        answer(200, &body.to_string())
    }
}

/// The user whose id or name is part of the text; whoever isn't Bob is Alice.
fn named(text: Option<&str>) -> &'static User {
    let text = text.unwrap_or_default().to_lowercase();
    if text.contains(BOB.oid) || text.contains(BOB.upn) { &BOB } else { &ALICE }
}

/// Whose assertion it is.
fn subject(assertion: &str) -> String {
    let payload = assertion.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    claims["oid"].as_str().unwrap_or(assertion).into()
}
