//! Faults: what can go wrong on the way, on purpose.

use std::sync::Mutex;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::lock;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// The answer comes later; the next matching rule applies as well.
    Delay {
        /// By how much.
        milliseconds: u64,
    },
    /// An HTTP error with a JSON body that is no OAuth error; at the endpoints of a platform and of Key Vault, with the
    /// body that is theirs for the status.
    Status {
        /// The status, such as 429, 500 or 503.
        status: u16,
        /// The `Retry-After` header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// Another body.
        #[serde(default)]
        body: Option<String>,
    },
    /// A refusal as Entra ID words it.
    Refusal {
        /// The number after `AADSTS`.
        code: u32,
        /// The OAuth `error`.
        error: String,
        /// The HTTP status.
        #[serde(default = "bad_request")]
        status: u16,
        /// The text after `AADSTSnnn: `.
        #[serde(default)]
        message: String,
        /// `suberror`.
        #[serde(default)]
        suberror: Option<String>,
        /// `claims`: a claims challenge.
        #[serde(default)]
        claims: Option<String>,
        /// The `Retry-After` header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// The connection is reset after the request was read.
    ResetBeforeHeaders,
    /// Headers and half of the body are sent, then the connection is reset.
    ResetInsideBody,
    /// The connection is closed after the request was read, without `close_notify`.
    CloseWithoutAnswer,
    /// Headers, then a space at a time for ever.
    EndlessBody {
        /// Time between two bytes.
        #[serde(default = "drip")]
        interval_milliseconds: u64,
    },
    /// A valid answer, blown up with spaces.
    LargeBody {
        /// The size of the body.
        #[serde(default = "ten_megabytes")]
        bytes: u64,
        /// Whether `Content-Length` says so beforehand. The default is no.
        #[serde(default)]
        declared: bool,
    },
    /// The answer's JSON is cut in half, with a length that fits.
    MalformedJson,
    /// A successful answer without `access_token`.
    MissingAccessToken,
    /// A successful answer with this `token_type`; with none where `value` is null.
    TokenType {
        /// The type.
        value: Option<String>,
    },
    /// A successful answer with another value of a member, or without it.
    Member {
        /// The member of the answer's JSON, such as `refresh_token`.
        name: String,
        /// The value; the member is left out where it is nothing.
        #[serde(default)]
        value: Option<Value>,
    },
    /// A redirect.
    Redirect {
        /// The `Location` header.
        location: String,
        /// 307 when not said otherwise.
        #[serde(default = "temporary_redirect")]
        status: u16,
    },
    /// Status 200 with a body that is something else.
    Content {
        /// The `Content-Type` header.
        content_type: String,
        /// The body.
        body: String,
    },
}

impl Fault {
    /// The fault's name, as in its JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Status { .. } => "status",
            Self::Refusal { .. } => "refusal",
            Self::ResetBeforeHeaders => "resetBeforeHeaders",
            Self::ResetInsideBody => "resetInsideBody",
            Self::CloseWithoutAnswer => "closeWithoutAnswer",
            Self::EndlessBody { .. } => "endlessBody",
            Self::LargeBody { .. } => "largeBody",
            Self::MalformedJson => "malformedJson",
            Self::MissingAccessToken => "missingAccessToken",
            Self::TokenType { .. } => "tokenType",
            Self::Member { .. } => "member",
            Self::Redirect { .. } => "redirect",
            Self::Content { .. } => "content",
        }
    }
}

/// The two forms of `Retry-After` (RFC 9110 section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// A date, this many seconds from now.
    DateInSeconds(u64),
}

/// How often a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// So many times; in JSON a number.
    Count(u32),
    /// Always; in JSON `"always"`.
    Always,
}

impl Times {
    /// A single time.
    pub const ONCE: Self = Self::Count(1);
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Always => serializer.serialize_str("always"),
        }
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Count(u32),
            Word(String),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Count(count)) => Ok(Self::Count(count)),
            Ok(Form::Word(word)) if word == "always" => Ok(Self::Always),
            _ => Err(de::Error::custom("expected a number of times or \"always\"")),
        }
    }
}

/// Which endpoint a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Endpoint {
    /// `/{tenant}/oauth2/v2.0/token`
    #[default]
    Token,
    /// `/{tenant}/oauth2/v2.0/authorize`
    Authorize,
    /// `/{tenant}/…/.well-known/openid-configuration`
    Metadata,
    /// `/{tenant}/discovery/…/keys`
    Keys,
    /// `/common/discovery/instance`
    InstanceDiscovery,
    /// A platform's instance metadata service: `/metadata/identity/oauth2/token`
    Imds,
    /// The same: `/metadata/instance/compute`
    Instance,
    /// The same: `/metadata/identity/getplatformmetadata`
    PlatformMetadata,
    /// The same: `/metadata/identity/issuecredential`
    IssueCredential,
    /// A platform's endpoint of App Service.
    AppService,
    /// A platform's endpoint of Service Fabric.
    ServiceFabric,
    /// A platform's endpoint of Azure Arc.
    AzureArc,
    /// A platform's endpoint of Cloud Shell.
    CloudShell,
    /// A platform's endpoint of Machine Learning.
    MachineLearning,
    /// Any path of a key vault.
    KeyVault,
}

/// A fault with the requests that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// How often. The default is once.
    #[serde(default = "once")]
    pub times: Times,
    /// How many matching requests are left alone first. The default is none.
    #[serde(default)]
    pub skip: u32,
    /// Only requests that name this client. The default is every client.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Only requests to this host. The default is every host.
    #[serde(default)]
    pub host: Option<String>,
    /// Only requests to this endpoint. The default is the token endpoint.
    #[serde(default)]
    pub endpoint: Endpoint,
}

impl FaultRule {
    /// The fault, once, for every client at the token endpoint of every host.
    pub fn once(fault: Fault) -> Self {
        Self { fault, times: Times::ONCE, skip: 0, client_id: None, host: None, endpoint: Endpoint::Token }
    }

    /// The fault, so many times.
    pub fn times(mut self, count: u32) -> Self {
        self.times = Times::Count(count);
        self
    }

    /// The fault, always.
    pub fn always(mut self) -> Self {
        self.times = Times::Always;
        self
    }

    /// Leaves so many matching requests alone first.
    pub fn skip(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Only for this client.
    pub fn client(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.to_owned());
        self
    }

    /// Only at this host.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// At another endpoint than the token endpoint.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    fn is_for(&self, client_id: Option<&str>, host: &str, endpoint: Endpoint) -> bool {
        let same = |own: &Option<String>, other: Option<&str>| {
            own.as_ref().is_none_or(|own| other.is_some_and(|other| own.eq_ignore_ascii_case(other)))
        };
        self.endpoint == endpoint && same(&self.client_id, client_id) && same(&self.host, Some(host))
    }
}

/// A rule with its number and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ActiveFault {
    /// Names the rule for its removal.
    pub id: u64,
    /// The rule; `times` and `skip` count down.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// How often it has applied.
    pub hits: u64,
}

/// The rules in force, in the order they were added. The first that matches applies.
#[derive(Debug, Default)]
pub struct Faults(Mutex<(u64, Vec<ActiveFault>)>);

impl Faults {
    /// Adds a rule and gives its id.
    pub fn add(&self, rule: FaultRule) -> u64 {
        let (last, rules) = &mut *lock(&self.0);
        *last += 1;
        rules.push(ActiveFault { id: *last, rule, hits: 0 });
        *last
    }

    /// Removes a rule; whether it was there.
    pub fn remove(&self, id: u64) -> bool {
        let rules = &mut lock(&self.0).1;
        let before = rules.len();
        rules.retain(|active| active.id != id);
        rules.len() < before
    }

    /// Removes every rule.
    pub fn clear(&self) {
        lock(&self.0).1.clear();
    }

    /// Every rule, used up or not.
    pub fn list(&self) -> Vec<ActiveFault> {
        lock(&self.0).1.clone()
    }

    /// The faults for a request, used up by one: any number of delays, then at most one other.
    pub(crate) fn take(&self, client_id: Option<&str>, host: &str, endpoint: Endpoint) -> Vec<Fault> {
        let rules = &mut lock(&self.0).1;
        let mut taken = Vec::new();
        for active in rules.iter_mut().filter(|active| active.rule.is_for(client_id, host, endpoint)) {
            match &mut active.rule {
                FaultRule { times: Times::Count(0), .. } => continue,
                FaultRule { skip, .. } if *skip > 0 => {
                    *skip -= 1;
                    continue;
                }
                FaultRule { times: Times::Count(left), .. } => *left -= 1,
                FaultRule { times: Times::Always, .. } => {}
            }
            active.hits += 1;
            taken.push(active.rule.fault.clone());
            if !matches!(active.rule.fault, Fault::Delay { .. }) {
                break;
            }
        }
        taken
    }
}

fn once() -> Times {
    Times::ONCE
}

fn bad_request() -> u16 {
    400
}

fn temporary_redirect() -> u16 {
    307
}

fn drip() -> u64 {
    50
}

fn ten_megabytes() -> u64 {
    10 * 1024 * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(faults: &Faults, client: &str) -> Vec<&'static str> {
        faults.take(Some(client), "h", Endpoint::Token).iter().map(Fault::kind).collect()
    }

    #[test]
    fn rules_apply_in_order_and_are_used_up() {
        let faults = Faults::default();
        faults.add(FaultRule::once(Fault::Delay { milliseconds: 1 }).always());
        faults.add(FaultRule::once(Fault::MalformedJson).times(2).client("A"));
        faults.add(FaultRule::once(Fault::ResetBeforeHeaders).skip(1));
        assert_eq!(kinds(&faults, "a"), ["delay", "malformedJson"]);
        assert_eq!(kinds(&faults, "b"), ["delay"]);
        assert_eq!(kinds(&faults, "b"), ["delay", "resetBeforeHeaders"]);
        assert_eq!(kinds(&faults, "a"), ["delay", "malformedJson"]);
        assert_eq!(kinds(&faults, "a"), ["delay"]);
        assert!(faults.take(Some("a"), "h", Endpoint::Keys).is_empty());
        assert_eq!(faults.list().iter().map(|active| active.hits).collect::<Vec<_>>(), [5, 2, 1]);
    }

    #[test]
    fn rules_in_json() {
        let rule: FaultRule = serde_json::from_str(
            r#"{"fault":{"kind":"status","status":429,"retryAfter":{"seconds":3}},"times":"always","clientId":"a"}"#,
        )
        .unwrap();
        let status = Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(3)), body: None };
        assert_eq!(rule, FaultRule::once(status).always().client("a"));
        for wrong in [
            r#"{"fault":{"kind":"status","status":429,"retryafter":1}}"#,
            r#"{"fault":{"kind":"none"}}"#,
            r#"{"fault":{"kind":"malformedJson"},"times":"twice"}"#,
            r#"{"fault":{"kind":"malformedJson"},"client":"a"}"#,
        ] {
            assert!(serde_json::from_str::<FaultRule>(wrong).is_err(), "{wrong}");
        }
    }
}
