//! Where requests go.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy, OriginError};
use symbolon::{DownstreamApi, DownstreamApiOptions, ProtocolScheme, Symbolon, TransportError};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::configuration::{Configuration, RouteSettings};
use crate::engine::Plugin;

/// A path prefix and what becomes of requests whose paths begin with it.
pub(crate) struct Route {
    /// Without the slash at its end.
    prefix: String,
    /// The path of the API's base URL, without the slash at its end.
    base_path: String,
    /// Of the API's base URL.
    pub(crate) scheme: Scheme,
    /// Of the API's base URL.
    authority: Authority,
    /// What requests go through.
    pub(crate) plugin: Option<Plugin>,
    /// Who the plugin is, and what it may have.
    pub(crate) guest: GuestCtx,
    /// What the plugin is told, by `wasi:config`.
    pub(crate) settings: WasiConfigVariables,
    /// The API, called with nothing presented.
    plain: DownstreamApi,
}

impl Route {
    /// A route of the configuration.
    pub(crate) fn new(
        configuration: &Configuration,
        prefix: &str,
        route: &RouteSettings,
        plugin: Option<Plugin>,
        symbolon: &Symbolon,
    ) -> anyhow::Result<Self> {
        let acquirer = symbolon.token_acquirer(configuration.settings.clone());
        let api = acquirer.downstream_api(&route.api)?;
        let base: Uri = api.options().base_url.as_deref().unwrap_or_default().parse()?;
        let parts = base.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            let accepted = "an API with BaseUrl";
            return Err(configuration.problem(
                prefix,
                format_args!("the API {:?} without one", route.api),
                accepted,
            ));
        };
        let origin = format!("{scheme}://{authority}");
        let guest = GuestCtx::new(prefix, api.application()?, policy(&api, &origin)?);
        let base_path = parts.path_and_query.map_or_else(String::new, |path| path.path().to_owned());
        let mut plain = DownstreamApiOptions::new(origin);
        plain.limits = api.options().limits.clone();
        plain.limits.replay_limit = 0;
        plain.limits.follow_redirects = false;
        Ok(Self {
            prefix: prefix.trim_end_matches('/').to_owned(),
            base_path: base_path.trim_end_matches('/').to_owned(),
            scheme,
            authority,
            plugin,
            guest,
            settings: settings(&api),
            plain: api.application()?.downstream_api_with(route.api.as_str(), plain),
        })
    }

    /// How many bytes of the path it takes, if it takes it.
    pub(crate) fn takes(&self, path: &str) -> Option<usize> {
        let rest = path.strip_prefix(&self.prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(self.prefix.len())
    }

    /// Where a request for this goes, which the route takes.
    pub(crate) fn upstream(&self, path: &PathAndQuery) -> Result<Uri, http::Error> {
        let rest = path.as_str().strip_prefix(&self.prefix).unwrap_or_default();
        // A path is never empty.
        let slash = if self.base_path.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        let path = format!("{}{slash}{rest}", self.base_path);
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        builder.path_and_query(path).build()
    }

    /// Sends a request to the API, and to no other place, with nothing presented. Bodies go through as they come.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Response<WasiBody>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uri = request.uri();
        if uri.scheme() != Some(&self.scheme) || uri.authority() != Some(&self.authority) {
            return Err(Error::HttpRequestDenied);
        }
        let answer = self.plain.forward(request).send().await.map_err(|error| {
            tracing::warn!(%error, "upstream gave no answer");
            Error::DestinationUnavailable
        })?;
        Ok(answer.into_http().map(|body| WasiBody::new(body.map_err(incomplete))))
    }
}

fn incomplete(error: TransportError) -> Error {
    tracing::debug!(%error, "upstream broke off");
    Error::HttpResponseIncomplete
}

/// Lets the plugin present what the API's settings say, to that API.
fn policy(api: &DownstreamApi, origin: &str) -> Result<GuestPolicy, OriginError> {
    let options = api.options();
    let policy = GuestPolicy::new().allow_flow(match options.request_app_token {
        true => GuestFlow::ForClient,
        false => GuestFlow::OnBehalfOf,
    });
    match options.protocol_scheme {
        ProtocolScheme::Mtls => policy.allow_certificate(origin),
        _ if options.scopes.is_empty() => Ok(policy),
        _ => policy.allow_api(origin, options.scopes.clone()),
    }
}

/// What the plugin must know to say what is to be presented.
fn settings(api: &DownstreamApi) -> WasiConfigVariables {
    let options = api.options();
    let flow = match options.request_app_token {
        true => "for-client",
        false => "on-behalf-of",
    };
    let scheme = options.protocol_scheme.as_str().to_owned();
    WasiConfigVariables::from_iter([
        ("scheme".to_owned(), scheme),
        ("scopes".to_owned(), options.scopes.join(" ")),
        ("flow".to_owned(), flow.to_owned()),
    ])
}

/// Whether a path has a step that servers take for the directory itself or the one above: it would leave its route.
pub(crate) fn has_dots(path: &str) -> bool {
    path.split(['/', '\\']).any(|step| matches!(&*step.to_ascii_lowercase().replace("%2e", "."), "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_found_in_every_spelling() {
        for path in ["/a/../b", "/..", "/a/.", "/a/%2e%2E/b", "/a/.%2e", "/a\\..\\b"] {
            assert!(has_dots(path), "{path}");
        }
        for path in ["/", "/a.b/c..d", "/...", "/.well-known/x", "/%2f"] {
            assert!(!has_dots(path), "{path}");
        }
    }
}
