//! Key Vault's REST API: certificates and secrets, for whoever shows a token for it.

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    vault::{Contents, Item},
};
use crate::{CONTOSO, incoming::Incoming, jwt::Jwt, lock, state::State};

/// What follows a vault's name.
pub(super) const SUFFIX: &str = ".vault.azure.net";
/// Headers of each answer.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("x-ms-keyvault-region", "westus2"),
    ("x-ms-keyvault-service-version", "1.9.2500.1"),
    ("strict-transport-security", "max-age=31536000;includeSubDomains"),
];

/// The vault that a host is, whether it exists or not: 3 to 24 letters, digits and hyphens before the suffix.
pub(crate) fn name_of(host: &str) -> Option<&str> {
    let name = host.strip_suffix(SUFFIX)?;
    let valid = (3..=24).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    valid.then_some(name)
}

pub(super) fn answer(state: &State, name: &str, request: &Request<'_>) -> Reply {
    let Some(contents) = state.vaults.find(name) else {
        // In Azure, the name would not even resolve.
        return refused(404, "VaultNotFound", &format!("There is no vault '{name}'."), None);
    };
    let access = Access { state, name, contents: &contents, request };
    access.answer().map_or_else(|refusal| refusal, |value| Reply::ok(&value))
}

/// A request at a vault.
struct Access<'a> {
    state: &'a State,
    name: &'a str,
    contents: &'a Contents,
    request: &'a Request<'a>,
}

impl Access<'_> {
    fn answer(&self) -> Result<Value, Reply> {
        let caller = self.caller()?;
        self.check_version()?;
        if self.request.method != Method::GET {
            return Err(refused(405, "MethodNotAllowed", "The method is not allowed.", None));
        }
        let path: Vec<_> = self.request.path.trim_matches('/').split('/').collect();
        let (kind, name, version) = match path.as_slice() {
            [kind, name] => (*kind, *name, None),
            [kind, name, version] => (*kind, *name, Some(*version)),
            _ => return Err(not_found()),
        };
        match kind {
            "certificates" => {
                self.authorize(&caller, "certificates")?;
                let bundle = |item: Item| item.certificate(self.name);
                self.contents
                    .find(name, version)
                    .and_then(bundle)
                    .ok_or_else(|| nothing_there("Certificate", "A certificate", name))
            }
            "secrets" => {
                self.authorize(&caller, "secrets")?;
                let item = self.contents.find(name, version);
                let item = item.ok_or_else(|| nothing_there("Secret", "A secret", name))?;
                if !item.enabled {
                    let message = "Operation get is not allowed on a disabled secret.";
                    return Err(refused(403, "Forbidden", message, Some("SecretDisabled")));
                }
                Ok(item.secret(self.name))
            }
            _ => Err(not_found()),
        }
    }

    /// Checks the token: its signature, time, audience and tenant.
    fn caller(&self) -> Result<Incoming, Reply> {
        let shown = self.request.header(header::AUTHORIZATION.as_str());
        let token = shown.and_then(|shown| shown.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Err(self.unauthorized("AKV10000: Request is missing a Bearer or PoP token."));
        };
        if Jwt::parse(token).is_none() {
            let message = "[BearerReadAccessTokenFailed] Error validating token: 'S2S18000'.";
            return Err(self.unauthorized(message));
        }
        let caller = Incoming::verify(token, self.state.key.certificate()).map_err(|_| {
            self.unauthorized("AKV10046: Unable to resolve the key used for signature validation.")
        })?;
        if caller.check_time(self.request.now_unix).is_err() {
            return Err(self.unauthorized("[TokenExpired] Error validating token: 'S2S12086'."));
        }
        if ![AUDIENCE, APP_ID].contains(&caller.audience.as_str()) {
            return Err(self.unauthorized(&format!(
                "AKV10022: Invalid audience. Expected {AUDIENCE} or {APP_ID}, found: {}.",
                caller.audience
            )));
        }
        if caller.tenant != self.tenant() {
            return Err(self.unauthorized(&format!(
                "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{}/, found \
                 https://sts.windows.net/{}/.",
                self.tenant(),
                caller.tenant
            )));
        }
        if caller.bound_to.is_some() {
            return Err(
                self.unauthorized("The token is bound to a certificate that the connection does not show.")
            );
        }
        Ok(caller)
    }

    fn check_version(&self) -> Result<(), Reply> {
        let bad = |message: &str| refused(400, "BadParameter", message, None);
        match self.request.query.get("api-version") {
            None => Err(bad("api-version must be specified")),
            Some(version) if VERSIONS.contains(&version) => Ok(()),
            Some(version) => Err(bad(&format!(
                "The specified version ({version}) is not recognized. Consider using the latest supported version ({}).",
                VERSIONS.last().copied().unwrap_or_default()
            ))),
        }
    }

    fn authorize(&self, caller: &Incoming, what: &str) -> Result<(), Reply> {
        let readers = lock(&self.contents.readers);
        if readers.is_empty() || readers.iter().any(|reader| reader.eq_ignore_ascii_case(&caller.object_id)) {
            return Ok(());
        }
        let message = format!(
            "The user, group or application 'appid={};oid={};iss=https://sts.windows.net/{}/' does not have {what} get \
             permission on key vault '{};location=westus2'. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125287",
            caller.client_id, caller.object_id, caller.tenant, self.name
        );
        Err(refused(403, "Forbidden", &message, Some("AccessDenied")))
    }

    fn unauthorized(&self, message: &str) -> Reply {
        let challenge = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{}\", resource=\"{AUDIENCE}\"",
            self.tenant()
        );
        refused(401, "Unauthorized", message, None).header(header::WWW_AUTHENTICATE, challenge)
    }

    fn tenant(&self) -> String {
        lock(&self.contents.tenant).clone().unwrap_or_else(|| CONTOSO.to_owned())
    }
}

/// The service's answer when it is not well.
pub(super) fn unwell(status: u16) -> Reply {
    match status {
        429 => {
            let message = "Request was not processed because too many requests were received. Reason: \
                           VaultRequestTypeLimitReached";
            refused(429, "Throttled", message, None)
        }
        _ => refused(status, "InternalServerError", "An internal error occurred.", None),
    }
}

fn nothing_there(code: &str, article: &str, name: &str) -> Reply {
    let message = format!(
        "{article} with (name/id) {name} was not found in this key vault. If you recently deleted this {} you may be \
         able to recover it using the correct recovery command. For help resolving this issue, please see \
         https://go.microsoft.com/fwlink/?linkid=2125182",
        code.to_ascii_lowercase()
    );
    refused(404, &format!("{code}NotFound"), &message, None)
}

fn not_found() -> Reply {
    refused(404, "NotFound", "The requested resource was not found.", None)
}

fn refused(status: u16, code: &str, message: &str, inner: Option<&str>) -> Reply {
    let mut error = json!({ "code": code, "message": message });
    if let Some(inner) = inner {
        error["innererror"] = json!({ "code": inner });
    }
    Reply::refused(status, inner.unwrap_or(code), &json!({ "error": error }))
}

const AUDIENCE: &str = "https://vault.azure.net";
const APP_ID: &str = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093";
/// The versions of the API, oldest first.
const VERSIONS: &[&str] =
    &["2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-06-01-preview", "2025-07-01"];
