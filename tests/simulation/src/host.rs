//! An application in its host: the protocol core, driven as the component is, on the host's own cache and facts.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use symbolon_protocol::accounts;
use symbolon_protocol::acquisition::{
    Absence, Acquisition, Action, Event, FactKind as Kind, Found, Lookup, Store,
};
use symbolon_protocol::authority::{AuthorityKind, SignatureAlgorithm};
use symbolon_protocol::credential::{BoundUse, Certificate, CredentialKind, Description};
use symbolon_protocol::error::Error;
use symbolon_protocol::request::{AccessToken, Application, Context, Request, TokenSource};
use symbolon_resources::cache::{
    self as cache, ApplicationCache, ApplicationId, Reuse, ReuseMap, Saved, Ticket, TokenCache, Watch,
};
use symbolon_resources::facts::{FactKind, Facts};

use crate::authority::{Asker, PROVIDER, TENANTS, home_account_id};
use crate::entries::{components, from_cache, to_cache};
use crate::executor::within;
use crate::network::Sender;
use crate::reference::Served;
use crate::want::{Owner, Want, Who, session_key};
use crate::world::World;

/// What an application authenticates with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    Secret,
    Certificate,
}

/// What was true when an application was asked for a token.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) party: usize,
    /// Its place in the order of everything that happens.
    pub(crate) event: u64,
    pub(crate) clock_ms: u64,
    /// How many times the clock had jumped.
    pub(crate) jumps: usize,
    generation: u64,
}

pub(crate) struct Party {
    index: usize,
    application: Application,
    credential: Credential,
    /// Of its certificate.
    generation: Cell<u64>,
    cache: ApplicationCache<Error>,
    facts: Facts,
    reuse: ReuseMap,
    world: Rc<World>,
}

/// An acquisition under way, seen from outside.
#[derive(Default)]
struct Run {
    started: u64,
    is_ordinary: bool,
    /// The flow and whose it is.
    flow: String,
    /// The flights that it leads.
    led: RefCell<Vec<Watch<Error>>>,
}

impl Run {
    fn is_waited_for(&self) -> bool {
        self.led.borrow().iter().any(Watch::is_waited_for)
    }
}

/// For how long an acquisition goes on that nobody waits for, as the engine's do.
const ABANDONED_MS: u64 = 1_000;
/// How long an acquisition may take, as the engine's may.
const LIMIT_MS: u64 = 30_000;
/// Beyond that, and what it waited for another one before, it hangs.
const PATIENCE_MS: u64 = 10 * LIMIT_MS;

impl Party {
    pub(crate) fn new(
        index: usize,
        client_id: &str,
        credential: Credential,
        at_provider: bool,
        cache: &Arc<TokenCache<Error>>,
        world: &Rc<World>,
    ) -> Rc<Self> {
        let application = Application {
            client_id: client_id.into(),
            authority: match at_provider {
                true => PROVIDER.into(),
                false => format!("https://login.microsoftonline.com/{}", TENANTS[0]),
            },
            authority_type: at_provider.then_some(AuthorityKind::Oidc),
            ..Application::default()
        };
        Rc::new(Self {
            index,
            application,
            credential,
            generation: Cell::new(0),
            cache: cache.namespace(ApplicationId::new(format!("app-{index}"))),
            facts: Facts::new(world.clock.clone()),
            reuse: ReuseMap::new(1_000),
            world: Rc::clone(world),
        })
    }

    pub(crate) fn at_provider(&self) -> bool {
        self.application.authority_type.is_some()
    }

    pub(crate) fn has_certificate(&self) -> bool {
        self.credential == Credential::Certificate
    }

    pub(crate) fn replace_certificate(&self) {
        self.generation.set(self.generation.get() + 1);
        self.world.tell(|| format!("app-{} gets certificate {}", self.index, self.generation.get()));
    }

    /// Ends a long-running process, or forgets an account.
    pub(crate) fn end(&self, owner: Owner) {
        let group = match owner {
            Owner::Session(session) => {
                accounts::of_long_running_process(&self.application, &session_key(session))
            }
            Owner::Account(user) => {
                accounts::of_account(&self.application, &home_account_id(user, self.at_provider()))
            }
        };
        self.cache.remove_group(&group.unwrap_or_default());
        let event = self.world.event();
        self.world.reference.borrow_mut().end(self.index, owner, event);
        self.world.tell(|| format!("app-{} ends {owner:?}", self.index));
    }

    /// Asks for a token as users of the library do, and checks what comes. Gives up after so many milliseconds, where it is
    /// said. Whether there was a token.
    pub(crate) async fn ask(self: Rc<Self>, want: Want, patience_ms: Option<u64>) -> Option<bool> {
        let world = Rc::clone(&self.world);
        let call = self.call();
        if want.is_repeatable() && self.reused(&call, &want) {
            return Some(true);
        }
        world.reference.borrow_mut().begins(&call, &want);
        let run = Rc::new(Run {
            started: call.event,
            is_ordinary: want.is_repeatable(),
            flow: want.flow(),
            ..Run::default()
        });
        let party = Rc::clone(&self);
        let (running, began_ms) = (Rc::clone(&run), world.now_ms());
        let acquisition = Box::pin(async move { party.finish(call, want, running, false).await });
        let Some(patience_ms) = patience_ms else {
            let is_token = acquisition.await;
            if world.now_ms() - began_ms > PATIENCE_MS && world.jumps() == call.jumps {
                world.violation(format!("{want:?} took {} ms", world.now_ms() - began_ms));
            }
            return Some(is_token);
        };
        match within(world.sleep(patience_ms), acquisition).await {
            Ok(is_token) => Some(is_token),
            Err(acquisition) => {
                world.tell(|| format!("app-{} gives {want:?} up", self.index));
                // As in the engine: it goes on where others may wait for what it brings.
                if !run.led.borrow().is_empty() {
                    let (executor, world) = (Rc::clone(&world.executor), Rc::clone(&world));
                    executor.spawn(async move { go_on(&world, &run, acquisition, call, want).await });
                } else {
                    world.reference.borrow_mut().ends(&call);
                }
                None
            }
        }
    }

    fn call(&self) -> Call {
        Call {
            party: self.index,
            event: self.world.event(),
            clock_ms: self.world.clock_ms(),
            jumps: self.world.jumps(),
            generation: self.generation.get(),
        }
    }

    /// Whether an earlier answer stands. One that is due for it is renewed in the background.
    fn reused(self: &Rc<Self>, call: &Call, want: &Want) -> bool {
        let (digest, now_ms) = (want.digest(&self.reuse), self.world.clock_ms());
        let generation = want.is_bound().then_some(call.generation);
        let Some(reused) = self.reuse.get(digest, now_ms, generation) else { return false };
        self.world.tell(|| format!("app-{} serves {want:?} again", self.index));
        let Some(token) = reused.entry.access_token() else { return false };
        let served = Served {
            token: token.secret,
            expires_on: token.expires_on,
            key_id: token.key_id,
            is_cached: true,
        };
        self.world.check_token(call, want, &served);
        if want.is_bound() && token.key_id != Some(&thumbprint(call.generation)) {
            self.world.violation(format!("{want:?} got a token that is bound to a certificate of before"));
        }
        if reused.refresh_due && reused.entry.claim_refresh(now_ms) {
            let (party, call, want) = (Rc::clone(self), self.call(), *want);
            let run = Rc::new(Run { started: call.event, flow: want.flow(), ..Run::default() });
            self.world.reference.borrow_mut().begins(&call, &want);
            self.world.executor.spawn(async move {
                party.finish(call, want, run, true).await;
            });
        }
        true
    }

    /// Runs an acquisition to its end, remembers its answer and checks it. Whether there was a token.
    async fn finish(self: Rc<Self>, call: Call, want: Want, run: Rc<Run>, proactive: bool) -> bool {
        let result = self.acquire(want.request(), &run, proactive).await;
        let world = &self.world;
        match &result {
            Ok(token) => {
                world.tell(|| format!("app-{} got {} for {want:?}", self.index, token.token));
                let served = Served {
                    token: &token.token,
                    expires_on: token.expires_on,
                    key_id: token.key_id.as_deref(),
                    is_cached: token.source == TokenSource::Cache,
                };
                world.check_token(&call, &want, &served);
                if want.is_bound() && generation(token.key_id.as_deref()) < Some(call.generation) {
                    world.violation(format!("{want:?} got a token that is bound to a certificate of before"));
                }
                world.succeeded(&call, &want, token);
                if !want.forced {
                    self.remember(&want, token);
                }
            }
            Err(error) => {
                world.tell(|| format!("app-{} got no {want:?}: {} {error}", self.index, error.code));
                world.failed(&call, &want, error);
            }
        }
        world.reference.borrow_mut().ends(&call);
        result.is_ok()
    }

    fn remember(&self, want: &Want, token: &AccessToken) {
        let entry = token.cache_key.as_deref().and_then(|key| self.cache.get(key));
        let entry = entry.filter(|entry| entry.access_token().is_some_and(|it| it.secret == token.token));
        if let (Some(entry), Some(reuse)) = (entry, token.reuse) {
            let generation = want.is_bound().then(|| generation(token.key_id.as_deref())).flatten();
            let reuse = Reuse { until: reuse.until, refresh_from: reuse.refresh_from, generation };
            self.reuse.remember(want.digest(&self.reuse), &entry, reuse, self.world.clock_ms());
        }
    }

    /// Does what the protocol says.
    async fn acquire(&self, request: Request, run: &Run, proactive: bool) -> Result<AccessToken, Error> {
        let world = &self.world;
        let now = world.clock_ms();
        let context = Context {
            application: self.application.clone(),
            now,
            deadline: now + LIMIT_MS,
            seed: std::array::from_fn(|_| world.random.number()),
            proactive_refresh: proactive,
        };
        let (mut acquisition, mut action) = Acquisition::start(request, &context)?;
        let mut tickets: Vec<(Ticket<Error>, u64)> = Vec::new();
        let mut selected = self.generation.get();
        loop {
            let event = match action {
                Action::Finish(result) => return result.map(|token| *token),
                Action::Find(lookup) => Event::Found(self.find(&lookup, run, &mut tickets).await),
                Action::Select(_) => {
                    selected = self.generation.get();
                    Event::Selected(Ok(self.description(selected)))
                }
                Action::Sign { .. } => Event::Signed(Ok(vec![0xff; 8])),
                Action::Send(request) => {
                    let thumbprint = self.has_certificate().then(|| thumbprint(selected));
                    let begun = tickets.last().map_or(run.started, |(_, begun)| *begun);
                    let asker = Asker { party: self.index, thumbprint: thumbprint.as_deref(), begun };
                    let Run { started, is_ordinary, flow, .. } = run;
                    let sender = Sender { asker, started: *started, is_ordinary: *is_ordinary, flow };
                    Event::Answered(world.exchange(&request, sender).await)
                }
                Action::Wait { milliseconds } => {
                    world.sleep(milliseconds).await;
                    Event::Waited { now: world.clock_ms() }
                }
                Action::Report(_) => Event::Reported,
                Action::Recall(fact) => {
                    Event::Recalled(self.facts.get(kind(fact.kind), &fact.key).map(|value| value.to_vec()))
                }
                Action::Remember { fact, value, ttl_ms } => {
                    self.facts.put(kind(fact.kind), &fact.key, &value, ttl_ms);
                    Event::Remembered
                }
                Action::Put(store) => {
                    let ticket = if store.ends_flight { self.land(run, &mut tickets) } else { None };
                    self.put(ticket, &store);
                    Event::Stored
                }
                Action::Fail(error) => {
                    if let Some(ticket) = self.land(run, &mut tickets) {
                        self.cache.fail(ticket, &error);
                    }
                    Event::Failed
                }
                other => {
                    world.violation(format!("{other:?} is nothing that these flows need"));
                    Event::Reported
                }
            };
            action = acquisition.handle(event);
        }
    }

    async fn find(&self, lookup: &Lookup, run: &Run, tickets: &mut Vec<(Ticket<Error>, u64)>) -> Found {
        let lookup = cache::Lookup {
            alternatives: &lookup.alternatives,
            expires_after: lookup.expires_after,
            expires_before: lookup.expires_before,
            bypass: lookup.bypass,
            renews: false,
            flight: lookup.flight.as_deref(),
        };
        match self.cache.find(lookup).await {
            cache::Found::Hit(entry) => Found::Hit(from_cache(entry.entry())),
            cache::Found::Lead { ticket, absence, now_unix_ms } => {
                run.led.borrow_mut().push(ticket.watch());
                tickets.push((ticket, self.world.event()));
                let absence = match absence {
                    cache::Absence::Absent => Absence::Absent,
                    cache::Absence::Expired => Absence::Expired,
                    cache::Absence::Bypassed => Absence::Bypassed,
                };
                Found::Lead { absence, now: now_unix_ms }
            }
            cache::Found::Failed(error) => Found::Failed(Box::new(error)),
            cache::Found::Miss => Found::Miss,
        }
    }

    /// Ends the flight that was led last.
    fn land(&self, run: &Run, tickets: &mut Vec<(Ticket<Error>, u64)>) -> Option<Ticket<Error>> {
        run.led.borrow_mut().pop();
        let ticket = tickets.pop().map(|(ticket, _)| ticket);
        if ticket.is_none() {
            self.world.violation("a flight is ended that nobody led".to_owned());
        }
        ticket
    }

    fn put(&self, ticket: Option<Ticket<Error>>, store: &Store) {
        let components: Vec<_> = store.entries.iter().map(|saved| components(&saved.entry)).collect();
        let entries: Vec<_> = store
            .entries
            .iter()
            .zip(&components)
            .map(|(saved, components)| Saved {
                entry: to_cache(&saved.entry, components),
                keys: &saved.keys,
                replaces: &saved.replaces,
                groups: &saved.groups,
                partition_key: &saved.partition_key,
                item_key: &saved.item_key,
            })
            .collect();
        self.cache.put(ticket, &store.replaced_groups, &entries);
    }

    fn description(&self, generation: u64) -> Description {
        let certificate = Certificate {
            chain: vec![vec![0x30]],
            thumbprint_sha256: thumbprint(generation),
            thumbprint_sha1: format!("sha1-{generation}"),
            key_id: None,
            not_after: u64::MAX,
            algorithms: vec![SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256],
        };
        Description {
            name: "ClientCredentials[0]".into(),
            kind: match self.credential {
                Credential::Secret => CredentialKind::ClientSecret,
                Credential::Certificate => CredentialKind::Certificate,
            },
            use_bound: BoundUse::Unspecified,
            omit_assertion_when_bound: false,
            certificate: self.has_certificate().then_some(certificate),
        }
    }
}

async fn go_on(
    world: &World,
    run: &Run,
    mut acquisition: Pin<Box<impl Future<Output = bool>>>,
    call: Call,
    want: Want,
) {
    loop {
        match within(world.sleep(ABANDONED_MS), acquisition).await {
            Ok(_) => return,
            Err(running) if run.is_waited_for() => acquisition = running,
            Err(_) => break,
        }
    }
    world.reference.borrow_mut().ends(&call);
    // A refresh token that is good once may have been on its way: nobody learns what became of it.
    if let (true, Who::Silent { user }) = (want.at_provider, want.who) {
        world.authority.revoke(user);
        let event = world.event();
        world.reference.borrow_mut().revoke(user, event);
    }
}

fn thumbprint(generation: u64) -> String {
    format!("certificate-{generation}")
}

fn generation(thumbprint: Option<&str>) -> Option<u64> {
    thumbprint?.strip_prefix("certificate-")?.parse().ok()
}

fn kind(kind: Kind) -> FactKind {
    match kind {
        Kind::InstanceDiscovery => FactKind::InstanceDiscovery,
        Kind::OidcMetadata => FactKind::OidcMetadata,
        Kind::Region => FactKind::Region,
        Kind::Throttle => FactKind::Throttle,
        Kind::BoundRefusal => FactKind::BoundRefusal,
    }
}
