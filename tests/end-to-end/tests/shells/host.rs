//! A host for both shells: what they import is done by the host of the vectors, what they send is what it sees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use symbolon_conformance::Host;
use symbolon_protocol::acquisition::{Action, Event};
use symbolon_protocol::authority::SignatureAlgorithm;
use symbolon_protocol::credential::{
    AssertionContext, CredentialError, Description, Outcome, Presentation, Purpose,
};
use symbolon_protocol::error::Error as CoreError;
use symbolon_protocol::platform::{CertificateSubject, NewCertificate};
use symbolon_protocol::request::{Context, Request};
use symbolon_protocol::response::HttpResponse;
use symbolon_protocol::token_request::{HttpRequest, Method, UrlScheme};
use wasmtime::component::{
    Component, Linker, ResourceAny, ResourceTable, ResourceType, Type, Val, types::ComponentFunc,
};
use wasmtime::{AsContextMut, Config, Engine, Result, Store, StoreContextMut, bail};
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore as _;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::words;

/// A handle to a credential; its number is that of its description.
pub(crate) struct Credential;

/// A handle to a flight.
pub(crate) struct Ticket;

/// A sealed token, which no shell makes.
struct Authorization;

/// A shell, ready to be instantiated.
pub(crate) struct Shell {
    pub(crate) name: &'static str,
    component: Component,
    linker: Linker<State>,
    /// The interface that it exports.
    acquisition: &'static str,
}

impl Shell {
    pub(crate) fn of_wasi_0_2(bytes: &[u8]) -> Result<Self> {
        let engine = engine()?;
        let mut linker = linker(&engine)?;
        wasmtime_wasi::p2::bindings::io::error::add_to_linker::<State, Table>(&mut linker, |s| &mut s.table)?;
        wasmtime_wasi::p2::bindings::io::poll::add_to_linker::<State, Table>(&mut linker, |s| &mut s.table)?;
        wasmtime_wasi::p2::bindings::io::streams::add_to_linker::<State, Table>(&mut linker, |s| {
            &mut s.table
        })?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        import(&mut linker, "symbolon:token/cache@0.1.0", "find", find)?;
        import(&mut linker, "symbolon:credentials/transport@0.1.0", "wait", wait)?;
        import(&mut linker, "symbolon:credentials/transport@0.1.0", "exchange", exchange)?;
        let component = Component::new(&engine, bytes)?;
        Ok(Self { name: "WASI 0.2", component, linker, acquisition: "symbolon:token/acquisition@0.1.0" })
    }

    pub(crate) fn of_wasi_0_3(bytes: &[u8]) -> Result<Self> {
        let engine = engine()?;
        let mut linker = linker(&engine)?;
        p3::add_to_linker(&mut linker)?;
        import_async(&mut linker, "symbolon:concurrent/cache@0.1.0", "find", find)?;
        import_async(&mut linker, "symbolon:concurrent/transport@0.1.0", "wait", wait)?;
        let mut transport = linker.instance("symbolon:concurrent/transport@0.1.0")?;
        transport.func_new_concurrent("send", |store, _, params, results| {
            Box::pin(async move {
                let request = store.with(|mut store| {
                    give_back(resource(&params[1])?, &mut store)?;
                    store.data_mut().hooks.presentation = params.last().map(presentation);
                    resource(&params[0])?.try_into_resource::<p3::Request>(store)
                })?;
                let sent = WasiHttp::send(&store.with_getter::<WasiHttp>(State::http), request).await;
                results[0] = match sent {
                    Ok(response) => {
                        let response = store.with(|store| response.try_into_resource_any(store))?;
                        Val::Result(Ok(Some(Box::new(Val::Resource(response)))))
                    }
                    Err(error) => {
                        let code = words::case(&format!("{:?}", error.downcast()?));
                        // The one of those that come up which says more.
                        let payload = (code == "internal-error").then(|| Box::new(Val::Option(None)));
                        Val::Result(Err(Some(Box::new(Val::Variant(code, payload)))))
                    }
                };
                Ok(())
            })
        })?;
        let component = Component::new(&engine, bytes)?;
        let acquisition = "symbolon:concurrent/acquisition@0.1.0";
        Ok(Self { name: "WASI 0.3", component, linker, acquisition })
    }

    /// Runs an acquisition in a fresh instance: the host afterwards, and the token or the code of the error.
    pub(crate) fn acquire(
        &self,
        host: Host,
        request: &Request,
        context: &Context,
    ) -> anyhow::Result<(Host, std::result::Result<String, String>)> {
        let host = Arc::new(Mutex::new(host));
        // On a thread of its own, because whoever runs the vectors may be on one that may not wait.
        let answer = std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let called = runtime.block_on(self.call(host.clone(), request, context));
                called.map_err(|error| anyhow::anyhow!("{error:#}"))
            });
            running.join().map_err(|_| anyhow::anyhow!("the host panicked"))?
        })?;
        let host = Arc::into_inner(host).context("the host is still in use")?;
        let host = host.into_inner().unwrap_or_else(PoisonError::into_inner);
        let token = match answer.get("ok") {
            Some(token) => Ok(token["token"]["raw"].as_str().unwrap_or_default().to_owned()),
            None => Err(answer["err"]["code"].as_str().unwrap_or_default().to_owned()),
        };
        Ok((host, token))
    }

    async fn call(&self, host: Arc<Mutex<Host>>, request: &Request, context: &Context) -> Result<Value> {
        let hooks = Hooks { host: host.clone(), presentation: None };
        let state = State {
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks,
            host,
            descriptions: Vec::new(),
        };
        let mut store = Store::new(self.component.engine(), state);
        let instance = self.linker.instantiate_async(&mut store, &self.component).await?;
        let interface = instance.get_export_index(&mut store, None, self.acquisition);
        let function = instance.get_export_index(&mut store, interface.as_ref(), "acquire");
        let Some(function) = function.and_then(|index| instance.get_func(&mut store, index)) else {
            bail!("there is no acquire in {}", self.acquisition);
        };
        let parameters: Vec<Type> = function.ty(&store).params().map(|(_, ty)| ty).collect();
        let values = [words::request(request), words::context(context)];
        let lowered = parameters.iter().zip(&values).map(|(ty, value)| words::lower(&mut store, ty, value));
        let lowered = lowered.collect::<Result<Vec<_>>>()?;
        let mut results = [Val::Bool(false)];
        function.call_async(&mut store, &lowered, &mut results).await?;
        Ok(words::lift(&results[0]))
    }
}

fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    Engine::new(&config)
}

/// What both shells import.
fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let provider = "symbolon:credentials/provider@0.1.0";
    linker.instance(provider)?.resource("credential", ResourceType::host::<Credential>(), |_, _| Ok(()))?;
    linker.instance("symbolon:token/cache@0.1.0")?.resource(
        "ticket",
        ResourceType::host::<Ticket>(),
        |_, _| Ok(()),
    )?;
    linker.instance("symbolon:token/types@0.1.0")?.resource(
        "authorization",
        ResourceType::host::<Authorization>(),
        |_, _| Ok(()),
    )?;
    let imports: [(&str, &str, Reaction); 18] = [
        (provider, "select", |state, _| state.selected(Action::Select(Purpose::Authenticate))),
        (provider, "report", |state, _| state.react(Action::Report(Outcome::Used)).map(|_| Value::Null)),
        (provider, "[method]credential.describe", |state, _| Ok(state.describe())),
        (provider, "[method]credential.sign-assertion", sign_assertion),
        (provider, "[method]credential.assertion", assertion),
        ("symbolon:token/cache@0.1.0", "put", |state, params| {
            let ends_flight = !params[0].is_null();
            let store = words::store(ends_flight, &params[1], &params[2]);
            state.react(Action::Put(store)).map(|_| Value::Null)
        }),
        ("symbolon:token/cache@0.1.0", "fail", |state, _| {
            let error = CoreError::invalid_request("any", "Whoever waits isn't here.");
            state.react(Action::Fail(error)).map(|_| Value::Null)
        }),
        ("symbolon:token/cache@0.1.0", "members", |_, _| bail!("no acquisition asks for the members")),
        ("symbolon:token/cache@0.1.0", "remove-group", |_, _| bail!("no acquisition removes a group")),
        ("symbolon:token/facts@0.1.0", "get", |state, params| {
            let event = state.react(Action::Recall(words::fact(&params[0], &params[1])))?;
            Ok(if let Event::Recalled(value) = event { json!(value) } else { Value::Null })
        }),
        ("symbolon:token/facts@0.1.0", "put", |state, params| {
            let value: Vec<u8> = serde_json::from_value(params[2].clone())?;
            let (fact, ttl_ms) =
                (words::fact(&params[0], &params[1]), params[3].as_u64().unwrap_or_default());
            state.react(Action::Remember { fact, value, ttl_ms }).map(|_| Value::Null)
        }),
        (PLATFORM, "environment", |state, _| {
            let Event::Platform(platform) = state.react(Action::DescribePlatform)? else {
                bail!("no platform")
            };
            let variables = platform.variables.iter();
            Ok(variables.map(|(name, value)| json!({ "name": name, "value": value })).collect())
        }),
        (PLATFORM, "arc-agent-installed", |_, _| Ok(false.into())),
        (PLATFORM, "secret", |state, params| state.selected(Action::SelectSecret(text(&params[0])))),
        (PLATFORM, "challenge-file", |state, params| {
            state.selected(Action::SelectChallengeFile(text(&params[0])))
        }),
        (PLATFORM, "issued", |state, _| {
            let Event::Issued(issued) = state.react(Action::SelectIssued)? else { bail!("nothing issued") };
            let Some(issued) = issued else { return Ok(Value::Null) };
            Ok(json!({
                "credential": state.keep(&issued.credential), "client-id": issued.client_id,
                "token-endpoint": issued.token_endpoint, "attested": issued.attested,
            }))
        }),
        (PLATFORM, "request-certificate", |state, params| {
            let part = |name: &str| text(&params[0][name]);
            let subject = CertificateSubject {
                client_id: part("client-id"),
                tenant_id: part("tenant-id"),
                machine: part("machine"),
                attestation_endpoint: params[0]["attestation-endpoint"].as_str().map(str::to_owned),
            };
            let Event::CertificateRequested(made) = state.react(Action::RequestCertificate(subject))? else {
                bail!("no certificate requested");
            };
            Ok(made.map_or_else(
                |error| words::credential_error(&error),
                |made| json!({ "ok": { "der": made.der, "attestation": made.attestation } }),
            ))
        }),
        (PLATFORM, "install-certificate", |state, params| {
            let der: Vec<u8> = serde_json::from_value(params[0].clone())?;
            let (client_id, token_endpoint) = (text(&params[1]), text(&params[2]));
            let new = NewCertificate { der, client_id, token_endpoint };
            let Event::Installed(installed) = state.react(Action::InstallCertificate(new))? else {
                bail!("nothing installed");
            };
            Ok(installed.map_or_else(|error| words::credential_error(&error), |()| json!({ "ok": null })))
        }),
    ];
    for (interface, function, reaction) in imports {
        import(&mut linker, interface, function, reaction)?;
    }
    Ok(linker)
}

const PLATFORM: &str = "symbolon:credentials/platform@0.1.0";

/// What a function does, in the words of its interface.
type Reaction = fn(&mut State, &[Value]) -> Result<Value>;

fn find(state: &mut State, params: &[Value]) -> Result<Value> {
    match state.react(Action::Find(words::lookup(&params[0])))? {
        Event::Found(found) => Ok(words::found(&found)),
        other => bail!("{other:?} in the place of what was found"),
    }
}

fn wait(state: &mut State, params: &[Value]) -> Result<Value> {
    let milliseconds = params[0].as_u64().unwrap_or_default();
    match state.react(Action::Wait { milliseconds })? {
        Event::Waited { now } => Ok(now.into()),
        other => bail!("{other:?} in the place of the time"),
    }
}

fn sign_assertion(state: &mut State, params: &[Value]) -> Result<Value> {
    let algorithm = match params[1].as_str() {
        Some("rs256") => SignatureAlgorithm::Rs256,
        Some("es256") => SignatureAlgorithm::Es256,
        _ => SignatureAlgorithm::Ps256,
    };
    let input: Vec<u8> = serde_json::from_value(params[2].clone())?;
    let signing_input = String::from_utf8(input)?;
    match state.react(Action::Sign { algorithm, signing_input })? {
        Event::Signed(Ok(signature)) => Ok(json!({ "ok": signature })),
        Event::Signed(Err(error)) => Ok(words::credential_error(&error)),
        other => bail!("{other:?} in the place of a signature"),
    }
}

fn assertion(state: &mut State, params: &[Value]) -> Result<Value> {
    let part = |name: &str| text(&params[1][name]);
    let optional = |name: &str| params[1][name].as_str().map(str::to_owned);
    let context = AssertionContext {
        client_id: part("client-id"),
        token_endpoint: part("token-endpoint"),
        authority: part("authority"),
        tenant_id: optional("tenant-id"),
        fmi_path: optional("fmi-path"),
        claims: optional("claims"),
        client_capabilities: Vec::new(),
        correlation_id: part("correlation-id"),
    };
    match state.react(Action::Assert(context))? {
        Event::Asserted(Ok(made)) => Ok(words::signed_assertion(&made)),
        Event::Asserted(Err(error)) => Ok(words::credential_error(&error)),
        other => bail!("{other:?} in the place of an assertion"),
    }
}

fn text(json: &Value) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn import(linker: &mut Linker<State>, interface: &str, function: &str, reaction: Reaction) -> Result<()> {
    linker.instance(interface)?.func_new(function, move |mut store, ty, params, results| {
        answer(&mut store, &ty, reaction, params, results)
    })
}

fn import_async(
    linker: &mut Linker<State>,
    interface: &str,
    function: &str,
    reaction: Reaction,
) -> Result<()> {
    linker.instance(interface)?.func_new_concurrent(function, move |store, ty, params, results| {
        Box::pin(async move {
            store.with(|mut store| answer(&mut store.as_context_mut(), &ty, reaction, params, results))
        })
    })
}

fn answer(
    store: &mut StoreContextMut<'_, State>,
    ty: &ComponentFunc,
    reaction: Reaction,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let resources = params.iter().filter_map(|value| match value {
        Val::Option(Some(inner)) => resource(inner).ok(),
        value => resource(value).ok(),
    });
    let resources: Vec<_> = resources.collect();
    // A ticket that is given back is something; its number says nothing.
    let lift = |value: &Val| match value {
        Val::Option(Some(inner)) if resource(inner).is_ok() => true.into(),
        value => words::lift(value),
    };
    let params: Vec<Value> = params.iter().map(lift).collect();
    let answer = reaction(store.data_mut(), &params)?;
    for (result, ty) in results.iter_mut().zip(ty.results()) {
        *result = words::lower(store, &ty, &answer)?;
    }
    // What was lent is given back, and what was given is used up.
    resources.into_iter().try_for_each(|resource| give_back(resource, store))
}

fn exchange(state: &mut State, params: &[Value]) -> Result<Value> {
    let part = |name: &str| text(&params[0][name]);
    let milliseconds = |name: &str| params[0][name].as_u64().unwrap_or_default();
    let body: Vec<u8> = serde_json::from_value(params[0]["body"].clone())?;
    let request = HttpRequest {
        method: if params[0]["method"] == "get" { Method::Get } else { Method::Post },
        scheme: if params[0]["scheme"] == "HTTP" { UrlScheme::Http } else { UrlScheme::Https },
        authority: part("authority"),
        path_with_query: part("path-with-query"),
        headers: serde_json::from_value(params[0]["headers"].clone())?,
        body: String::from_utf8(body)?,
        presentation: words::presentation(&params[2]),
        connect_timeout_ms: milliseconds("connect-timeout-ms"),
        answer_timeout_ms: milliseconds("first-byte-timeout-ms"),
    };
    match state.react(Action::Send(request))? {
        Event::Answered(Ok(answer)) => Ok(json!({ "ok": {
            "status": answer.status, "body": answer.body,
            "headers": headers_of(&answer).collect::<Vec<_>>(),
        } })),
        // Of what can go wrong the vectors have the one thing.
        Event::Answered(Err(_)) => Ok(json!({ "err": "connection-read-timeout" })),
        other => bail!("{other:?} in the place of an answer"),
    }
}

/// Takes a handle off the books: one that was lent, or one that is used up.
fn give_back(resource: ResourceAny, store: &mut impl AsContextMut) -> Result<()> {
    match resource.ty() == ResourceType::host::<Ticket>() {
        true => resource.try_into_resource::<Ticket>(store).map(drop),
        false => resource.try_into_resource::<Credential>(store).map(drop),
    }
}

fn resource(value: &Val) -> Result<ResourceAny> {
    match value {
        Val::Resource(resource) => Ok(*resource),
        other => bail!("{other:?} in the place of a resource"),
    }
}

fn presentation(value: &Val) -> Presentation {
    words::presentation(&words::lift(value))
}

struct Table;

impl wasmtime::component::HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

pub(crate) struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Hooks,
    host: Arc<Mutex<Host>>,
    /// Of the credentials that were selected.
    descriptions: Vec<Value>,
}

impl State {
    fn react(&self, action: Action) -> Result<Event> {
        lock(&self.host).react(action).map_err(|error| wasmtime::Error::msg(format!("{error:#}")))
    }

    /// A handle to what was selected, or why nothing was.
    fn selected(&mut self, action: Action) -> Result<Value> {
        let selected: std::result::Result<Description, CredentialError> = match self.react(action)? {
            Event::Selected(selected) => selected,
            other => bail!("{other:?} in the place of a credential"),
        };
        Ok(match selected {
            Ok(description) => json!({ "ok": self.keep(&description) }),
            Err(error) => words::credential_error(&error),
        })
    }

    fn keep(&mut self, description: &Description) -> usize {
        self.descriptions.push(words::description(description));
        self.descriptions.len() - 1
    }

    /// Of the credential that was selected last, which is the only one that a shell describes.
    fn describe(&self) -> Value {
        self.descriptions.last().cloned().unwrap_or_default()
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

fn lock(host: &Mutex<Host>) -> MutexGuard<'_, Host> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Hooks {
    host: Arc<Mutex<Host>>,
    /// Of the request that is sent next.
    presentation: Option<Presentation>,
}

type Worker = Box<dyn Future<Output = std::result::Result<(), Error>> + Send>;
type Answer = std::result::Result<(http::Response<WasiBody>, Worker), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let (host, presentation) = (self.host.clone(), self.presentation.take().unwrap_or_default());
        Box::new(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let request = written(&parts, &body, presentation, options);
            let answered = match lock(&host).react(Action::Send(request)) {
                Ok(Event::Answered(answered)) => answered,
                other => return Err(Error::InternalError(Some(format!("{other:?}")))),
            };
            // Of what can go wrong the vectors have the one thing.
            let response = answered.map_err(|_| Error::ConnectionReadTimeout)?;
            Ok((response_of(response), Box::new(async { Ok(()) }) as Worker))
        })
    }

    fn set_host_header(&mut self) -> bool {
        false
    }
}

fn written(
    parts: &http::request::Parts,
    body: &[u8],
    presentation: Presentation,
    options: Option<RequestOptions>,
) -> HttpRequest {
    let milliseconds = |time: Option<Duration>| {
        time.and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or_default()
    };
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    HttpRequest {
        method: if parts.method == http::Method::GET { Method::Get } else { Method::Post },
        scheme: if parts.uri.scheme_str() == Some("http") { UrlScheme::Http } else { UrlScheme::Https },
        authority: parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
        path_with_query: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers.iter().map(header).collect(),
        body: String::from_utf8_lossy(body).into_owned(),
        presentation,
        connect_timeout_ms: milliseconds(options.and_then(|options| options.connect_timeout)),
        answer_timeout_ms: milliseconds(options.and_then(|options| options.first_byte_timeout)),
    }
}

fn response_of(answer: HttpResponse) -> http::Response<WasiBody> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in headers_of(&answer) {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    let body = Full::new(answer.body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
    *response.headers_mut() = headers;
    response
}

fn headers_of(answer: &HttpResponse) -> impl Iterator<Item = (&'static str, &str)> {
    let HttpResponse { retry_after, challenge, date, server, .. } = answer;
    let headers =
        [("retry-after", retry_after), ("www-authenticate", challenge), ("date", date), ("server", server)];
    headers.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
}
