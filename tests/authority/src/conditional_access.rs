//! Conditional access: what is demanded of users, and the claims challenge that says so.

use serde_json::{Map, Value, json};

use crate::{
    refusal::{self, Refusal},
    request::Form,
};

/// Something that is demanded of users before tokens are issued for them: `interaction_required` until the request's
/// `claims` ask for what the refusal's `claims` name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ConditionalAccess {
    requirement: Requirement,
    claims: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requirement {
    MultiFactor,
    CompliantDevice,
    Blocked,
}

impl ConditionalAccess {
    /// Multi-factor authentication: AADSTS50076 with the suberror `basic_action`.
    pub fn multi_factor() -> Self {
        Self::new(Requirement::MultiFactor)
    }

    /// A device that complies: AADSTS53000 with the suberror `additional_action`.
    pub fn compliant_device() -> Self {
        Self::new(Requirement::CompliantDevice)
    }

    /// Nothing helps: AADSTS53003 with the suberror `message_only`, whatever the request's claims say.
    pub fn blocked() -> Self {
        Self::new(Requirement::Blocked)
    }

    /// The claims to demand, as in `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`. The default names a
    /// policy, as Entra ID does.
    pub fn claims(mut self, claims: Value) -> Self {
        self.claims = claims;
        self
    }

    fn new(requirement: Requirement) -> Self {
        let policies = json!({ "essential": true, "values": [POLICY] });
        Self { requirement, claims: json!({ "access_token": { "capolids": policies } }) }
    }

    /// Lets the request pass, or refuses it.
    pub(crate) fn check(&self, requested: &RequestedClaims, resource: &str) -> Result<(), Refusal> {
        if self.requirement != Requirement::Blocked && requested.contain(&self.claims) {
            return Ok(());
        }
        let (kind, suberror, message) = match self.requirement {
            Requirement::MultiFactor => (
                refusal::MULTI_FACTOR,
                "basic_action",
                format!(
                    "Due to a configuration change made by your administrator, or because you moved to a new location, \
                     you must use multi-factor authentication to access '{resource}'."
                ),
            ),
            Requirement::CompliantDevice => (
                refusal::DEVICE_NOT_COMPLIANT,
                "additional_action",
                "Device is not in required device state: compliant.".to_owned(),
            ),
            Requirement::Blocked => (
                refusal::ACCESS_BLOCKED,
                "message_only",
                "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
                    .to_owned(),
            ),
        };
        Err(Refusal {
            suberror: Some(suberror.to_owned()),
            claims: Some(self.claims.to_string()),
            ..kind.because(message)
        })
    }
}

/// The claims that a request wants in its access token (OpenID Connect Core section 5.5, with Entra ID's member
/// `access_token`).
#[derive(Debug, Default)]
pub(crate) struct RequestedClaims(Map<String, Value>);

impl RequestedClaims {
    pub(crate) fn of(form: &Form) -> Result<Self, Refusal> {
        let Some(text) = form.get("claims") else { return Ok(Self::default()) };
        match serde_json::from_str(text) {
            Ok(Value::Object(mut claims)) => match claims.remove("access_token") {
                Some(Value::Object(wanted)) => Ok(Self(wanted)),
                None | Some(Value::Null) => Ok(Self::default()),
                Some(_) => Err(Self::invalid()),
            },
            _ => Err(Self::invalid()),
        }
    }

    /// The client capabilities alone: `xms_cc`.
    pub(crate) fn capabilities(values: &[&str]) -> Self {
        let mut claims = Map::new();
        if !values.is_empty() {
            claims.insert("xms_cc".to_owned(), json!({ "values": values }));
        }
        Self(claims)
    }

    /// The values asked for of a claim.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.0.get(name).map(values).unwrap_or_default()
    }

    /// Whether everything that `demanded` names for the access token is asked for.
    fn contain(&self, demanded: &Value) -> bool {
        let Some(Value::Object(demanded)) = demanded.get("access_token") else { return true };
        demanded.iter().all(|(name, demand)| {
            let asked = self.values(name);
            self.0.contains_key(name) && values(demand).iter().all(|value| asked.contains(value))
        })
    }

    fn invalid() -> Refusal {
        refusal::REQUEST_INVALID.because("The value of the parameter 'claims' is not valid.")
    }
}

/// `value` and `values` of a claim's demand.
fn values(demand: &Value) -> Vec<&str> {
    let one = demand.get("value").and_then(Value::as_str);
    let many = demand.get("values").and_then(Value::as_array);
    one.into_iter().chain(many.into_iter().flatten().filter_map(Value::as_str)).collect()
}

/// The policy that a challenge names when the registration does not say what to demand.
const POLICY: &str = "c0ffee00-0000-4000-8000-000000000001";

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(access_token: Value) -> RequestedClaims {
        RequestedClaims(access_token.as_object().cloned().unwrap())
    }

    #[test]
    fn a_challenge_is_met_by_asking_for_all_of_it() {
        let policy = ConditionalAccess::multi_factor()
            .claims(json!({ "access_token": { "acrs": { "essential": true, "value": "c1" } } }));
        for (asked, met) in [
            (json!({}), false),
            (json!({ "acrs": null }), false),
            (json!({ "acrs": { "value": "c2" } }), false),
            (json!({ "acrs": { "value": "c1" } }), true),
            (json!({ "acrs": { "values": ["c2", "c1"] }, "xms_cc": { "values": ["cp1"] } }), true),
        ] {
            assert_eq!(policy.check(&requested(asked.clone()), "r").is_ok(), met, "{asked}");
        }
        let both = ConditionalAccess::multi_factor()
            .claims(json!({ "access_token": { "acrs": { "values": ["c1", "c2"] } } }));
        assert!(both.check(&requested(json!({ "acrs": { "value": "c1" } })), "r").is_err());
        let refusal = ConditionalAccess::blocked().check(&requested(json!({})), "r").unwrap_err();
        assert_eq!((refusal.code, refusal.suberror.as_deref()), (53003, Some("message_only")));
    }
}
