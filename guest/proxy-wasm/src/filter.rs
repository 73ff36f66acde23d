//! Where Envoy meets the filter: the root context of a worker, and the context of each stream.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType};
use serde_json::json;
use symbolon_protocol::challenge::{self, Answer, Presented, Refusal, Verdict};
use symbolon_protocol::error::Error;

use crate::settings::Settings;
use crate::worker::{Delivery, Permit, Worker};

/// The root context of one worker.
pub(crate) struct Root {
    context: u32,
    worker: Rc<RefCell<Option<Worker>>>,
    /// Whether Envoy waits for the end of what is under way.
    is_closing: bool,
}

/// The context of a stream.
struct Stream {
    context: u32,
    root: u32,
    worker: Rc<RefCell<Option<Worker>>>,
    /// The API that its route names.
    api: String,
}

impl Root {
    pub(crate) fn new(context: u32) -> Root {
        Root { context, worker: Rc::default(), is_closing: false }
    }

    /// Lets the worker do something, and its streams go on.
    fn work(&self, act: impl FnOnce(&mut Worker) -> Vec<Delivery>) {
        let Some((deliveries, pause, is_idle)) = self.worker.borrow_mut().as_mut().map(|worker| {
            let deliveries = act(worker);
            (deliveries, worker.pause(), worker.is_idle())
        }) else {
            return;
        };
        deliveries.into_iter().for_each(deliver);
        let _ = hostcalls::set_effective_context(self.context);
        tick(pause);
        if self.is_closing && is_idle {
            let _ = hostcalls::done();
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body_bytes: usize, _: usize) {
        self.work(|worker| worker.answered(call, headers, body_bytes));
    }

    fn on_done(&mut self) -> bool {
        self.is_closing = true;
        self.worker.borrow().as_ref().is_none_or(Worker::is_idle)
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        match Settings::read(&json) {
            Ok(settings) => {
                *self.worker.borrow_mut() = Some(Worker::new(settings));
                true
            }
            Err(error) => {
                let _ = hostcalls::log(LogLevel::Error, &format!("the configuration can't be used: {error}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.work(Worker::poll);
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let worker = Rc::clone(&self.worker);
        Some(Box::new(Stream { context, root: self.context, worker, api: String::new() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Stream {
    fn with_worker<T>(&self, act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        self.worker.borrow_mut().as_mut().map(act)
    }

    /// What the route's metadata call the API.
    fn route_api(&self) -> Option<String> {
        let path = vec!["xds", "route_metadata", "filter_metadata", "symbolon", "Api"];
        String::from_utf8(self.get_property(path)?).ok()
    }
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        self.with_worker(|worker| worker.forget(self.context));
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let permit = match self.route_api() {
            Some(api) => {
                self.api = api;
                self.with_worker(|worker| (worker.permit(&self.api, self.context), worker.pause()))
            }
            None => Some((Permit::Refuse(route_without_api()), None)),
        };
        match permit {
            Some((Permit::Go(header), pause)) => {
                wake(self.root, self.context, pause);
                self.set_http_request_header("authorization", Some(&header));
                Action::Continue
            }
            Some((Permit::Wait, pause)) => {
                wake(self.root, self.context, pause);
                Action::Pause
            }
            Some((Permit::Refuse(error), _)) => {
                refuse(&error);
                Action::Pause
            }
            // Envoy lets no stream come before the configuration.
            None => {
                refuse(&Error::invalid_request("not_configured", "The filter isn't configured."));
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(claims) = demanded_claims() {
            self.with_worker(|worker| worker.challenge(&self.api, self.context, claims));
        }
        Action::Continue
    }
}

/// The claims that the API demands of the next token. The caller gets the answer as it is.
fn demanded_claims() -> Option<String> {
    let status = hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, ":status").ok()??;
    if status != b"401" {
        return None;
    }
    let headers = hostcalls::get_map_bytes(MapType::HttpResponseHeaders).ok()?;
    let challenges = headers.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    let verdict = challenge::review(&Refusal {
        presented: Presented::Token,
        answer: Answer::Status(401),
        challenges: challenges.filter_map(|(_, value)| String::from_utf8(value).ok()).collect(),
        attempt: 1,
        bad_request_rejects: false,
    });
    match verdict {
        Verdict::AcquireWithClaims(claims) => Some(claims),
        Verdict::Accept | Verdict::ReselectCertificate => None,
    }
}

fn deliver(Delivery { stream, outcome }: Delivery) {
    if hostcalls::set_effective_context(stream).is_err() {
        return;
    }
    match outcome {
        Ok(header) => {
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "authorization", Some(&header));
            let _ = hostcalls::resume_http_request();
        }
        Err(error) => refuse(&error),
    }
}

/// Answers the caller in the upstream's place. Says the code alone: the words for people are in the log.
fn refuse(error: &Error) {
    let problem = json!({
        "title": "There is no token for this request",
        "status": 503,
        "code": error.code,
        "correlationId": Some(&error.correlation_id).filter(|id| !id.is_empty()),
    });
    let retry_after = error.retry_after_ms.map(|milliseconds| milliseconds.div_ceil(1000).to_string());
    let mut headers = vec![("content-type", "application/problem+json")];
    headers.extend(retry_after.as_deref().map(|seconds| ("retry-after", seconds)));
    let _ = hostcalls::send_http_response(503, headers, Some(problem.to_string().as_bytes()));
}

/// Has the root context called in a while, from a stream.
fn wake(root: u32, stream: u32, pause: Option<Duration>) {
    if pause.is_some() {
        let _ = hostcalls::set_effective_context(root);
        tick(pause);
        let _ = hostcalls::set_effective_context(stream);
    }
}

/// Has the root context called again and again, or no more.
fn tick(pause: Option<Duration>) {
    let _ = hostcalls::set_tick_period(pause.unwrap_or_default());
}

fn route_without_api() -> Error {
    Error::invalid_request(
        "route_without_api",
        "The route's metadata name no API (filter_metadata, symbolon, Api).",
    )
}
