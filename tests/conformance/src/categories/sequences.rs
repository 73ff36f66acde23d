//! Acquisitions in the sandbox, against the local authority: what becomes of certificates, and who learns of it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use symbolon::{Account, AcquireTokenOptions, Application, AuthenticationResult, Error, Settings};
use symbolon_authority::{
    AuthorizationCode, FEDERATION_ISSUER, Fault, FederatedAssertion, REDIRECT_URI, Registration, UserToken,
    sample,
};

use super::calls::broken;
use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
    runtime::block_on,
    world::{SECRET, World, secret, world},
};

/// Acquisitions one after the other, against an authority that answers as it is told.
pub(super) fn run_sequence(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let flow = Flow::read(given.text("flow")?.unwrap_or("app"))?;
    let answers = when.any("sts").and_then(Value::as_array).into_iter().flatten();
    let answers = answers.map(answer).collect::<Read<Vec<_>>>()?;
    let credentials = match (given.texts("certs")?, given.texts("credentials")?) {
        (Some(certificates), None) => Credentials::Certificates(chains(&certificates)?),
        (None, Some(names)) if names == ["SignedAssertionFilePath"] => Credentials::AssertionFile,
        (None, Some(names)) if names == ["ClientSecret"] => Credentials::Secret,
        _ => return Err(Uncovered("the credentials aren't understood".into())),
    };
    let calls = given.number("calls")?.unwrap_or(1);
    let done = block_on(sequence(flow, &credentials, answers, calls)).map_err(broken)?;
    checks.check("events", done.events);
    checks.check("sts_calls", done.requests);
    check_outcome(&done.last, checks);
    given.finish().and_then(|()| when.finish())
}

/// The last call ends with a token, or with what MSAL calls an error of the service.
fn check_outcome(last: &Result<AuthenticationResult, Error>, checks: &mut Checks<'_>) {
    match last {
        Ok(_) => {
            checks.succeeded();
            checks.check("outcome", "token");
        }
        Err(Error::Acquisition(error)) => {
            checks.check("outcome", "MsalServiceException");
            checks.check("error", error.code.as_str());
            checks.check("error_code", error.code.as_str());
        }
        Err(error) => checks.check("outcome", error.to_string()),
    }
}

/// A flow of the engine.
#[derive(Clone, Copy)]
enum Flow {
    App,
    OnBehalfOf,
    AuthorizationCode,
    /// A user who signed in before, whose token is renewed.
    Silent,
    Password,
    /// A user of an agent.
    Agent,
}

impl Flow {
    fn read(name: &str) -> Read<Self> {
        Ok(match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "app" => Self::App,
            "user" | "obo" | "on_behalf_of" => Self::OnBehalfOf,
            "auth_code" | "authcode" | "authorization_code" => Self::AuthorizationCode,
            "silent" => Self::Silent,
            "ropc" | "test_user" | "username_password" | "password" => Self::Password,
            "agent" | "agent_user" | "agent_user_identity" => Self::Agent,
            other => return Err(Uncovered(format!("nothing runs the flow {other}"))),
        })
    }

    /// Who is known before the sequence begins.
    async fn prepare(self, world: &World, application: &Application) -> Result<Option<Account>> {
        match self {
            Self::Silent => {
                let signed_in = Self::AuthorizationCode.run(world, application, "", None).await??;
                Ok(signed_in.account())
            }
            _ => Ok(None),
        }
    }

    /// Acquires a token. `incoming` is what the application was called with.
    async fn run(
        self,
        world: &World,
        application: &Application,
        incoming: &str,
        account: Option<&Account>,
    ) -> Result<Result<AuthenticationResult, Error>> {
        let client_id = application.options().client_id();
        Ok(match self {
            Self::App => application.acquire_token_for_client([GRAPH]).await,
            Self::OnBehalfOf => application.acquire_token_on_behalf_of([USER_READ], incoming).await,
            Self::AuthorizationCode => {
                let code = AuthorizationCode::new(client_id, sample::ALICE, REDIRECT_URI);
                let code = world.authority.authorization_code(&code)?;
                application.acquire_token_by_authorization_code([USER_READ], &code, REDIRECT_URI).await
            }
            Self::Silent => {
                let account = account.context("nobody signed in")?;
                application.acquire_token_silent([MAIL_READ], account).await
            }
            Self::Password => {
                let password = sample::ALICE_PASSWORD;
                application.acquire_token_by_username_password([USER_READ], sample::ALICE, password).await
            }
            Self::Agent => {
                let agent = agent_of(client_id);
                let agent = symbolon::AgentIdentity::with_user_principal_name(&agent, sample::ALICE);
                application.acquire_token_for_agent(agent, [USER_READ]).await
            }
        })
    }
}

enum Credentials {
    /// Of each entry, the certificates that it has in turn.
    Certificates(Vec<Vec<String>>),
    AssertionFile,
    Secret,
}

/// `C1`, `C2 (on reload)`: an entry that has one, and when it is read again, the other.
pub(super) fn chains(names: &[String]) -> Read<Vec<Vec<String>>> {
    let mut chains: Vec<Vec<String>> = Vec::new();
    for name in names {
        match (name.strip_suffix(" (on reload)"), chains.last_mut()) {
            (Some(name), Some(chain)) => chain.push(name.to_owned()),
            (None, _) if !name.contains(' ') => chains.push(vec![name.clone()]),
            _ => return Err(Uncovered(format!("the certificate {name} isn't understood"))),
        }
    }
    Ok(chains)
}

/// What the authority answers: `ok`, an error of the client by its code, or a status.
fn answer(answer: &Value) -> Read<Option<Fault>> {
    let unknown = || Uncovered(format!("the answer {answer} isn't understood"));
    let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    if text == "ok" {
        return Ok(None);
    }
    if let Some(code) = text.strip_prefix("AADSTS") {
        return Ok(Some(Fault::Refusal {
            code: code.parse().map_err(|_| unknown())?,
            error: "invalid_client".into(),
            status: 401,
            message: "said the authority".into(),
            suberror: None,
            claims: None,
            retry_after: None,
        }));
    }
    let status = text.parse().map_err(|_| unknown())?;
    Ok(Some(Fault::Status { status, retry_after: None, body: None }))
}

/// What was done.
struct Done {
    events: Vec<String>,
    requests: usize,
    last: Result<AuthenticationResult, Error>,
}

async fn sequence(
    flow: Flow,
    credentials: &Credentials,
    answers: Vec<Option<Fault>>,
    calls: i64,
) -> Result<Done> {
    let world = world().await?;
    let client_id = world.client();
    let mut registration = Registration::new(&client_id);
    let mut entries = Vec::new();
    match credentials {
        Credentials::Certificates(chains) => {
            for (index, names) in chains.iter().enumerate() {
                let chain = names.iter().map(|name| world.certificate(name)).collect::<Result<Vec<_>>>()?;
                for certificate in &chain {
                    registration = registration.certificate(certificate.certificate().clone());
                }
                entries.push(world.in_vault(&client_id, &format!("entry-{index}"), chain)?);
            }
        }
        Credentials::AssertionFile => {
            let assertion = world.authority.federated_assertion(&FederatedAssertion::new(WORKLOAD));
            let path = world.file(&format!("{client_id}.jwt"), &assertion)?;
            registration = registration.federated_credential(FEDERATION_ISSUER, WORKLOAD, AUDIENCE);
            entries.push(
                json!({ "SourceType": "SignedAssertionFilePath", "SignedAssertionFileDiskPath": path }),
            );
        }
        Credentials::Secret => {
            registration = registration.secret(SECRET);
            entries.push(secret());
        }
    }
    world.register(registration);
    world.register(Registration::new(&agent_of(&client_id)).agent_of(&client_id).names_users(true));
    let application = world.application(&client_id, &entries.into())?;
    let account = flow.prepare(world, &application).await?;
    let (noted, requested) = (world.notes(&client_id).len(), world.token_requests(&client_id).len());
    world.script(&client_id, answers);
    let incoming = world.authority.user_token(&UserToken::new(sample::ALICE, &client_id))?;
    let mut last = flow.run(world, &application, &incoming, account.as_ref()).await?;
    for _ in 1..calls {
        // Sources aren't read again within seconds.
        world.advance(11_000);
        last = flow.run(world, &application, &incoming, account.as_ref()).await?;
    }
    // What was selected before is still.
    let notes = world.notes(&client_id).into_iter().enumerate();
    let events = notes.filter(|(at, note)| *at >= noted || note.starts_with("Selected"));
    let events = events.map(|(_, note)| note);
    let agents = world.token_requests(&agent_of(&client_id)).len();
    let requests = world.token_requests(&client_id).len() + agents - requested;
    let events = events.filter(|note| note.contains('(')).collect();
    Ok(Done { events, requests, last })
}

/// Which hooks an acquisition calls.
pub(super) fn extension_events(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let options = given.any("options").cloned();
    let flow = given.required("flow")?.to_ascii_lowercase().replace('-', "_");
    let fired = block_on(hooks(&flow, options)).map_err(broken)?;
    checks.succeeded();
    checks.check("fired", fired.ok_or_else(|| Uncovered(format!("nothing runs the flow {flow}")))?);
    given.finish().and_then(|()| when.finish())
}

async fn hooks(flow: &str, options: Option<Value>) -> Result<Option<Vec<String>>> {
    let world = world().await?;
    let client_id = world.client();
    world.register(Registration::new(&client_id).secret(SECRET).names_users(true));
    let credentials = json!([secret()]);
    let settings = Settings::from_value(world.settings(&client_id, &credentials)?);
    let acquirer = world.engine.token_acquirer(settings);
    let is_for_identity = options.as_ref().is_some_and(|options| options.get("ManagedIdentity").is_some());
    let mut read: Option<AcquireTokenOptions> =
        options.filter(|_| !is_for_identity).map(serde_json::from_value).transpose()?;
    let incoming = world.authority.user_token(&UserToken::new(sample::ALICE, &client_id))?;
    let application = acquirer.application(None)?;
    // What comes of the call is nothing to its hooks.
    let _ = match flow {
        _ if is_for_identity => {
            let identity = symbolon::ManagedIdentityId::SystemAssigned;
            application.acquire_token_for_managed_identity("https://vault.azure.net", identity).await
        }
        "app" | "client" => acquirer.get_token_for_app(GRAPH, read.as_mut()).await,
        "obo" | "on_behalf_of" | "user" => {
            acquirer.get_token_for_user([USER_READ], Some(&incoming), read.as_mut()).await
        }
        "long_running" | "long_running_continue" | "obo_long_running" => {
            application.acquire_token_in_long_running_process([USER_READ], "a key").await
        }
        "ropc" | "test_user" | "username_password" => {
            let password = sample::ALICE_PASSWORD;
            application.acquire_token_by_username_password([USER_READ], sample::ALICE, password).await
        }
        "agent_user" | "agent" | "agent_user_identity" => {
            let agent = symbolon::AgentIdentity::with_user_principal_name(AGENT, sample::ALICE);
            application.acquire_token_for_agent(agent, [USER_READ]).await
        }
        _ => return Ok(None),
    };
    let notes = world.notes(&client_id);
    Ok(Some(notes.into_iter().filter(|note| note.starts_with("On")).collect()))
}

/// Whether an application may be asked for its own token of this scope.
pub(super) fn validate_app_scope(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let scope = given.text("scope")?.unwrap_or_default();
    let refusal = block_on(refused_scope(scope)).map_err(broken)?;
    checks.check("ok", refusal.is_none());
    match refusal {
        None => checks.succeeded(),
        Some(code) => checks.check("error", code),
    }
    given.finish().and_then(|()| when.finish())
}

/// Why the scope is refused before the authority is asked.
async fn refused_scope(scope: &str) -> Result<Option<String>> {
    let world = world().await?;
    let client_id = world.client();
    world.register(Registration::new(&client_id).secret(SECRET));
    let settings = Settings::from_value(world.settings(&client_id, &json!([secret()]))?);
    let result = world.engine.token_acquirer(settings).get_token_for_app(scope, None).await;
    match result {
        Err(Error::Acquisition(error)) if world.token_requests(&client_id).is_empty() => {
            Ok(Some(error.code.clone()))
        }
        Err(error) if world.token_requests(&client_id).is_empty() => Err(error.into()),
        _ => Ok(None),
    }
}

/// The agent of a client that is a blueprint.
fn agent_of(client_id: &str) -> String {
    client_id.replacen('6', "9", 1)
}

pub(super) const GRAPH: &str = "https://graph.microsoft.com/.default";
const USER_READ: &str = "https://graph.microsoft.com/User.Read";
const MAIL_READ: &str = "https://graph.microsoft.com/Mail.Read";
const WORKLOAD: &str = "workload";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const AGENT: &str = "88888888-0000-4000-8000-000000000001";
