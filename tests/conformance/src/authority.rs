//! The authority's answers: tokens for whoever the request names.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::host::Sent;

/// The directory in which all users are at home.
pub(crate) const HOME: &str = "10c419d4-4a50-45b2-aa4e-919fb84df24f";

/// Who the authority knows, and what it gives next.
#[derive(Clone, Default)]
pub(crate) struct Authority {
    /// The user names that it knows beside those that it is asked for.
    pub(crate) users: Vec<String>,
    /// For whom it takes everybody: object id and home.
    pub(crate) account: Option<(String, String)>,
    /// The refresh token that it gives.
    pub(crate) refresh_token: Option<String>,
}

impl Authority {
    /// The answer to a request, with this access token of this type.
    pub(crate) fn token(&self, sent: &Sent, access_token: &str, token_type: &str) -> Value {
        let mut body = json!({ "access_token": access_token, "token_type": token_type, "expires_in": 3600 });
        if sent.field("grant_type") == Some("client_credentials") {
            return body;
        }
        let username = self.username(sent);
        let (uid, utid) = self.account.clone().unwrap_or_else(|| (object_id(&username), HOME.to_owned()));
        let claims = json!({ "oid": uid, "tid": HOME, "preferred_username": username });
        body["client_info"] = encoded(&json!({ "uid": uid, "utid": utid })).into();
        body["id_token"] = format!("e30.{}.c2ln", encoded(&claims)).into();
        if sent.field("scope").is_some_and(|scope| scope.contains("offline_access")) {
            let refresh_token = self.refresh_token.clone().unwrap_or_else(|| format!("rt {username}"));
            body["refresh_token"] = refresh_token.into();
        }
        if sent.field("return_spa_code").is_some() {
            body["spa_code"] = "spa".into();
        }
        body
    }

    /// The name of the user of a request. Each assertion is another user's.
    fn username(&self, sent: &Sent) -> String {
        let of_id = |id: &str| self.users.iter().find(|name| object_id(name) == id).cloned();
        let of_refresh_token = || sent.field("refresh_token")?.strip_prefix("rt ").map(str::to_owned);
        sent.field("username")
            .or_else(|| sent.field("assertion"))
            .map(str::to_owned)
            .or_else(|| of_id(sent.field("user_id")?))
            .or_else(of_refresh_token)
            .unwrap_or_else(|| "user@contoso.com".to_owned())
    }
}

/// The object id of a user name.
pub(crate) fn object_id(username: &str) -> String {
    let hash = digest(&SHA256, username.to_lowercase().as_bytes());
    let hexadecimal: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut id = String::new();
    for (index, digit) in hexadecimal.chars().enumerate() {
        if [8, 12, 16, 20].contains(&index) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}
