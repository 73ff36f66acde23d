//! Calls of other APIs that are refused: what is presented next, and who learns of it.

use anyhow::{Context, Result};
use http_body_util::Empty;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use symbolon::{Error, Settings};
use symbolon_authority::{Api, Ask, LogEntry, Registration, UserToken, sample};

use super::{
    calls::broken,
    requests::values,
    sequences::{GRAPH, chains},
};
use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
    runtime::block_on,
    world::{SECRET, secret, world},
};

/// Calls with a certificate in the place of a token.
pub(super) fn mtls_downstream_call(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let credentials = match (given.texts("certs")?, given.texts("credentials")?) {
        (Some(certificates), None) => vec![Credential::Certificates(chains(&certificates)?)],
        (None, Some(names)) => names.iter().map(|name| Credential::read(name)).collect::<Read<_>>()?,
        _ => return Err(Uncovered("there are no credentials".into())),
    };
    let calls = given.number("calls")?.unwrap_or(1);
    let options = Map::from_iter([("ProtocolScheme".to_owned(), "MTLS".into())]);
    let scene = Scene { credentials, options, forwards: false, answers: answers(&when)?, calls };
    let done = block_on(scene.play()).map_err(broken)?;
    done.check(checks, false);
    given.finish().and_then(|()| when.finish())
}

/// A call that presents the certificate of a credential and no token.
pub(super) fn present(credential: &str, checks: &mut Checks<'_>) -> Read<()> {
    let credentials = vec![match credential {
        "certificate" => Credential::read("C1")?,
        name if name.contains("secret") => Credential::Secret,
        // What isn't a certificate is passed over.
        _ => Credential::read("none")?,
    }];
    let options = Map::from_iter([("ProtocolScheme".to_owned(), "MTLS".into())]);
    let scene = Scene { credentials, options, forwards: false, answers: vec![], calls: 1 };
    let done = block_on(scene.play()).map_err(broken)?;
    done.check(checks, true);
    if done.last.is_ok() {
        let is_presented = done.events.iter().any(|event| event.starts_with("SuccessfullyUsed"));
        for name in ["tls_client_cert_to_api", "tls_client_cert", "api_tls_client_cert"] {
            checks.check(name, is_presented);
        }
        checks.check("when", Value::Null);
        checks.check("header_prefix", done.authorization.clone());
        checks.check("tls_client_cert_to_sts", !done.token_requests.is_empty());
        checks.check("sts_calls", done.token_requests.len());
        checks.check("binding_certificate_returned", false);
    }
    Ok(())
}

/// A call that the API refuses with a challenge.
pub(super) fn send_with_challenge(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let scheme = given.text("scheme")?.unwrap_or("Bearer");
    let certificates = given.texts("certs")?.unwrap_or_else(|| vec!["C1".to_owned()]);
    let credentials = match scheme.to_ascii_uppercase().as_str() {
        "BEARER" => vec![Credential::Secret],
        _ => vec![Credential::Certificates(chains(&certificates)?)],
    };
    let mut options = Map::from_iter([("ProtocolScheme".to_owned(), scheme.into())]);
    if !scheme.eq_ignore_ascii_case("MTLS") {
        options.extend([("Scopes".to_owned(), json!([GRAPH])), ("RequestAppToken".to_owned(), true.into())]);
    }
    let forwards = match given.text("component")?.unwrap_or("DownstreamApi") {
        "MessageHandler" => true,
        "DownstreamApi" => false,
        other => return Err(Uncovered(format!("there is no component {other}"))),
    };
    let scene = Scene { credentials, options, forwards, answers: answers(&when)?, calls: 1 };
    let done = block_on(scene.play()).map_err(broken)?;
    done.check(checks, true);
    given.finish().and_then(|()| when.finish())
}

/// What a client needs to be told before it sends.
pub(super) fn send(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let own = given.any("request_options").or_else(|| given.any("default_options"));
    // Those of the request count alone.
    given.any("default_options");
    let mut options = own.and_then(Value::as_object).cloned().unwrap_or_default();
    let is_mtls =
        options.get("ProtocolScheme").and_then(Value::as_str).is_some_and(|scheme| scheme == "MTLS");
    if options.get("Scopes").and_then(Value::as_array).is_some_and(|scopes| !scopes.is_empty()) {
        // Which API the token is for is nothing to this.
        options.insert("Scopes".to_owned(), json!([GRAPH]));
        options.insert("RequestAppToken".to_owned(), true.into());
    }
    let credential = match is_mtls {
        true => Credential::Certificates(vec![vec!["C1".to_owned()]]),
        false => Credential::Secret,
    };
    let scene = Scene { credentials: vec![credential], options, forwards: true, answers: vec![], calls: 1 };
    let done = block_on(scene.play()).map_err(broken)?;
    done.check(checks, true);
    given.finish().and_then(|()| when.finish())
}

enum Credential {
    Certificates(Vec<Vec<String>>),
    Secret,
}

impl Credential {
    fn read(name: &str) -> Read<Self> {
        match name {
            "ClientSecret" | "secret" => Ok(Self::Secret),
            "none" => Ok(Self::Certificates(Vec::new())),
            _ if name.starts_with('C') => Ok(Self::Certificates(chains(&[name.to_owned()])?)),
            other => Err(Uncovered(format!("there is no credential {other}"))),
        }
    }
}

/// Status and challenge.
type Answer = (u16, Option<String>);

/// The API's answers: a status, `401+claims`, or an object of both.
fn answers(when: &Input<'_>) -> Read<Vec<Answer>> {
    let unknown = |answer: &Value| Uncovered(format!("the answer {answer} isn't understood"));
    let read = |answer: &Value| {
        let status = |value: &Value| value.as_u64().and_then(|status| u16::try_from(status).ok());
        Ok(match answer {
            Value::String(text) if text.ends_with("+claims") => {
                let status = text.trim_end_matches("+claims").parse().map_err(|_| unknown(answer))?;
                (status, Some(CHALLENGE.to_owned()))
            }
            Value::Object(members) => {
                let members = Input::new(members);
                let status = members.any("status").and_then(status).ok_or_else(|| unknown(answer))?;
                let challenge = members.text("www_authenticate")?.map(str::to_owned);
                members.finish()?;
                (status, challenge)
            }
            other => (status(other).ok_or_else(|| unknown(answer))?, None),
        })
    };
    let answers = when.any("api").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    answers.iter().map(read).collect()
}

/// A client, an API and its answers.
struct Scene {
    credentials: Vec<Credential>,
    options: Map<String, Value>,
    /// Whether another client's request is forwarded, instead of one of the API's own.
    forwards: bool,
    answers: Vec<Answer>,
    calls: i64,
}

/// What was seen.
struct Done {
    events: Vec<String>,
    /// How often a token was asked for.
    tokens: usize,
    token_requests: Vec<LogEntry>,
    api_calls: usize,
    authorization: Option<String>,
    last: Result<u16, Error>,
}

impl Scene {
    async fn play(self) -> Result<Done> {
        let world = world().await?;
        let client_id = world.client();
        let mut registration = Registration::new(&client_id);
        let mut entries = Vec::new();
        for credential in &self.credentials {
            let Credential::Certificates(chains) = credential else {
                registration = registration.secret(SECRET);
                entries.push(secret());
                continue;
            };
            for names in chains {
                let chain = names.iter().map(|name| world.certificate(name)).collect::<Result<Vec<_>>>()?;
                for certificate in &chain {
                    registration = registration.certificate(certificate.certificate().clone());
                }
                entries.push(world.in_vault(&client_id, &format!("entry-{}", entries.len()), chain)?);
            }
        }
        world.register(registration);
        let api = Api::builder().host("api.example").ask(Ask::Optional).start(&world.authority).await?;
        for (status, challenge) in &self.answers {
            let header = challenge.as_deref().map(|challenge| ("www-authenticate", challenge));
            api.answer_next(*status, header);
        }
        let mut settings = world.settings(&client_id, &entries.into())?;
        settings["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
        let mut options = self.options;
        options.insert("BaseUrl".to_owned(), api.url().into());
        settings["DownstreamApis"]["api"] = options.into();
        let acquirer = world.engine.token_acquirer(Settings::from_value(settings));
        let configured = acquirer.downstream_api("api")?;
        let token = world.authority.user_token(&UserToken::new(sample::ALICE, &client_id))?;
        let mut last = None;
        for _ in 0..self.calls {
            let request = match self.forwards {
                true => configured.forward(http::Request::get(api.url() + "/").body(Empty::<Bytes>::new())?),
                false => configured.call(),
            };
            let response = request.user_assertion(token.clone()).send().await;
            last = Some(response.map(|response| response.status().as_u16()));
        }
        let (events, hooks): (Vec<_>, Vec<_>) =
            world.notes(&client_id).into_iter().partition(|note| note.contains('('));
        let log = api.log();
        Ok(Done {
            events,
            tokens: hooks.len(),
            token_requests: world.token_requests(&client_id),
            api_calls: log.len(),
            authorization: log.last().and_then(|request| request.authorization_scheme.clone()),
            last: last.context("nothing was sent")?,
        })
    }
}

impl Done {
    /// `nameless` leaves the certificates' names out of the events.
    fn check(&self, checks: &mut Checks<'_>, nameless: bool) {
        let action = |event: &String| event.split('(').next().unwrap_or_default().to_owned();
        match nameless {
            true => checks.check("events", self.events.iter().map(action).collect::<Vec<_>>()),
            false => checks.check("events", self.events.clone()),
        }
        checks.check("api_calls", self.api_calls);
        checks.check("token_calls", self.tokens);
        checks.check("authorization_header", self.authorization.clone());
        let second = self.token_requests.get(1);
        checks.check_part("second_token", |expected| {
            let anew = second.and_then(|sent| sent.header("x-client-current-telemetry")).map(|telemetry| {
                // Neither looked for in the cache nor found there.
                telemetry.split([',', '|']).nth(2) == Some("1")
            });
            let mut got = values(expected, |name| second?.form_text(&name.to_ascii_lowercase()));
            if let Some(force) = got.get_mut("ForceRefresh") {
                *force = anew.into();
            }
            got
        });
        match &self.last {
            Ok(status) => {
                checks.succeeded();
                checks.check("final_status", *status);
            }
            Err(Error::Acquisition(error)) => checks.refused(&error.code, false),
            Err(Error::Downstream(error)) => checks.refused(error.kind.as_str(), false),
            Err(Error::Credential(_)) => checks.refused("credential_unavailable", false),
            Err(error) => checks.broken(&error.to_string()),
        }
    }
}

/// Asks for the claims `{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`.
const CHALLENGE: &str = r#"Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzAwMDAwMDAwIn19fQ==""#;
