//! Calls of other APIs: what is sent, and what is made of the answer.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::Full;
use hyper::{Response, body::Bytes};
use serde_json::{Map, Value, json};
use symbolon::{
    DownstreamApi, DownstreamApiOptions, DownstreamRequest, DownstreamResponse, Error, Settings,
    is_reserved_header,
};
use symbolon_authority::{Registration, UserToken, sample};

use super::requests::values;
use crate::{
    certificates::Identity,
    checks::Checks,
    input::{Input, Read, Uncovered},
    runtime::block_on,
    server::{self, Arrived},
    world::{SECRET, secret, world},
};

pub(super) fn reserved_header(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    checks.check("reserved", is_reserved_header(given.text("name")?.unwrap_or_default()));
    given.finish().and_then(|()| when.finish())
}

pub(super) fn api_url(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let mut options = DownstreamApiOptions::default();
    options.base_url = given.text("BaseUrl")?.map(str::to_owned);
    options.relative_path = given.text("RelativePath")?.unwrap_or_default().to_owned();
    checks.check("url", options.api_url());
    given.finish().and_then(|()| when.finish())
}

/// What a call of a configured API sends.
pub(super) fn build_request(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let settings =
        settings(&given, &["BaseUrl", "RelativePath", "HttpMethod", "AcceptHeader", "ContentType"])?;
    let done = block_on(call(settings, Answer::ok(), Ok)).map_err(broken)?;
    match done {
        Done::Refused => checks.refused("invalid_configuration", false),
        Done::Failed(error) => checks.refused(&error, false),
        Done::Answered(sent, _) => {
            check_sent(&sent, checks);
            let extra = given.pairs("ExtraHeaderParameters")?.unwrap_or_default();
            let is_dropped = |name: &Value| {
                let given = extra.iter().find(|(given, _)| name == given).map(|(_, value)| value.as_str());
                given.is_some_and(|value| sent.header(name.as_str().unwrap_or_default()) != Some(value))
            };
            checks.check_part("dropped", |expected| {
                let names = expected.as_array().map(Vec::as_slice).unwrap_or_default();
                names.iter().filter(|name| is_dropped(name)).cloned().collect()
            });
        }
    }
    given.finish().and_then(|()| when.finish())
}

fn check_sent(sent: &Arrived, checks: &mut Checks<'_>) {
    checks.succeeded();
    checks.check("method", sent.method.as_str());
    checks.check("authorization_header", sent.header("authorization"));
    checks.check("url", format!("https://{}{}", sent.header("host").unwrap_or_default(), sent.target));
    checks.check_part("headers", |expected| values(expected, |name| sent.header(name)));
}

/// The query of a call, after what its path has.
pub(super) fn append_extra_query(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let url = given.text_of(&["url", "Url"])?.map(str::to_owned);
    let mut settings = settings(&given, &["BaseUrl", "RelativePath"])?;
    if let Some((base, path)) = url.as_deref().and_then(|url| url.get(8..)?.split_once('/')) {
        settings.insert("BaseUrl".to_owned(), format!("https://{base}").into());
        settings.insert("RelativePath".to_owned(), path.into());
    } else if let Some(url) = url {
        settings.insert("BaseUrl".to_owned(), url.into());
    }
    match block_on(call(settings, Answer::ok(), Ok)).map_err(broken)? {
        Done::Answered(sent, _) => {
            check_sent(&sent, checks);
            checks.check("query", sent.target.split_once('?').map(|(_, query)| query));
        }
        Done::Refused => checks.refused("invalid_configuration", false),
        Done::Failed(error) => checks.refused(&error, false),
    }
    given.finish().and_then(|()| when.finish())
}

/// What becomes of what is to be sent.
pub(super) fn serialize(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let media_type = given.text("ContentType")?;
    let is_text = media_type.is_some_and(|media_type| media_type.starts_with("text"));
    let settings = settings(&given, &["ContentType"])?;
    let body = given.any("input").cloned().unwrap_or_default();
    let body = Body::read(&body)?;
    let add = move |request: DownstreamRequest| {
        Ok(match body {
            Body::Nothing => request,
            Body::Bytes(bytes) => request.body(bytes),
            // Text is text, or a string of JSON: its caller says which.
            Body::Text(text) if is_text => request.body(text),
            Body::Text(text) => request.json(&text),
            Body::Json(value) => request.json(&value),
        })
    };
    match block_on(call(settings, Answer::ok(), add)).map_err(broken)? {
        Done::Answered(sent, _) => {
            checks.succeeded();
            checks.check("content_type", sent.header("content-type"));
            checks.check("body_base64", BASE64_STANDARD.encode(&sent.body));
            let text = Some(String::from_utf8_lossy(&sent.body).into_owned()).filter(|text| !text.is_empty());
            checks.check_part("body", |expected| {
                // The order of an object's members isn't the vector's, in which they were read.
                let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
                let is_same = expected.as_str().and_then(object).is_some_and(|expected| {
                    text.as_deref().and_then(object).is_some_and(|got| got == expected)
                });
                if is_same { expected.clone() } else { text.into() }
            });
        }
        Done::Refused => checks.refused("invalid_configuration", false),
        Done::Failed(error) => checks.refused(&error, false),
    }
    given.finish().and_then(|()| when.finish())
}

enum Body {
    Nothing,
    Bytes(Vec<u8>),
    Text(String),
    Json(Value),
}

impl Body {
    fn read(input: &Value) -> Read<Self> {
        let one = |members: &Map<String, Value>| match members.iter().next() {
            Some((name, value)) if members.len() == 1 => Some((name.clone(), value.clone())),
            _ => None,
        };
        let unknown = || Uncovered(format!("the input {input} isn't understood"));
        Ok(match input {
            Value::Null => Self::Nothing,
            Value::String(text) => Self::Text(text.clone()),
            Value::Object(members) => match one(members) {
                Some((name, Value::String(text))) if name.ends_with("base64") => {
                    Self::Bytes(BASE64_STANDARD.decode(text).map_err(|_| unknown())?)
                }
                Some((name, Value::String(text))) if ["string", "text"].contains(&name.as_str()) => {
                    Self::Text(text)
                }
                Some((name, value)) if ["object", "json"].contains(&name.as_str()) => Self::Json(value),
                _ => Self::Json(input.clone()),
            },
            other => Self::Json(other.clone()),
        })
    }
}

/// What a caller makes of an answer.
pub(super) fn deserialize(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let status = given.number("status")?.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let length = given.number("content_length")?.and_then(|length| usize::try_from(length).ok());
    let body = given.text("body")?.map_or_else(|| "x".repeat(length.unwrap_or_default()), str::to_owned);
    if length.is_some_and(|length| length != body.len()) {
        return Err(Uncovered("the body isn't as long as it says".into()));
    }
    let media_type = given.text("content_type")?.map(str::to_owned);
    let is_json = media_type.as_deref() == Some("application/json");
    let is_string =
        given.text("target")?.is_none_or(|target| target.eq_ignore_ascii_case("string")) && !is_json;
    let answer = Answer { status, media_type, body };
    let done = block_on(call(Map::new(), answer, Ok)).map_err(broken)?;
    let Done::Answered(_, response) = done else {
        return Err(Uncovered("the API couldn't be called".into()));
    };
    match block_on(async { Ok(read(*response, is_string).await) }).map_err(broken)? {
        Ok(value) => {
            checks.succeeded();
            checks.check("value", value);
            checks.check("status_code", Value::Null);
        }
        Err(Error::Downstream(error)) => {
            checks.refused(error.kind.as_str(), false);
            checks.check("value", Value::Null);
            checks.check("message", error.message.as_str());
            checks.check("status_code", error.status.map(|status| status.as_u16()));
        }
        Err(error) => checks.broken(&error.to_string()),
    }
    given.finish().and_then(|()| when.finish())
}

async fn read(response: DownstreamResponse, is_string: bool) -> Result<Value, Error> {
    let response = response.error_for_status().await?;
    match is_string {
        true => response.text().await.map(Value::from),
        false => response.json().await,
    }
}

/// The members of the input that are options of the API, as they are written.
fn settings(given: &Input<'_>, texts: &[&str]) -> Read<Map<String, Value>> {
    let others =
        ["Scopes", "RequestAppToken", "ExtraHeaderParameters", "ExtraQueryParameters", "ProtocolScheme"];
    let mut settings = Map::new();
    for name in texts.iter().copied().chain(others) {
        if let Some(value) = given.any(name) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    Ok(settings)
}

pub(super) fn broken(error: anyhow::Error) -> Uncovered {
    Uncovered(format!("{error:#}"))
}

/// What an API answers.
struct Answer {
    status: u16,
    media_type: Option<String>,
    body: String,
}

impl Answer {
    fn ok() -> Self {
        Self { status: 200, media_type: None, body: String::new() }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.body.clone()));
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or_default();
        if let Some(value) = self.media_type.as_deref().and_then(|media_type| media_type.parse().ok()) {
            response.headers_mut().insert(http::header::CONTENT_TYPE, value);
        }
        response
    }
}

/// What became of a call.
enum Done {
    /// The configuration was refused.
    Refused,
    /// Nothing was sent; the code of the error.
    Failed(String),
    Answered(Arrived, Box<DownstreamResponse>),
}

/// Calls an API with these options, which answers so.
async fn call(
    mut options: Map<String, Value>,
    answer: Answer,
    add: impl FnOnce(DownstreamRequest) -> Result<DownstreamRequest>,
) -> Result<Done> {
    let base = options.entry("BaseUrl").or_insert_with(|| "https://api.example".into());
    let host = base.as_str().and_then(|url| url.split('/').nth(2)).unwrap_or_default().to_owned();
    let identity = Identity::new(&host)?;
    let seen = Arc::new(Mutex::new(Vec::<Arrived>::new()));
    let log = Arc::clone(&seen);
    let address = server::serve(&identity, move |arrived| {
        if let Ok(mut log) = log.lock() {
            log.push(arrived.clone());
        }
        answer.response()
    })
    .await?;
    let world = world().await?;
    let client_id = world.client();
    world.register(Registration::new(&client_id).secret(SECRET));
    let mut settings = world.settings(&client_id, &json!([secret()]))?;
    settings["Symbolon"]["ConnectTo"][&host] = address.to_string().into();
    let root = world.file(&format!("{client_id}.pem"), &identity.certificate().pem())?;
    settings["Symbolon"]["TrustedRoots"].as_array_mut().context("there are no roots")?.push(root.into());
    let is_users = options.get("RequestAppToken") != Some(&Value::Bool(true));
    settings["DownstreamApis"]["api"] = options.into();
    let acquirer = world.engine.token_acquirer(Settings::from_value(settings));
    let Ok(api) = acquirer.downstream_api("api") else { return Ok(Done::Refused) };
    let api: DownstreamApi = api;
    let mut request = add(api.call())?;
    if is_users {
        let token = world.authority.user_token(&UserToken::new(sample::ALICE, &client_id))?;
        request = request.for_user(token);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(Error::Acquisition(error)) => return Ok(Done::Failed(error.code.clone())),
        Err(Error::Downstream(error)) => return Ok(Done::Failed(error.kind.as_str().to_owned())),
        Err(error) => return Err(error.into()),
    };
    let sent = seen.lock().ok().and_then(|seen| seen.last().cloned()).context("no request arrived")?;
    Ok(Done::Answered(sent, Box::new(response)))
}
