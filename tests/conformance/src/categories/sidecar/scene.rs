//! A sidecar in front of the local authority, an API behind it, and one request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context as Waker, Poll},
};

use anyhow::{Context as _, Result, bail};
use http::{Request, StatusCode, response::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Response,
    body::{Body, Bytes, Frame, SizeHint},
};
use serde_json::{Map, Value, json};
use symbolon::{Clock as _, Settings};
use symbolon_authority::{Fault, Registration, UserToken, sample};
use symbolon_sidecar::{Caller, Sidecar};
use tower::ServiceExt as _;

use crate::{
    certificates::Identity,
    server::{self, Arrived},
    world::{World, world},
};

/// A sidecar, its API and who asks.
pub(super) struct Scene {
    pub(super) caller: Caller,
    pub(super) bearer: Bearer,
    /// The APIs by their names.
    pub(super) apis: Map<String, Value>,
    /// What is configured beside, by paths such as `Sidecar:AllowOverrides:GetAuthorizationHeader`.
    pub(super) config: Map<String, Value>,
    /// What the authority answers in the place of a token.
    pub(super) refusal: Option<Fault>,
    pub(super) downstream: Downstream,
    /// An agent of the application.
    pub(super) agent: Option<String>,
}

/// What a caller brings.
#[derive(Clone)]
pub(super) enum Bearer {
    Nothing,
    Text(String),
    /// A token of a user with these claims in the place of its own.
    User(Map<String, Value>),
}

/// What the API answers.
#[derive(Clone, Default)]
pub(super) struct Downstream {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    /// Whether it comes without saying how long it is.
    pub(super) is_chunked: bool,
}

/// What a caller sends.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

/// What it is answered, and what came to the API.
pub(super) struct Answered {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) calls: Vec<Arrived>,
}

impl Scene {
    /// Asks the sidecar.
    pub(super) async fn ask(self, asked: Asked<'_>) -> Result<Answered> {
        let world = world().await?;
        let client_id = world.client();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let settings = self.settings(world, &client_id, &seen).await?;
        if let Some(refusal) = &self.refusal {
            world.script(&client_id, vec![Some(refusal.clone())]);
        }
        let sidecar =
            Sidecar::with_clock(&world.engine, Settings::from_value(settings), world.clock.clone())?;
        let mut request = Request::builder().method(asked.method).uri(asked.path).extension(self.caller);
        for (name, value) in asked.headers {
            request = request.header(name, value);
        }
        if let Some(token) = self.bearer.token(world, &client_id)? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::from(asked.body.unwrap_or_default()))?;
        let (head, body) = sidecar.router().oneshot(request).await?.into_parts();
        let body = body.collect().await.ok().context("the answer breaks off")?.to_bytes();
        let calls = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
        Ok(Answered { head, body, calls })
    }

    async fn settings(
        &self,
        world: &World,
        client_id: &str,
        seen: &Arc<Mutex<Vec<Arrived>>>,
    ) -> Result<Value> {
        let certificate = world.certificate("sidecar")?;
        let file = world.file(&format!("{client_id}-sidecar.pem"), &certificate.pem())?;
        world.register(Registration::new(client_id).certificate(certificate.certificate().clone()));
        if let Some(agent) = &self.agent {
            world.register(Registration::new(agent).agent_of(client_id));
        }
        let credential = json!({ "SourceType": "Path", "CertificateDiskPath": file });
        let mut settings = world.settings(client_id, &json!([credential]))?;
        let identity = Identity::new(HOST)?;
        let (downstream, log) = (self.downstream.clone(), Arc::clone(seen));
        let address = server::serve(&identity, move |arrived| {
            if let Ok(mut log) = log.lock() {
                log.push(arrived.clone());
            }
            downstream.response()
        })
        .await?;
        settings["Symbolon"]["ConnectTo"][HOST] = address.to_string().into();
        let root = world.file(&format!("{client_id}.pem"), &identity.certificate().pem())?;
        settings["Symbolon"]["TrustedRoots"].as_array_mut().context("there are no roots")?.push(root.into());
        for (name, options) in &self.apis {
            let mut options = options.clone();
            if options.get("BaseUrl").is_none() {
                options["BaseUrl"] = format!("https://{HOST}").into();
            }
            settings["DownstreamApis"][name] = options;
        }
        for (path, value) in &self.config {
            let place = path.split(':').fold(&mut settings, |place, name| &mut place[name]);
            *place = value.clone();
        }
        Ok(settings)
    }
}

impl Bearer {
    fn token(&self, world: &World, client_id: &str) -> Result<Option<String>> {
        Ok(match self {
            Self::Nothing => None,
            Self::Text(text) => Some(text.clone()),
            Self::User(claims) => {
                let mut token = UserToken::new(sample::ALICE, client_id);
                for (name, value) in claims {
                    token = token.claim(name, value.clone());
                }
                Some(world.authority.user_token(&token)?)
            }
        })
    }

    /// Callers' tokens by the words that vectors have for them.
    pub(super) fn read(word: &str, now_unix: u64) -> Result<Self> {
        let user = |name: &str, value: Value| Self::User(Map::from_iter([(name.to_owned(), value)]));
        let word = word.to_ascii_lowercase();
        let says = |part: &str| word.contains(part);
        Ok(match word.as_str() {
            "valid" | "ok" => Self::User(Map::new()),
            "none" | "missing" | "absent" | "no" => Self::Nothing,
            _ if says("expired") => user("exp", (now_unix - 3600).into()),
            _ if says("audience") => user("aud", "https://elsewhere.example".into()),
            _ if says("issuer") => user("iss", "https://elsewhere.example/".into()),
            _ if says("scp") || says("scope") || says("role") => user("scp", Value::Null),
            _ if says("invalid") || says("malformed") || says("garbage") || says("opaque") => {
                Self::Text("no-token".to_owned())
            }
            _ => bail!("the bearer token {word} isn't understood"),
        })
    }
}

/// The time of all vectors. Unix seconds.
pub(super) async fn now_unix() -> Result<u64> {
    Ok(world().await?.clock.now_unix())
}

impl Downstream {
    fn response(&self) -> Response<Content> {
        let body = Full::from(self.body.clone().unwrap_or_default());
        let mut response = Response::new(Content { body, is_chunked: self.is_chunked });
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), value.parse()) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// A body that says how long it is, or doesn't.
struct Content {
    body: Full<Bytes>,
    is_chunked: bool,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        waker: &mut Waker<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(waker)
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_chunked { SizeHint::default() } else { self.body.size_hint() }
    }
}

const HOST: &str = "api.example";
