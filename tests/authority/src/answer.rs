//! Answering one request: log it, route it, let it go wrong where a fault says so.

use std::{future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Source,
    authorize::{self, AuthorizationRequest},
    body::Body,
    discovery,
    encoding::random_guid,
    fault::{Endpoint, Fault, RetryAfter},
    log::{self, LogEntry},
    platform::{self, Front, Reply},
    refusal::{self, Refusal},
    request::{Form, TokenRequest, basic_credentials},
    server::Peer,
    state::State,
    token,
};

/// Longer request bodies are refused.
const LONGEST_BODY: usize = 1024 * 1024;

/// Answers a request, or never returns where the connection is ended instead.
pub(crate) async fn answer(state: Arc<State>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await.map(|body| body.to_bytes());
    let form = match &body {
        // Read by the platform's own rules.
        Ok(bytes) if peer.machine.as_ref().is_some_and(|(_, source)| *source == Source::CloudShell) => {
            Ok(Form::of_body(bytes))
        }
        Ok(bytes) => Form::parse(&parts.headers, bytes),
        Err(_) => {
            Err(refusal::REQUEST_MALFORMED.because("Invalid request. The body is too long or was cut off."))
        }
    };
    let exchange = Exchange::begin(state, peer, parts, form, body.unwrap_or_default());
    let answer = exchange.answer().await;
    exchange.end(&answer);
    answer.into_response(&exchange)
}

/// A request with everything that its answer depends on.
struct Exchange {
    state: Arc<State>,
    peer: Arc<Peer>,
    parts: Parts,
    form: Result<Form, Refusal>,
    body: Bytes,
    trace_id: String,
    correlation_id: String,
    faults: Vec<Fault>,
    sequence: u64,
}

impl Exchange {
    fn begin(
        state: Arc<State>,
        peer: Arc<Peer>,
        parts: Parts,
        form: Result<Form, Refusal>,
        body: Bytes,
    ) -> Self {
        let correlation_id = text_header(&parts, "client-request-id").map_or_else(random_guid, str::to_owned);
        let mut exchange = Self {
            state,
            peer,
            parts,
            form,
            body,
            trace_id: random_guid(),
            correlation_id,
            faults: Vec::new(),
            sequence: 0,
        };
        exchange.faults = exchange.take_faults();
        exchange.sequence = exchange.state.log.push(exchange.entry());
        let counters = match &exchange.peer.machine {
            Some((machine, _)) => &machine.counters,
            None => &exchange.state.counters,
        };
        counters.requested(exchange.host());
        exchange
    }

    async fn answer(&self) -> Answer {
        let now = self.state.clock.now_unix();
        for fault in &self.faults {
            match fault {
                Fault::Delay { milliseconds } => sleep(Duration::from_millis(*milliseconds)).await,
                Fault::ResetBeforeHeaders => {
                    self.peer.plug.reset();
                    return future::pending().await;
                }
                Fault::CloseWithoutAnswer => {
                    self.peer.plug.close();
                    return future::pending().await;
                }
                Fault::Status { status, retry_after, body } => {
                    let answer = match (body, self.front()) {
                        (Some(body), _) => Answer::new(*status, body.clone()),
                        (None, Some(front)) => {
                            Answer::of_platform(front.unwell(*status, &self.platform_request(now)))
                        }
                        (None, None) => {
                            Answer::new(*status, json!({ "message": "injected fault" }).to_string())
                        }
                    };
                    return answer.retry_after(*retry_after, now);
                }
                Fault::Refusal { code, error, status, message, suberror, claims, retry_after } => {
                    let refusal = Refusal {
                        code: *code,
                        status: StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST),
                        error: error.clone(),
                        message: message.clone(),
                        suberror: suberror.clone(),
                        claims: claims.clone(),
                    };
                    return self.refused(&refusal, now).retry_after(*retry_after, now);
                }
                Fault::Redirect { location, status } => {
                    return Answer::new(*status, String::new()).header(header::LOCATION, location);
                }
                Fault::Content { content_type, body } => {
                    return Answer::new(200, body.clone()).header(header::CONTENT_TYPE, content_type);
                }
                spoiled => return self.honest(now).spoiled(spoiled, &self.peer),
            }
        }
        self.honest(now)
    }

    /// The answer without faults.
    fn honest(&self, now: u64) -> Answer {
        if self.peer.machine.is_none() && self.called_host() != Some(self.host()) {
            let body = json!({ "message": "the host of the request is not the name of the handshake" });
            return Answer::new(StatusCode::MISDIRECTED_REQUEST.as_u16(), body.to_string());
        }
        if let Some(front) = self.front() {
            return Answer::of_platform(front.answer(&self.platform_request(now)));
        }
        let answered = match self.route() {
            Route::Authorize(tenant) => return self.authorize(tenant),
            Route::Token(tenant) => self.token(tenant, now),
            Route::Metadata(tenant, v2) => self.metadata(tenant, v2),
            Route::Keys => Ok(self.keys()),
            Route::Instances => self.instances(),
            Route::Unknown => {
                let body = json!({ "error": { "code": "NotFound", "message": "No endpoint of that path." } });
                return Answer::new(404, body.to_string());
            }
        };
        match answered {
            Ok(value) => Answer::new(200, value.to_string()),
            Err(refusal) => self.refused(&refusal, now),
        }
    }

    fn token(&self, tenant: &str, now_unix: u64) -> Result<Value, Refusal> {
        if self.parts.method != Method::POST {
            return Err(refusal::POST_ONLY.because(format!(
                "The endpoint only accepts POST requests. Received a {} request.",
                self.parts.method
            )));
        }
        let form = self.form.as_ref().map_err(Clone::clone)?;
        let site = self.state.hosts.site(self.host());
        let site = site.ok_or_else(|| refusal::REQUEST_INVALID.because("The host is no authority's."))?;
        let request = TokenRequest {
            service: site.service,
            cloud: site.cloud,
            endpoint: format!("https://{}{}", self.host(), self.parts.uri.path()),
            tenant,
            form,
            basic: basic_credentials(&self.parts.headers),
            has_origin: self.parts.headers.contains_key(header::ORIGIN),
            handshake: &self.peer.chain,
        };
        token::answer(&self.state, &request, now_unix)
    }

    /// A redirect with a code, or a page that says why not.
    fn authorize(&self, tenant: &str) -> Answer {
        let site = self.state.hosts.site(self.host());
        let site = site.ok_or_else(|| refusal::REQUEST_INVALID.because("The host is no authority's."));
        let answered = site.and_then(|site| {
            let request = AuthorizationRequest {
                method: &self.parts.method,
                tenant,
                cloud: site.cloud,
                query: self.parts.uri.query().unwrap_or_default(),
            };
            authorize::answer(&self.state, &request)
        });
        match answered {
            Ok(location) => Answer::new(302, String::new()).header(header::LOCATION, &location),
            Err(refusal) => Answer {
                aadsts: Some(refusal.code),
                error: Some(refusal.error.clone()),
                ..Answer::new(400, authorize::page(&refusal))
                    .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
            },
        }
    }

    fn metadata(&self, tenant: &str, v2: bool) -> Result<Value, Refusal> {
        let id = if discovery::is_many(tenant) {
            tenant.to_ascii_lowercase()
        } else {
            // Only here does Entra ID call it an invalid tenant rather than an invalid request.
            let invalid = |refusal: Refusal| Refusal { error: "invalid_tenant".to_owned(), ..refusal };
            token::tenant(&self.state.directory, tenant).map_err(invalid)?.id.clone()
        };
        let site = self.state.hosts.site(self.host());
        let site = site.ok_or_else(|| refusal::REQUEST_INVALID.because("The host is no authority's."))?;
        Ok(discovery::metadata(&site, self.host(), &id, v2))
    }

    fn keys(&self) -> Value {
        json!({ "keys": [self.state.key.jwk("https://login.microsoftonline.com/{tenantid}/v2.0")] })
    }

    fn instances(&self) -> Result<Value, Refusal> {
        let query = self.parts.uri.query().unwrap_or_default();
        let endpoint = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "authorization_endpoint")
            .map(|(_, value)| value);
        discovery::instances(&self.state.hosts, endpoint.as_deref())
    }

    fn refused(&self, refusal: &Refusal, now: u64) -> Answer {
        let body = refusal.body(&self.trace_id, &self.correlation_id, now);
        Answer {
            aadsts: Some(refusal.code),
            error: Some(refusal.error.clone()),
            ..Answer::new(refusal.status.as_u16(), body.to_string())
        }
    }

    fn route(&self) -> Route<'_> {
        let segments: Vec<_> = self.parts.uri.path().trim_start_matches('/').split('/').collect();
        match segments.as_slice() {
            ["common", "discovery", "instance"] => Route::Instances,
            [tenant, "oauth2", "v2.0", "token"] => Route::Token(tenant),
            [tenant, "oauth2", "v2.0", "authorize"] => Route::Authorize(tenant),
            [tenant, "v2.0", ".well-known", "openid-configuration"] => Route::Metadata(tenant, true),
            [tenant, ".well-known", "openid-configuration"] => Route::Metadata(tenant, false),
            [_, "discovery", "v2.0", "keys"] | [_, "discovery", "keys"] => Route::Keys,
            _ => Route::Unknown,
        }
    }

    /// What was called, where it was not the authority.
    fn front(&self) -> Option<Front<'_>> {
        match &self.peer.machine {
            Some((machine, source)) => Some(Front::Machine(machine, *source)),
            None => platform::vault_name(self.host()).map(|name| Front::Vault(&self.state, name)),
        }
    }

    fn platform_request(&self, now_unix: u64) -> platform::Request<'_> {
        platform::Request {
            method: &self.parts.method,
            path: self.parts.uri.path(),
            query: Form::of_query(self.parts.uri.query().unwrap_or_default()),
            headers: &self.parts.headers,
            body: &self.body,
            correlation_id: &self.correlation_id,
            now_unix,
        }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        if let Some(front) = self.front() {
            return front.endpoint(self.parts.uri.path());
        }
        match self.route() {
            Route::Token(_) => Some(Endpoint::Token),
            Route::Authorize(_) => Some(Endpoint::Authorize),
            Route::Metadata(..) => Some(Endpoint::Metadata),
            Route::Keys => Some(Endpoint::Keys),
            Route::Instances => Some(Endpoint::InstanceDiscovery),
            Route::Unknown => None,
        }
    }

    fn take_faults(&self) -> Vec<Fault> {
        let Some(endpoint) = self.endpoint() else { return Vec::new() };
        let query = Form::of_query(self.parts.uri.query().unwrap_or_default());
        let of_form = self.form.as_ref().ok().and_then(|form| form.get("client_id"));
        self.state.faults.take(of_form.or(query.get("client_id")), self.host(), endpoint)
    }

    /// The name of the handshake.
    fn host(&self) -> &str {
        &self.peer.connection.host
    }

    /// The name of the handshake; at a platform's endpoints, which have none, the `Host` header.
    fn shown_host(&self) -> String {
        let of_header = || log::path(text_header(&self.parts, "host").unwrap_or_default());
        if self.peer.machine.is_some() { of_header() } else { self.host().to_owned() }
    }

    /// The host of the request's URL, without port.
    fn called_host(&self) -> Option<&str> {
        let of_header = || self.parts.headers.get(header::HOST)?.to_str().ok()?.split(':').next();
        self.parts.uri.host().or_else(of_header)
    }

    fn entry(&self) -> LogEntry {
        let tenant = match self.route() {
            _ if self.front().is_some() => None,
            Route::Token(tenant) | Route::Authorize(tenant) | Route::Metadata(tenant, _) => {
                Some(log::path(tenant))
            }
            _ => None,
        };
        LogEntry {
            sequence: 0,
            time_unix_ms: self.state.clock.now_unix_ms(),
            connection: self.peer.connection.id,
            tls_resumed: self.peer.connection.resumed,
            protocol: format!("{:?}", self.parts.version),
            method: self.parts.method.to_string(),
            endpoint: self.endpoint(),
            host: self.shown_host(),
            path: log::path(self.parts.uri.path()),
            query: log::query_fields(self.parts.uri.query().unwrap_or_default()),
            tenant,
            headers: log::header_fields(&self.parts.headers),
            form: self.form.as_ref().map(log::form_fields).unwrap_or_default(),
            client_certificate: self.peer.connection.client_certificate.clone(),
            faults: self.faults.iter().map(|fault| fault.kind().to_owned()).collect(),
            status: None,
            error: None,
            aadsts: None,
            trace_id: None,
            correlation_id: None,
        }
    }

    fn end(&self, answer: &Answer) {
        self.state.log.update(self.sequence, |entry| {
            entry.status = Some(answer.status.as_u16());
            entry.error.clone_from(&answer.error);
            entry.aadsts = answer.aadsts;
            entry.trace_id = Some(self.trace_id.clone());
            entry.correlation_id = Some(self.correlation_id.clone());
        });
    }
}

enum Route<'a> {
    Token(&'a str),
    Authorize(&'a str),
    Metadata(&'a str, bool),
    Keys,
    Instances,
    Unknown,
}

/// What goes back.
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    /// The honest text; `body` where something else is sent.
    text: String,
    body: Option<Body>,
    error: Option<String>,
    aadsts: Option<u32>,
}

impl Answer {
    fn new(status: u16, text: String) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: Vec::new(), text, body: None, error: None, aadsts: None }
    }

    fn of_platform(reply: Reply) -> Self {
        let answer = Self { error: reply.error, ..Self::new(reply.status, reply.body) };
        reply.headers.iter().fold(answer, |answer, (name, value)| answer.header(name.clone(), value))
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn retry_after(self, retry_after: Option<RetryAfter>, now_unix: u64) -> Self {
        match retry_after {
            None => self,
            Some(RetryAfter::Seconds(seconds)) => self.header(header::RETRY_AFTER, &seconds.to_string()),
            Some(RetryAfter::DateInSeconds(seconds)) => {
                let date = std::time::UNIX_EPOCH + Duration::from_secs(now_unix.saturating_add(seconds));
                self.header(header::RETRY_AFTER, &httpdate::fmt_http_date(date))
            }
        }
    }

    /// The honest answer with one thing wrong.
    fn spoiled(mut self, fault: &Fault, peer: &Peer) -> Self {
        let half =
            |text: &str| Bytes::copy_from_slice(text.as_bytes().get(..text.len() / 2).unwrap_or_default());
        match fault {
            Fault::ResetInsideBody => self.body = Some(Body::torn(half(&self.text), peer.plug.clone())),
            Fault::EndlessBody { interval_milliseconds } => {
                self.body = Some(Body::dripping(Duration::from_millis(*interval_milliseconds)));
            }
            Fault::LargeBody { bytes, declared } => {
                self.body = Some(Body::padded(Bytes::from(self.text.clone()), *bytes, *declared));
            }
            Fault::MalformedJson => self.body = Some(Body::Whole(Some(half(&self.text)))),
            Fault::MissingAccessToken => self.change("access_token", None),
            Fault::TokenType { value } => self.change("token_type", value.clone().map(Value::String)),
            Fault::Member { name, value } => self.change(name, value.clone()),
            // The rest is answered without asking for the honest answer.
            _ => {}
        }
        self
    }

    /// Sets or removes a member of a successful answer.
    fn change(&mut self, name: &str, value: Option<Value>) {
        let Ok(Value::Object(mut object)) = serde_json::from_str(&self.text) else { return };
        if self.status == StatusCode::OK {
            object.remove(name);
            object.extend(value.map(|value| (name.to_owned(), value)));
            self.text = Value::Object(object).to_string();
        }
    }

    fn into_response(self, exchange: &Exchange) -> Response<Body> {
        let mut response =
            Response::new(self.body.unwrap_or_else(|| Body::Whole(Some(Bytes::from(self.text)))));
        *response.status_mut() = self.status;
        let mut set = |name: HeaderName, value: &str| {
            // What is no header value (a fault may say anything) is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, "application/json; charset=utf-8");
        set(header::CACHE_CONTROL, "no-store, no-cache");
        set(header::PRAGMA, "no-cache");
        set(HeaderName::from_static("x-ms-request-id"), &exchange.trace_id);
        let own = [("x-ms-ests-server", concat!("symbolon-authority ", env!("CARGO_PKG_VERSION")))];
        for (name, value) in exchange.front().map_or(own.as_slice(), |front| front.headers()) {
            set(HeaderName::from_static(name), value);
        }
        if text_header(&exchange.parts, "client-request-id").is_some()
            && text_header(&exchange.parts, "return-client-request-id") != Some("false")
        {
            set(HeaderName::from_static("client-request-id"), &exchange.correlation_id);
        }
        if exchange.parts.headers.contains_key(header::ORIGIN) {
            set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        }
        for (name, value) in self.headers {
            set(name, &value);
        }
        response
    }
}

fn text_header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok().filter(|text| !text.is_empty() && text.len() <= 128)
}
