//! The parameters of a query: an agent, and what is to be different from the configuration.

use http::Method;
use symbolon::{AgentIdentity, DownstreamApiOptions, ManagedIdentityId, SessionKey};
use symbolon_resources::configuration::parse_method;
use uuid::Uuid;

use crate::problem::Problem;

/// The parameters of a request's query, decoded, in their order.
#[derive(Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of a query, without the question mark.
    pub fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Whether something is to be different from the configuration. `BaseUrl` is never, and doesn't count.
    pub fn has_overrides(&self) -> bool {
        self.overrides().any(|(name, _)| !name.eq_ignore_ascii_case(BASE_URL))
    }

    /// Whether a base URL is named, which only the configuration says.
    pub fn names_base_url(&self) -> bool {
        self.overrides().any(|(name, _)| name.eq_ignore_ascii_case(BASE_URL))
    }

    /// Whether an agent is named.
    pub fn names_agent(&self) -> bool {
        [AGENT_IDENTITY, AGENT_USERNAME, AGENT_USER_ID].into_iter().any(|name| self.last(name).is_some())
    }

    /// The agent that the caller names, where it does. The user's name counts before its object id; `strict` accepts no
    /// more than one of them.
    ///
    /// # Errors
    ///
    /// 400 for an object id that is none: the agent's own token is another thing than its user's.
    pub fn agent(&self, strict: bool) -> Result<Option<AgentIdentity>, Problem> {
        let given = |name| self.last(name).filter(|value| !value.trim().is_empty());
        let Some(agent) = given(AGENT_IDENTITY) else { return Ok(None) };
        let agent = match (given(AGENT_USERNAME), given(AGENT_USER_ID)) {
            (Some(_), Some(_)) if strict => {
                let detail =
                    "AgentUsername and AgentUserId name the agent's user twice; one of them is accepted.";
                return Err(Problem::new(http::StatusCode::BAD_REQUEST, detail));
            }
            (Some(username), id) => {
                if id.is_some() {
                    tracing::warn!(
                        "an agent's user is named by AgentUsername and by AgentUserId; the first counts"
                    );
                }
                AgentIdentity::with_user_principal_name(agent, username)
            }
            (None, Some(id)) => {
                let id = Uuid::try_parse(id.trim()).map_err(|_| {
                    let detail = "AgentUserId is no object id; accepted is a UUID.";
                    Problem::new(http::StatusCode::BAD_REQUEST, detail)
                })?;
                AgentIdentity::with_user_object_id(agent, id)
            }
            (None, None) => AgentIdentity::app_only(agent),
        };
        Ok(Some(agent))
    }

    /// How an API is called where these parameters count: what they name is as they say, the rest as configured. Values
    /// that are empty, and flags and ids that are none, count as absent.
    ///
    /// # Errors
    ///
    /// 400 for a method that is none.
    pub fn apply(&self, options: &mut DownstreamApiOptions) -> Result<(), Problem> {
        let given = self
            .overrides()
            .filter(|(name, scope)| name.eq_ignore_ascii_case("Scopes") && !scope.trim().is_empty());
        let scopes: Vec<_> = given.map(|(_, scope)| scope.to_owned()).collect();
        if !scopes.is_empty() {
            options.scopes = scopes;
        }
        if let Some(wanted) = self.flag("RequestAppToken") {
            options.request_app_token = wanted;
        }
        if let Some(path) = self.text("RelativePath") {
            options.relative_path = path;
        }
        if let Some(method) = self.text("HttpMethod") {
            options.http_method = method_of(&method)?;
        }
        options.content_type = self.text("ContentType").or(options.content_type.take());
        options.accept_header = self.text("AcceptHeader").or(options.accept_header.take());
        for (name, value) in self.named("ExtraHeaderParameters.") {
            options.extra_header_parameters.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            options.extra_header_parameters.push((name.to_owned(), value.to_owned()));
        }
        for (name, value) in self.named("ExtraQueryParameters.") {
            options.extra_query_parameters.retain(|(known, _)| known != name);
            options.extra_query_parameters.push((name.to_owned(), value.to_owned()));
        }
        self.apply_to_acquisition(options);
        Ok(())
    }

    fn apply_to_acquisition(&self, options: &mut DownstreamApiOptions) {
        let options = &mut options.acquire_token_options;
        let text = |name: &str| self.text(&format!("AcquireTokenOptions.{name}"));
        options.tenant = text("Tenant").or(options.tenant.take());
        options.claims = text("Claims").or(options.claims.take());
        options.fmi_path = text("FmiPath").or(options.fmi_path.take());
        options.pop_public_key = text("PopPublicKey").or(options.pop_public_key.take());
        if let Some(key) = text("LongRunningWebApiSessionKey") {
            options.long_running_session_key = Some(SessionKey::from(key));
        }
        if let Some(force) = self.flag("AcquireTokenOptions.ForceRefresh") {
            options.force_refresh = force;
        }
        let id = text("CorrelationId").and_then(|id| Uuid::try_parse(id.trim()).ok());
        let id = id.filter(|id| !id.is_nil());
        options.correlation_id = id.or(options.correlation_id);
        if let Some(id) = self.last_override("AcquireTokenOptions.ManagedIdentity.UserAssignedClientId") {
            options.managed_identity = Some(match id.trim() {
                "" => ManagedIdentityId::SystemAssigned,
                id => ManagedIdentityId::ClientId(id.to_owned()),
            });
        }
    }

    /// The last value of a parameter, whatever the case of its name.
    fn last(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What is to be different, by names without the prefix.
    fn overrides(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((without_prefix(name, PREFIX)?, value.as_str())))
    }

    fn last_override(&self, name: &str) -> Option<&str> {
        let found = self.overrides().rev().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.last_override(name).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        let value = self.last_override(name)?.trim();
        ["false", "true"].iter().position(|known| known.eq_ignore_ascii_case(value)).map(|flag| flag == 1)
    }

    /// Those whose names go on after this.
    fn named(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let named =
            self.overrides().filter_map(move |(name, value)| Some((without_prefix(name, prefix)?, value)));
        named.filter(|(name, _)| !name.is_empty())
    }
}

impl std::fmt::Debug for Parameters {
    /// Leaves out the values, which may be claims, keys of sessions or names of users.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn without_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let start = name.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &name[prefix.len()..])
}

fn method_of(name: &str) -> Result<Method, Problem> {
    // A tunnel is no call.
    parse_method(name).filter(|method| *method != Method::CONNECT).ok_or_else(|| {
        let detail = "optionsOverride.HttpMethod is no HTTP method, such as GET.";
        Problem::new(http::StatusCode::BAD_REQUEST, detail)
    })
}

/// A parameter that callers may give: its name, what it is, and whether it is a flag.
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) is_flag: bool,
}

const fn text(name: &'static str, description: &'static str) -> Described {
    Described { name, description, is_flag: false }
}

const fn flag(name: &'static str, description: &'static str) -> Described {
    Described { name, description, is_flag: true }
}

/// Those that have a name of their own, for the description of the routes.
pub(crate) const DESCRIBED: [Described; 18] = [
    text(AGENT_IDENTITY, "The application (client) id of the agent that the call is made as."),
    text(AGENT_USERNAME, "The user principal name of the agent's user."),
    text(AGENT_USER_ID, "The object id of the agent's user, a UUID. Anything else is an error."),
    text("optionsOverride.Scopes", "What the token is for. Repeat it for more."),
    flag(
        "optionsOverride.RequestAppToken",
        "Whether the token is the application's own, in the place of the user's.",
    ),
    text("optionsOverride.BaseUrl", "Has no effect: the configuration says where an API is."),
    text("optionsOverride.RelativePath", "The path below the base URL."),
    text("optionsOverride.HttpMethod", "The method, such as `GET`."),
    text("optionsOverride.AcceptHeader", "The `accept` header."),
    text("optionsOverride.ContentType", "The `content-type` of a body that the caller doesn't give one for."),
    text(
        "optionsOverride.AcquireTokenOptions.Tenant",
        "The directory that is asked: its id or a domain name.",
    ),
    flag("optionsOverride.AcquireTokenOptions.ForceRefresh", "Whether the cache gives no token."),
    text("optionsOverride.AcquireTokenOptions.Claims", "The claims of a claims challenge, JSON."),
    text("optionsOverride.AcquireTokenOptions.CorrelationId", "The id that goes to the authority, a UUID."),
    text(
        "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey",
        "The key of a long-running process, or `AllocateForMe`: the answer has the key then.",
    ),
    text("optionsOverride.AcquireTokenOptions.FmiPath", "A path below the application, for its own token."),
    text(
        "optionsOverride.AcquireTokenOptions.PopPublicKey",
        "A public key as a JSON Web Key, to which the token is bound for signed HTTP requests.",
    ),
    text(
        "optionsOverride.AcquireTokenOptions.ManagedIdentity.UserAssignedClientId",
        "The client id of a managed identity, in the place of the application.",
    ),
];

const PREFIX: &str = "optionsOverride.";
const BASE_URL: &str = "BaseUrl";
const AGENT_IDENTITY: &str = "AgentIdentity";
const AGENT_USERNAME: &str = "AgentUsername";
const AGENT_USER_ID: &str = "AgentUserId";
