//! `symbolon call`: calls a configured API and streams the answer.

mod body;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use symbolon::{
    AgentIdentity, Application, DownstreamRequest, DownstreamResponse, ProtocolScheme, SessionKey, User,
    UserAssertion,
};
use uuid::Uuid;

use self::body::FileBody;
use crate::arguments::ConfigurationArguments;
use crate::failure::{Failure, Status};
use crate::trace::{Trace, TraceArguments};
use crate::{configuration, output};

/// Calls an API of the section `DownstreamApis` and streams the answer to standard output.
///
/// What isn't said here is as configured.
#[derive(Args, Debug)]
pub(crate) struct CallArguments {
    /// The API's name in `DownstreamApis`.
    #[arg(value_name = "API")]
    api: String,

    /// The path below its base URL, with a query where there is one.
    #[arg(value_name = "PATH")]
    path: Option<String>,

    #[command(flatten)]
    configuration: ConfigurationArguments,

    /// The method. The default is the configured one; with a body, POST in the place of GET.
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,

    /// A header. Repeat it for more.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,

    /// A parameter of the query, not encoded. Repeat it for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    query: Vec<(String, String)>,

    /// Sends what is in FILE; `-` is standard input. Up to 1 MiB is kept, to be sent a second time where the API asks for
    /// other claims or another certificate.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,

    /// What the body is, such as `application/json`.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// What the token is for. Repeat it for more.
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,

    /// What is presented: `Bearer`, `MTLS_POP` or `MTLS`.
    #[arg(long, value_name = "SCHEME", value_parser = scheme)]
    scheme: Option<ProtocolScheme>,

    /// Whether the token is the application's own.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    request_app_token: Option<bool>,

    /// Calls for the user whose token, issued for the application, is in FILE; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    user_assertion_file: Option<PathBuf>,

    /// The key of a long-running process, or `AllocateForMe`. `-v` shows the key that was allocated.
    #[arg(long, value_name = "KEY")]
    session_key: Option<String>,

    /// Calls as this agent: its application (client) id.
    #[arg(long, value_name = "ID")]
    agent: Option<String>,

    /// The user principal name of the agent's user.
    #[arg(long, value_name = "NAME", requires = "agent", conflicts_with = "agent_user_id")]
    agent_username: Option<String>,

    /// The object id of the agent's user.
    #[arg(long, value_name = "UUID", requires = "agent")]
    agent_user_id: Option<Uuid>,

    /// Asks another directory for the token.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// The claims of a claims challenge, JSON.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,

    /// Takes no token from the cache.
    #[arg(long)]
    force_refresh: bool,

    /// Ends with status 3 where the API answers 400 or above.
    #[arg(long)]
    fail: bool,

    /// Says on standard error what was presented and what came back. Never shows a token.
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    trace: TraceArguments,
}

pub(crate) async fn run(arguments: CallArguments) -> Result<Status, Failure> {
    let trace = arguments.trace.begin()?;
    let outcome = call(&arguments, &trace).await;
    trace.end(outcome)
}

async fn call(arguments: &CallArguments, trace: &Trace) -> Result<Status, Failure> {
    let application = configuration::application(configuration::options(&arguments.configuration)?, trace)?;
    let request = arguments.request(&application)?;
    let mut response = request.send().await?;
    if arguments.verbose {
        tell(arguments, &response);
    } else if let Some(why) = response.not_retried() {
        output::warning(&format!("the call was not repeated: {why}"), false);
    }
    stream(&mut response).await?;
    let status = response.status();
    match arguments.fail && (status.is_client_error() || status.is_server_error()) {
        true => Err(Failure::api(&arguments.api, status.as_u16())),
        false => Ok(Status::Ok),
    }
}

impl CallArguments {
    fn request(&self, application: &Application) -> Result<DownstreamRequest, Failure> {
        let api = application.downstream_api(&self.api)?;
        let has_body = self.body_file.is_some();
        let mut request = api.call();
        if let Some(name) = &self.method {
            let method = symbolon_resources::configuration::parse_method(name);
            request =
                request.method(method.ok_or_else(|| Failure::usage(format!("{name:?} is no HTTP method")))?);
        } else if has_body && api.options().http_method == http::Method::GET {
            request = request.method(http::Method::POST);
        }
        if let Some(path) = &self.path {
            request = request.path(path);
        }
        for (name, value) in &self.header {
            request = request.header(name, value);
        }
        for (name, value) in &self.query {
            request = request.query(name, value);
        }
        if let Some(content_type) = &self.content_type {
            request = request.content_type(content_type);
        }
        if !self.scope.is_empty() {
            request = request.scopes(&self.scope);
        }
        if let Some(scheme) = self.scheme {
            request = request.scheme(scheme);
        }
        if let Some(file) = &self.body_file {
            let body = FileBody::open(file).map_err(|error| Failure::file(file, &error))?;
            request = request.stream(body);
        }
        self.identity(request)
    }

    /// Who calls, and for whom.
    fn identity(&self, mut request: DownstreamRequest) -> Result<DownstreamRequest, Failure> {
        if let Some(file) = &self.user_assertion_file {
            request = request.for_user(UserAssertion::from(text(file)?));
        }
        if let Some(wanted) = self.request_app_token {
            request = request.request_app_token(wanted);
        }
        if let Some(key) = &self.session_key {
            request = request.long_running_session_key(SessionKey::from(key.as_str()));
        }
        if let Some(agent) = &self.agent {
            let user = self.agent_username.clone().map(User::Username);
            let agent = match user.or(self.agent_user_id.map(User::ObjectId)) {
                Some(user) => AgentIdentity::with_user(agent, user),
                None => AgentIdentity::app_only(agent),
            };
            request = request.agent_identity(agent);
        }
        if let Some(tenant) = &self.tenant {
            request = request.tenant(tenant);
        }
        if let Some(claims) = &self.claims {
            request = request.claims(claims);
        }
        Ok(if self.force_refresh { request.force_refresh(true) } else { request })
    }
}

/// What was presented and what came back.
fn tell(arguments: &CallArguments, response: &DownstreamResponse) {
    let presented = response.presented();
    let header = &presented.header;
    let mut lines = vec![format!("* {} by {}", arguments.api, header.protocol_scheme().as_str())];
    if let Some(token) = header.authentication_result() {
        let scopes: Vec<_> = token.scopes().collect();
        lines.push(format!(
            "* presented a token: {}, for {}, from {}, correlation id {}",
            token.token_type(),
            scopes.join(" "),
            token.metadata().token_source.as_str(),
            token.correlation_id()
        ));
    }
    if let Some(certificate) = header.binding_certificate() {
        lines.push(format!(
            "* presented a certificate: {}, x5t#S256 {}",
            certificate.subject(),
            certificate.thumbprint_sha256()
        ));
    }
    if header.value().is_none() && header.binding_certificate().is_none() {
        lines.push("* presented nothing".to_owned());
    }
    if let Some(key) = header.long_running_session_key() {
        lines.push(format!("* session key {key}"));
    }
    if presented.attempts > 1 {
        lines.push(format!("* sent {} times", presented.attempts));
    }
    if let Some(why) = response.not_retried() {
        lines.push(format!("* not sent again: {why}"));
    }
    lines.push(format!("< {:?} {}", response.version(), response.status()));
    for (name, value) in response.headers() {
        lines.push(format!("< {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    for line in lines {
        output::note(&line);
    }
}

/// Writes the body as it comes.
async fn stream(response: &mut DownstreamResponse) -> Result<(), Failure> {
    while let Some(part) = response.chunk().await? {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&part).and_then(|()| stdout.flush()).map_err(Failure::output)?;
    }
    Ok(())
}

fn text(file: &Path) -> Result<String, Failure> {
    let text = match file == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Failure::file(file, &error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("accepted: a name, a colon and a value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("accepted: a name, `=` and a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn scheme(text: &str) -> Result<ProtocolScheme, String> {
    let name = text.replace('-', "_");
    let names = ProtocolScheme::ALL.map(ProtocolScheme::as_str).join(", ");
    ProtocolScheme::parse(&name).ok_or_else(|| format!("accepted: {names}"))
}
