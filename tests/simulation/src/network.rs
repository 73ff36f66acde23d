//! The way to the authority and back, and what may become of a request on it.

use std::collections::BTreeSet;

use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};
use symbolon_protocol::token_request::HttpRequest;

use crate::authority::{Asker, fields, is_provider};
use crate::reference::{Identity, Pause};
use crate::world::World;

/// What is known of the acquisition that sends a request.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) asker: Asker<'a>,
    /// When the acquisition started, in the order of everything that happens.
    pub(crate) started: u64,
    /// Whether it asks the cache first, and so never sends what another one does already.
    pub(crate) is_ordinary: bool,
    /// The flow and whose it is.
    pub(crate) flow: &'a str,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Nothing is sent.
    Unreachable,
    /// No answer arrives, in time or ever; the request may have.
    Lost {
        arrives: bool,
    },
    /// Something on the way answers, or the authority, which may have done what it was asked for.
    Failed {
        status: u16,
        arrives: bool,
        pause_s: Option<u64>,
    },
    /// The answer arrives in pieces.
    Garbled,
}

impl World {
    pub(crate) async fn exchange(
        &self,
        request: &HttpRequest,
        sender: Sender<'_>,
    ) -> Result<HttpResponse, TransportError> {
        let identity = identity(request, sender);
        let is_token_request = !request.body.is_empty();
        if is_token_request {
            self.check_pause(&identity, sender);
        }
        let _under_way = (is_token_request && sender.is_ordinary).then(|| UnderWay::begin(self, &identity));
        let fate = self.fate();
        self.tell(|| format!("app-{} sends {}: {fate:?}", sender.asker.party, identity.what));
        let answer = self.meet(fate, request, sender).await;
        if is_token_request {
            self.reference.borrow_mut().count(&identity);
            self.note_pause(identity, &answer);
        }
        answer
    }

    fn fate(&self) -> Fate {
        let random = &self.random;
        if !random.chance(self.faults.get()) {
            return Fate::Answered;
        }
        let pause_s = random.chance(70).then(|| random.between(1, 120));
        match random.below(8) {
            0 => Fate::Unreachable,
            1 => Fate::Lost { arrives: false },
            2 => Fate::Lost { arrives: true },
            3 | 4 => Fate::Failed { status: 429, arrives: false, pause_s },
            5 => Fate::Failed { status: 503, arrives: false, pause_s },
            6 => {
                let status = random.pick(&[500, 502, 504]);
                Fate::Failed { status, arrives: random.chance(50), pause_s: None }
            }
            _ => Fate::Garbled,
        }
    }

    async fn meet(
        &self,
        fate: Fate,
        request: &HttpRequest,
        sender: Sender<'_>,
    ) -> Result<HttpResponse, TransportError> {
        let latency = || self.random.between(1, 200);
        self.sleep(latency()).await;
        match fate {
            Fate::Unreachable => Err(transport_error(TransportErrorKind::Connection, false)),
            Fate::Lost { arrives } => {
                if arrives {
                    self.arrive(request, sender);
                }
                if self.random.chance(50) {
                    return Err(transport_error(TransportErrorKind::Connection, true));
                }
                self.sleep(request.answer_timeout_ms).await;
                Err(transport_error(TransportErrorKind::Timeout, true))
            }
            Fate::Failed { status, arrives, pause_s } => {
                // A provider that says that it failed hasn't used the refresh token up.
                if arrives && !is_provider(request) {
                    self.arrive(request, sender);
                }
                self.sleep(latency()).await;
                Ok(response(status, pause_s, "{}".to_owned()))
            }
            Fate::Garbled => {
                let (status, mut body) = self.arrive(request, sender);
                self.sleep(latency()).await;
                body.truncate(body.len() / 2);
                Ok(response(status, None, body))
            }
            Fate::Answered => {
                let (status, body) = self.arrive(request, sender);
                self.sleep(latency()).await;
                Ok(response(status, None, body))
            }
        }
    }

    fn arrive(&self, request: &HttpRequest, sender: Sender<'_>) -> (u16, String) {
        let answer = self.authority.answer(request, sender.asker, self.now_ms(), &self.random);
        for offence in self.authority.offences.take() {
            self.violation(offence);
        }
        answer
    }

    fn check_pause(&self, identity: &Identity, sender: Sender<'_>) {
        let is_kept = self.reference.borrow().pauses.get(identity).is_none_or(|pause| {
            pause.until_ms <= self.now_ms() || pause.jumps != self.jumps() || pause.event > sender.started
        });
        if !is_kept {
            self.violation(format!("{} is sent in a pause that was asked for", identity.what));
        }
    }

    fn note_pause(&self, identity: Identity, answer: &Result<HttpResponse, TransportError>) {
        let seconds =
            answer.as_ref().ok().and_then(|response| response.retry_after.as_ref()?.parse::<u64>().ok());
        if let Some(seconds) = seconds {
            let until_ms = self.now_ms() + seconds * 1_000;
            let pause = Pause { until_ms, event: self.event(), jumps: self.jumps() };
            self.reference.borrow_mut().pauses.insert(identity, pause);
        }
    }
}

/// What a request asks for: all that others who want the same would send.
fn identity(request: &HttpRequest, sender: Sender<'_>) -> Identity {
    let Sender { asker, flow, .. } = sender;
    let own: BTreeSet<&str> = ["client_assertion", "client_secret"].into();
    let fields = fields(request).into_iter().filter(|(name, _)| !own.contains(name.as_str()));
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
    let (authority, path) = (&request.authority, &request.path_with_query);
    let bound = asker.thumbprint.filter(|_| request.presentation.certificate).unwrap_or_default();
    Identity { party: asker.party, what: format!("{flow}: {authority}{path} {} {bound}", fields.join(" ")) }
}

fn response(status: u16, pause_s: Option<u64>, body: String) -> HttpResponse {
    let retry_after = pause_s.map(|seconds| seconds.to_string());
    HttpResponse { status, retry_after, challenge: None, date: None, server: None, body: body.into_bytes() }
}

fn transport_error(kind: TransportErrorKind, may_be_sent: bool) -> TransportError {
    TransportError { kind, detail: "simulated".to_owned(), may_be_sent }
}

/// A request that nobody else may send meanwhile.
struct UnderWay<'a> {
    world: &'a World,
    identity: Identity,
}

impl<'a> UnderWay<'a> {
    fn begin(world: &'a World, identity: &Identity) -> Self {
        let is_first = world.reference.borrow_mut().under_way.insert(identity.clone());
        if !is_first {
            world.violation(format!("two send {} at the same time", identity.what));
        }
        Self { world, identity: identity.clone() }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.world.reference.borrow_mut().under_way.remove(&self.identity);
    }
}
