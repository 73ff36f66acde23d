//! What of a call its caller may change.

use symbolon::DownstreamApiOptions;

use crate::parameters::Parameters;
use crate::problem::Problem;

/// What a caller asked for and doesn't get. The call goes on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ignored {
    /// Another base URL: the configuration says where APIs are.
    BaseUrl,
    /// Other options, on a route that `Sidecar:AllowOverrides` closes.
    Overrides,
    /// An agent, on such a route.
    Agent,
}

impl Ignored {
    /// The id of the event in the log, as the Entra ID SDK's sidecar has it.
    pub fn event_id(self) -> u32 {
        match self {
            Self::BaseUrl => 4,
            Self::Overrides => 3,
            Self::Agent => 5,
        }
    }

    /// Writes the event; `gate` is the key below `Sidecar:AllowOverrides` that would open the route.
    pub(crate) fn log(self, gate: &'static str) {
        let event_id = self.event_id();
        match self {
            Self::BaseUrl => {
                tracing::warn!(
                    event_id,
                    "optionsOverride.BaseUrl has no effect: the configuration says where APIs are"
                );
            }
            Self::Overrides => {
                tracing::warn!(
                    event_id,
                    gate,
                    "optionsOverride has no effect: Sidecar:AllowOverrides:{gate} is off"
                );
            }
            Self::Agent => {
                tracing::warn!(
                    event_id,
                    gate,
                    "AgentIdentity has no effect: Sidecar:AllowOverrides:{gate} is off"
                );
            }
        }
    }
}

/// Makes the options of a configured API those of a call: in an open gate, what the parameters name is as they say.
///
/// # Errors
///
/// 400 for parameters that can't be meant: [`Parameters::apply`], [`Parameters::agent`].
pub fn effective_options(
    options: &mut DownstreamApiOptions,
    parameters: &Parameters,
    is_open: bool,
    strict: bool,
) -> Result<Vec<Ignored>, Problem> {
    let mut ignored = Vec::new();
    ignored.extend(parameters.names_base_url().then_some(Ignored::BaseUrl));
    if !is_open {
        ignored.extend(parameters.has_overrides().then_some(Ignored::Overrides));
        ignored.extend(parameters.names_agent().then_some(Ignored::Agent));
        return Ok(ignored);
    }
    parameters.apply(options)?;
    if let Some(agent) = parameters.agent(strict)? {
        options.acquire_token_options.agent = Some(agent);
    }
    Ok(ignored)
}
