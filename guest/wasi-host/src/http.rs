//! `wasi:io` and `wasi:http` as the protocol component sees them: requests and answers in this component's memory, where a
//! secret can still be put into its place. By the time a future is given, its answer is there.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use symbolon_wasi::place::{Headers, Place};

use crate::bindings::Component;
use crate::bindings::exports::symbolon::credentials::provider::CredentialBorrow;
use crate::bindings::exports::symbolon::credentials::transport::{self, Presentation};
use crate::bindings::exports::wasi::clocks::monotonic_clock as exports_clock;
use crate::bindings::exports::wasi::http::outgoing_handler;
use crate::bindings::exports::wasi::http::types::{
    self, ErrorCode, FieldKey, FieldValue, HeaderError, Method, Scheme,
};
use crate::bindings::exports::wasi::io::streams::StreamError;
use crate::bindings::exports::wasi::io::{error, poll, streams};
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::io::poll::Pollable;
use crate::credentials::Held;
use crate::send::{self, Answer};
use crate::state::now_unix_ms;

/// What a token request never reaches.
const LARGEST_REQUEST: usize = 1 << 20;

impl outgoing_handler::Guest for Component {
    fn handle(
        request: types::OutgoingRequest,
        options: Option<types::RequestOptions>,
    ) -> Result<types::FutureIncomingResponse, ErrorCode> {
        Ok(answered(request.into_inner::<Request>().send(options, send::Trust::Nothing)))
    }
}

impl transport::Guest for Component {
    fn send(
        request: types::OutgoingRequest,
        options: Option<types::RequestOptions>,
        credential: CredentialBorrow<'_>,
        how: Presentation,
    ) -> Result<types::FutureIncomingResponse, ErrorCode> {
        let request = request.into_inner::<Request>();
        if how.certificate {
            return Err(ErrorCode::HttpRequestDenied);
        }
        if let Some(place) = &how.secret {
            let (headers, body) = (&mut request.headers.borrow_mut(), &mut request.body.borrow_mut());
            fill(place, credential.get::<Held>(), headers, body)?;
        }
        Ok(answered(request.send(options, send::Trust::Credential)))
    }

    fn exchange(
        request: transport::Request,
        credential: CredentialBorrow<'_>,
        how: Presentation,
    ) -> Result<transport::Response, ErrorCode> {
        if how.certificate {
            return Err(ErrorCode::HttpRequestDenied);
        }
        let headers = request.headers.into_iter().map(|(name, value)| (name, value.into_bytes()));
        let (mut headers, mut body): (Headers, _) = (headers.collect(), request.body);
        if let Some(place) = &how.secret {
            fill(place, credential.get::<Held>(), &mut headers, &mut body)?;
        }
        let nanoseconds = |milliseconds: u64| Some(milliseconds.saturating_mul(1_000_000));
        let request = send::Request {
            headers,
            method: request.method,
            scheme: Some(request.scheme),
            authority: request.authority,
            path_with_query: Some(request.path_with_query),
            body,
            limits: send::Limits {
                connect: nanoseconds(request.connect_timeout_ms),
                first_byte: nanoseconds(request.first_byte_timeout_ms),
            },
        };
        let Answer { status, headers, body } = send::send(request, send::Trust::Credential)?;
        let text = |(name, value): (String, Vec<u8>)| {
            Some((name.to_ascii_lowercase(), String::from_utf8(value).ok()?))
        };
        Ok(transport::Response { status, headers: headers.into_iter().filter_map(text).collect(), body })
    }

    fn wait(duration_ms: u64) -> u64 {
        const LONGEST_MS: u64 = 30_000;
        monotonic_clock::subscribe_duration(duration_ms.min(LONGEST_MS) * 1_000_000).block();
        now_unix_ms()
    }
}

fn answered(answer: Result<Answer, ErrorCode>) -> types::FutureIncomingResponse {
    types::FutureIncomingResponse::new(Future(RefCell::new(Some(answer))))
}

/// Puts the credential's secret into its place.
fn fill(
    place: &transport::Place,
    credential: &Held,
    headers: &mut Headers,
    body: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let wrong = |message: &str| ErrorCode::InternalError(Some(message.to_string()));
    let secret = credential.secret().ok_or_else(|| wrong("not sent: the credential is no secret"))?;
    let place = match place {
        transport::Place::FormField(name) => Place::FormField(name),
        transport::Place::Header(name) => Place::Header(name),
        transport::Place::BasicAuthorization(user) => Place::BasicAuthorization(user),
    };
    place.fill(secret, headers, body).map_err(wrong)
}

/// A request that isn't sent yet.
pub(crate) struct Request {
    headers: RefCell<Headers>,
    method: RefCell<Method>,
    scheme: RefCell<Option<Scheme>>,
    authority: RefCell<Option<String>>,
    path_with_query: RefCell<Option<String>>,
    body: Rc<RefCell<Vec<u8>>>,
    is_body_taken: Cell<bool>,
}

impl Request {
    fn send(self, options: Option<types::RequestOptions>, trust: send::Trust) -> Result<Answer, ErrorCode> {
        let limits = options.map(|options| options.into_inner::<Options>().limits.get()).unwrap_or_default();
        send::send(
            send::Request {
                headers: self.headers.take(),
                method: self.method.into_inner(),
                scheme: self.scheme.take(),
                authority: self.authority.take().unwrap_or_default(),
                path_with_query: self.path_with_query.take(),
                body: self.body.take(),
                limits,
            },
            trust,
        )
    }
}

impl types::GuestOutgoingRequest for Request {
    fn new(headers: types::Headers) -> Self {
        Self {
            headers: RefCell::new(headers.into_inner::<Fields>().0),
            method: RefCell::new(Method::Get),
            scheme: RefCell::default(),
            authority: RefCell::default(),
            path_with_query: RefCell::default(),
            body: Rc::default(),
            is_body_taken: Cell::new(false),
        }
    }

    fn body(&self) -> Result<types::OutgoingBody, ()> {
        if self.is_body_taken.replace(true) {
            return Err(());
        }
        Ok(types::OutgoingBody::new(Body(self.body.clone())))
    }

    fn set_method(&self, method: Method) -> Result<(), ()> {
        self.method.replace(method);
        Ok(())
    }

    fn set_path_with_query(&self, path_with_query: Option<String>) -> Result<(), ()> {
        self.path_with_query.replace(path_with_query);
        Ok(())
    }

    fn set_scheme(&self, scheme: Option<Scheme>) -> Result<(), ()> {
        self.scheme.replace(scheme);
        Ok(())
    }

    fn set_authority(&self, authority: Option<String>) -> Result<(), ()> {
        self.authority.replace(authority);
        Ok(())
    }
}

/// Headers, in order.
pub(crate) struct Fields(Headers);

impl types::GuestFields for Fields {
    fn from_list(entries: Vec<(FieldKey, FieldValue)>) -> Result<types::Fields, HeaderError> {
        Ok(types::Fields::new(Self(entries)))
    }

    fn get(&self, name: FieldKey) -> Vec<FieldValue> {
        let named = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(&name));
        named.map(|(_, value)| value.clone()).collect()
    }

    fn entries(&self) -> Vec<(FieldKey, FieldValue)> {
        self.0.clone()
    }
}

/// The time limits of a request.
#[derive(Default)]
pub(crate) struct Options {
    limits: Cell<send::Limits>,
}

impl types::GuestRequestOptions for Options {
    fn new() -> Self {
        Self::default()
    }

    fn set_connect_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.limits.set(send::Limits { connect: duration, ..self.limits.get() });
        Ok(())
    }

    fn set_first_byte_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.limits.set(send::Limits { first_byte: duration, ..self.limits.get() });
        Ok(())
    }
}

/// The body of a request.
pub(crate) struct Body(Rc<RefCell<Vec<u8>>>);

impl types::GuestOutgoingBody for Body {
    fn write(&self) -> Result<types::OutputStream, ()> {
        Ok(types::OutputStream::new(Writer(self.0.clone())))
    }

    fn finish(_: types::OutgoingBody, _: Option<types::Trailers>) -> Result<(), ErrorCode> {
        Ok(())
    }
}

/// An answer that is there already.
pub(crate) struct Future(RefCell<Option<Result<Answer, ErrorCode>>>);

impl types::GuestFutureIncomingResponse for Future {
    fn subscribe(&self) -> types::Pollable {
        types::Pollable::new(NO_WAIT)
    }

    fn get(&self) -> Option<Result<Result<types::IncomingResponse, ErrorCode>, ()>> {
        let answer = self.0.take().ok_or(());
        Some(
            answer.map(|answer| {
                answer.map(|answer| types::IncomingResponse::new(Response(RefCell::new(answer))))
            }),
        )
    }
}

/// A whole answer.
pub(crate) struct Response(RefCell<Answer>);

impl types::GuestIncomingResponse for Response {
    fn status(&self) -> u16 {
        self.0.borrow().status
    }

    fn headers(&self) -> types::Headers {
        types::Headers::new(Fields(self.0.borrow().headers.clone()))
    }

    fn consume(&self) -> Result<types::IncomingBody, ()> {
        Ok(types::IncomingBody::new(Content(Cell::new(core::mem::take(&mut self.0.borrow_mut().body)))))
    }
}

/// The body of an answer.
pub(crate) struct Content(Cell<Vec<u8>>);

impl types::GuestIncomingBody for Content {
    fn stream(&self) -> Result<types::InputStream, ()> {
        Ok(types::InputStream::new(Reader(RefCell::new(self.0.take()))))
    }
}

impl types::Guest for Component {
    type Fields = Fields;
    type OutgoingRequest = Request;
    type RequestOptions = Options;
    type OutgoingBody = Body;
    type FutureIncomingResponse = Future;
    type IncomingResponse = Response;
    type IncomingBody = Content;

    /// What went wrong with a stream is said by the future already.
    fn http_error_code(_: types::IoErrorBorrow<'_>) -> Option<ErrorCode> {
        None
    }
}

/// Bytes to be read.
pub(crate) struct Reader(RefCell<Vec<u8>>);

impl streams::GuestInputStream for Reader {
    fn blocking_read(&self, len: u64) -> Result<Vec<u8>, StreamError> {
        let mut bytes = self.0.borrow_mut();
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        let end = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        let rest = bytes.split_off(end);
        Ok(core::mem::replace(&mut *bytes, rest))
    }
}

/// Where bytes are written.
pub(crate) struct Writer(Rc<RefCell<Vec<u8>>>);

impl streams::GuestOutputStream for Writer {
    fn check_write(&self) -> Result<u64, StreamError> {
        match LARGEST_REQUEST.saturating_sub(self.0.borrow().len()) {
            0 => Err(StreamError::Closed),
            room => Ok(room as u64),
        }
    }

    fn write(&self, contents: Vec<u8>) -> Result<(), StreamError> {
        if contents.len() as u64 > self.check_write()? {
            return Err(StreamError::Closed);
        }
        self.0.borrow_mut().extend(contents);
        Ok(())
    }

    fn subscribe(&self) -> streams::Pollable {
        streams::Pollable::new(NO_WAIT)
    }
}

impl streams::Guest for Component {
    type InputStream = Reader;
    type OutputStream = Writer;
}

/// What can be waited for: nothing, because everything has happened already, or a time.
pub(crate) struct Wait(Option<Pollable>);

const NO_WAIT: Wait = Wait(None);

impl poll::GuestPollable for Wait {
    fn ready(&self) -> bool {
        self.0.as_ref().is_none_or(Pollable::ready)
    }

    fn block(&self) {
        if let Some(until) = &self.0 {
            until.block();
        }
    }
}

impl poll::Guest for Component {
    type Pollable = Wait;
}

impl exports_clock::Guest for Component {
    fn subscribe_duration(when: u64) -> poll::Pollable {
        poll::Pollable::new(Wait(Some(monotonic_clock::subscribe_duration(when))))
    }
}

/// Never made: streams here don't fail.
pub(crate) struct Failure;

impl error::GuestError for Failure {
    fn to_debug_string(&self) -> String {
        String::new()
    }
}

impl error::Guest for Component {
    type Error = Failure;
}
