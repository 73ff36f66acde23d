//! A request for the header of an API, or for a call of it.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use symbolon::{AuthorizationHeader, DownstreamApiOptions, DownstreamRequest, Error, ProtocolScheme};
use symbolon_resources::configuration::AllowOverrides;

use super::answer;
use crate::State;
use crate::overrides::effective_options;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::validation::Principal;

/// What `Sidecar:AllowOverrides` has a key for.
#[derive(Clone, Copy)]
pub(super) enum Gate {
    AuthorizationHeader,
    AuthorizationHeaderUnauthenticated,
    DownstreamApi,
    DownstreamApiUnauthenticated,
}

impl Gate {
    /// Its key, and whether it is open.
    fn of(self, gates: &AllowOverrides) -> (&'static str, bool) {
        match self {
            Self::AuthorizationHeader => ("GetAuthorizationHeader", gates.authorization_header),
            Self::AuthorizationHeaderUnauthenticated => {
                ("GetAuthorizationHeaderUnauthenticated", gates.authorization_header_unauthenticated)
            }
            Self::DownstreamApi => ("CallDownstreamApi", gates.downstream_api),
            Self::DownstreamApiUnauthenticated => {
                ("CallDownstreamApiUnauthenticated", gates.downstream_api_unauthenticated)
            }
        }
    }
}

/// What a caller is told, and why.
pub(super) struct Failure {
    pub(super) problem: Problem,
    /// What came of the acquisition or of the call, where it came to one.
    pub(super) error: Option<Error>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, error: None }
    }
}

/// A call whose parameters have been looked at.
pub(super) struct Call<'a> {
    state: &'a State,
    api: &'a str,
    options: DownstreamApiOptions,
    /// Whether the caller says how it is made.
    is_callers: bool,
    principal: Option<Principal>,
}

impl<'a> Call<'a> {
    /// The API's configuration with what the caller may change of it; `gate` says whether it may.
    pub(super) fn new(
        state: &'a State,
        api: &'a str,
        parameters: Parameters,
        gate: Gate,
        principal: Option<Principal>,
    ) -> Result<Self, Problem> {
        let configured = state.apis.iter().find(|known| known.name().eq_ignore_ascii_case(api));
        if configured.is_none() && state.strict() {
            return Err(Problem::new(StatusCode::NOT_FOUND, format!("There is no API '{api}'.")));
        }
        let mut options = configured.map(|known| known.options().clone()).unwrap_or_default();
        options.limits.follow_redirects |= state.settings.allow_outbound_redirects;
        let (key, is_open) = gate.of(&state.settings.allow_overrides);
        let is_callers = is_open && (parameters.has_overrides() || parameters.names_agent());
        for ignored in effective_options(&mut options, &parameters, is_open, state.strict())? {
            ignored.log(key);
        }
        Ok(Self { state, api, options, is_callers, principal })
    }

    /// The same with nothing that its caller could change.
    pub(super) fn as_configured(
        state: &'a State,
        api: &'a str,
        principal: Option<Principal>,
    ) -> Result<Self, Problem> {
        Self::new(state, api, Parameters::default(), Gate::AuthorizationHeader, principal)
    }

    /// What the call would present.
    pub(super) async fn authorization_header(self) -> Result<AuthorizationHeader, Failure> {
        if self.options.scopes.is_empty() {
            return Err(self.no_scopes().into());
        }
        if self.options.protocol_scheme != ProtocolScheme::Bearer {
            let detail = format!(
                "The API '{}' is called by {}: the certificate that it wants can't be handed out. Call it by /DownstreamApi.",
                self.api,
                self.options.protocol_scheme.as_str()
            );
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail).into());
        }
        self.request()?.authorization_header().await.map_err(|error| self.failure(error))
    }

    /// Calls it.
    pub(super) async fn send(self, request: Request) -> Result<Response, Failure> {
        if self.options.scopes.is_empty() && self.options.protocol_scheme != ProtocolScheme::Mtls {
            return Err(self.no_scopes().into());
        }
        let extra = &self.state.settings.response_headers;
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut call = self.request()?;
        if let Some(content_type) = content_type {
            call = call.content_type(content_type);
        }
        let body = request.into_body();
        if !body.is_end_stream() {
            call = call.stream(body);
        }
        let response = call.send().await.map_err(|error| self.failure(error))?;
        answer::called(response, extra).await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: Error) -> Failure {
        let problem = Problem::of_acquisition(&error, &self.options.scopes, self.is_callers);
        Failure { problem, error: Some(error) }
    }

    fn request(&self) -> Result<DownstreamRequest, Problem> {
        let api = self.state.application.downstream_api_with(self.api, self.options.clone());
        let request = api.call();
        if let Some(principal) = &self.principal {
            return Ok(request.user_assertion(principal.token.clone()));
        }
        let acquire = &self.options.acquire_token_options;
        let names_user = acquire.agent.as_ref().is_some_and(|agent| agent.user().is_some())
            || acquire.long_running_session_key.as_ref().is_some_and(|key| key.get().is_some());
        let for_app = self.options.request_app_token || acquire.managed_identity.is_some();
        match for_app || names_user || self.options.protocol_scheme == ProtocolScheme::Mtls {
            true => Ok(request),
            false => {
                let detail = "No account or login hint was passed to the AcquireTokenSilent call: nothing says for which \
                              user. Set RequestAppToken for the application's own token.";
                Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
            }
        }
    }

    fn no_scopes(&self) -> Problem {
        let detail = format!(
            "No scopes found for the API '{}' or in optionsOverride. 'scopes' needs to be either a single value or a list \
             of values.",
            self.api
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }
}
