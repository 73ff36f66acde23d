//! A span for each acquisition, and one below it for each request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use symbolon::{Began, Ended, Event, Outcome, Recorded, RecordedRequest, Recorder, RequestEnded};

/// Makes spans of what is recorded. The parent of an acquisition's is the caller's, that of one inside another the other's.
pub(crate) struct Spans {
    tracer: SdkTracer,
    open: Mutex<HashMap<Key, Open>>,
}

/// The number of the acquisition, and how deep inside it.
type Key = (u64, u32);

struct Open {
    context: Context,
    requests: HashMap<u32, Span>,
}

impl Spans {
    pub(crate) fn new(tracer: SdkTracer) -> Self {
        Self { tracer, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, of: &Recorded<'_>, began: &Began<'_>) {
        let outer = of
            .depth
            .checked_sub(1)
            .and_then(|depth| Some(self.lock().get(&(of.number, depth))?.context.clone()));
        let attributes = [
            KeyValue::new("symbolon.scopes", began.scopes.join(" ")),
            KeyValue::new("symbolon.proactive", began.proactive),
        ];
        let context = self.start(of, &outer.unwrap_or_else(Context::current), attributes);
        self.lock().insert((of.number, of.depth), Open { context, requests: HashMap::new() });
    }

    fn start(
        &self,
        of: &Recorded<'_>,
        parent: &Context,
        more: impl IntoIterator<Item = KeyValue>,
    ) -> Context {
        let attributes = [
            KeyValue::new("symbolon.application", of.application.to_string()),
            KeyValue::new("symbolon.flow", of.flow),
            KeyValue::new("symbolon.correlation_id", of.correlation_id.to_string()),
        ];
        let name = format!("acquire_token {}", of.flow);
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Internal);
        let span = builder
            .with_attributes(attributes.into_iter().chain(more))
            .start_with_context(&self.tracer, parent);
        parent.with_span(span)
    }

    fn end(&self, of: &Recorded<'_>, ended: &Ended<'_>) {
        let context = match ended.reused {
            true => self.start(of, &Context::current(), []),
            false => match self.lock().remove(&(of.number, of.depth)) {
                Some(open) => open.context,
                None => return,
            },
        };
        let span = context.span();
        match &ended.outcome {
            Outcome::Token(token) => {
                span.set_attribute(KeyValue::new("TokenSource", pascal_case(token.source().as_str())));
                span.set_attribute(KeyValue::new(
                    "CacheRefreshReason",
                    pascal_case(token.cache_refresh_reason().as_str()),
                ));
                span.set_attribute(KeyValue::new("TokenType", token.token_type().to_owned()));
            }
            Outcome::Failed(failure) => {
                span.set_attribute(KeyValue::new("error.type", failure.kind()));
                span.set_attribute(KeyValue::new("ErrorCode", failure.code().to_owned()));
                span.set_status(Status::error(failure.kind()));
            }
            _ => {}
        }
        span.end();
    }

    fn sent(&self, of: &Recorded<'_>, request: &RecordedRequest) {
        let mut open = self.lock();
        // The call of an API has no acquisition of its own around it: its token may be an earlier one's.
        let open = open
            .entry((of.number, of.depth))
            .or_insert_with(|| Open { context: Context::current(), requests: HashMap::new() });
        let mut attributes = vec![
            KeyValue::new("http.request.method", request.method.to_string()),
            KeyValue::new("server.address", request.authority.clone()),
            KeyValue::new("url.path", request.path.clone()),
            KeyValue::new("symbolon.attempt", i64::from(request.attempt)),
        ];
        let certificate = request.certificate.clone();
        attributes.extend(certificate.map(|it| KeyValue::new("symbolon.client_certificate", it)));
        let builder = self.tracer.span_builder(request.method.to_string()).with_kind(SpanKind::Client);
        let builder = builder.with_attributes(attributes);
        open.requests.insert(request.attempt, builder.start_with_context(&self.tracer, &open.context));
    }

    fn answered(&self, of: &Recorded<'_>, ended: &RequestEnded<'_>) {
        let mut all = self.lock();
        let Some(open) = all.get_mut(&(of.number, of.depth)) else { return };
        if let Some(mut span) = open.requests.remove(&ended.request.attempt) {
            match ended.outcome {
                Ok(status) => {
                    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
                    if status >= 400 {
                        span.set_status(Status::error(status.to_string()));
                    }
                }
                Err(error) => span.set_status(Status::error(format!("{:?}", error.kind()))),
            }
            span.end();
        }
        if of.flow == "downstream-api" && open.requests.is_empty() {
            all.remove(&(of.number, of.depth));
        }
    }
}

impl Recorder for Spans {
    fn record(&self, of: &Recorded<'_>, event: &Event<'_>) {
        match event {
            Event::Began(began) => self.begin(of, began),
            Event::RequestSent(request) => self.sent(of, request),
            Event::RequestEnded(ended) => self.answered(of, ended),
            Event::Abandoned => {
                if let Some(open) = self.lock().remove(&(of.number, of.depth)) {
                    open.context.span().set_status(Status::error("abandoned"));
                    open.context.span().end();
                }
            }
            Event::Ended(ended) => self.end(of, ended),
            _ => {}
        }
    }
}

/// As MSAL's telemetry writes it: `IdentityProvider` for `identityProvider`.
fn pascal_case(name: &str) -> String {
    let (first, rest) = name.split_at_checked(1).unwrap_or_default();
    first.to_ascii_uppercase() + rest
}
