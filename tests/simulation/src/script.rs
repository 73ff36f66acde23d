//! What happens in a simulation: drawn from the seed, then brought to an end in which everything must be well again.

use std::rc::Rc;

use symbolon_resources::cache::{CacheLimits, TokenCache};

use crate::authority::USERS;
use crate::host::{Credential, Party};
use crate::random::Random;
use crate::want::{Owner, Want, Who};
use crate::world::World;

const SESSIONS: usize = 2;
const SCOPES: usize = 2;
const HOUR_MS: u64 = 3_600_000;
const HERD: usize = 25;

/// Runs the simulation of a seed to its end.
///
/// # Errors
///
/// The story of the first violation.
pub(crate) fn run(seed: u64) -> Result<u64, String> {
    let random = Random::new(seed);
    let (is_small, jumps) = (random.chance(20), random.chance(40));
    let key = random.number().to_le_bytes();
    let world = World::new(random, is_small);
    let mut limits = CacheLimits::default();
    if is_small {
        (limits.max_application_entries, limits.max_entries) = (16, 30);
    }
    let mut cache_seed = [0; 16];
    cache_seed[..8].copy_from_slice(&key);
    let cache = TokenCache::with_seed(limits, world.clock.clone(), cache_seed);
    // The first two are the same client, configured twice.
    let parties = [
        Party::new(0, CLIENTS[0], Credential::Secret, false, &cache, &world),
        Party::new(1, CLIENTS[0], Credential::Certificate, false, &cache, &world),
        Party::new(2, CLIENTS[1], Credential::Secret, true, &cache, &world),
    ];
    let script = Script { world: Rc::clone(&world), parties, jumps };
    world.executor.spawn(script.play());
    world.run();
    world.end()
}

const CLIENTS: [&str; 2] = ["6731de76-14a6-49ae-97bc-6eba6914391e", "ab18ca07-d139-4840-8b3b-4be9610c6ed5"];

struct Script {
    world: Rc<World>,
    parties: [Rc<Party>; 3],
    /// Whether the clock may jump.
    jumps: bool,
}

impl Script {
    async fn play(self) {
        for _ in 0..self.world.random.between(25, 50) {
            self.act();
            let pause_ms = match self.world.random.below(10) {
                0 => self.world.random.between(1, 3) * HOUR_MS / 2,
                1 => self.world.random.between(1_000, 60_000),
                2..=5 => self.world.random.between(1, 500),
                _ => 0,
            };
            self.world.sleep(pause_ms).await;
        }
        self.end_well().await;
    }

    fn act(&self) {
        let (world, random) = (&self.world, &self.world.random);
        let party = random.below(self.parties.len());
        match random.below(100) {
            0..=9 => {
                world.faults.set(random.pick(&[0, 0, 10, 40, 90]));
                world.tell(|| format!("faults: {} %", world.faults.get()));
            }
            10..=14 if self.jumps => {
                let hours = random.between(1, 4) as i64 * HOUR_MS as i64 / 2;
                world.jump(if random.chance(50) { hours } else { -hours });
            }
            15..=19 => self.parties[1].replace_certificate(),
            20..=23 => self.revoke(random.below(USERS.len())),
            24..=31 => self.parties[party].end(self.owner(party)),
            _ => self.crowd(party),
        }
    }

    fn revoke(&self, user: usize) {
        self.world.authority.revoke(user);
        let event = self.world.event();
        self.world.reference.borrow_mut().revoke(user, event);
        self.world.tell(|| format!("user {user} is signed out everywhere"));
    }

    fn owner(&self, party: usize) -> Owner {
        let random = &self.world.random;
        match random.chance(50) && !self.parties[party].at_provider() {
            true => Owner::Session(random.below(SESSIONS)),
            false => Owner::Account(random.below(USERS.len())),
        }
    }

    /// One who asks, or several who ask for the same.
    fn crowd(&self, party: usize) {
        let random = &self.world.random;
        let want = self.want(party);
        let size = if matches!(want.who, Who::SignIn { .. }) { 1 } else { random.pick(&[1, 1, 1, 2, 5]) };
        for _ in 0..size {
            let patience_ms = random.chance(15).then(|| random.between(1, 2_000));
            let asking = Rc::clone(&self.parties[party]).ask(want, patience_ms);
            self.world.executor.spawn(async move {
                asking.await;
            });
        }
    }

    fn want(&self, party: usize) -> Want {
        let random = &self.world.random;
        let at_provider = self.parties[party].at_provider();
        let (user, assertion) = (random.below(USERS.len()), random.below(2));
        let session = random.below(SESSIONS);
        let who = match random.below(if at_provider { 6 } else { 10 }) {
            0 => Who::Client { bound: self.parties[party].has_certificate() && random.chance(70) },
            1 => Who::Client { bound: false },
            2 => Who::SignIn { user, code: self.world.event() },
            3..=5 => Who::Silent { user },
            6 => Who::OnBehalfOf { user, assertion },
            7 => Who::Initiate { session, user, assertion, search_in_cache: random.chance(50) },
            _ => Who::InSession { session },
        };
        let tenant = if matches!(who, Who::Client { .. }) { random.below(2) } else { 0 };
        Want { who, tenant, scope: random.below(SCOPES), forced: random.chance(10), at_provider }
    }

    /// The faults are over, and so are all pauses: whoever has signed in gets tokens, whoever was signed out gets none, and a
    /// crowd costs one request.
    async fn end_well(&self) {
        let world = &self.world;
        world.faults.set(0);
        world.sleep(30 * HOUR_MS).await;
        if !world.is_small {
            for (party, owner, user) in self.held() {
                let who = match owner {
                    Owner::Account(_) => Who::Silent { user },
                    Owner::Session(session) => Who::InSession { session },
                };
                self.expect(party, who, true).await;
            }
        }
        for party in 0..self.parties.len() {
            for session in (0..SESSIONS).filter(|_| !self.parties[party].at_provider()) {
                if world.reference.borrow().is_ended(party, Owner::Session(session)) {
                    self.expect(party, Who::InSession { session }, false).await;
                }
            }
            self.herd(party).await;
        }
    }

    fn held(&self) -> Vec<(usize, Owner, usize)> {
        self.world.reference.borrow().held()
    }

    async fn expect(&self, party: usize, who: Who, is_token: bool) {
        let at_provider = self.parties[party].at_provider();
        let want = Want { who, tenant: 0, scope: SCOPES, forced: false, at_provider };
        let came = Rc::clone(&self.parties[party]).ask(want, None).await;
        if came != Some(is_token) {
            self.world.violation(format!("app-{party} asked for {want:?} in the end: {came:?}"));
        }
    }

    async fn herd(&self, party: usize) {
        let (world, at_provider) = (&self.world, self.parties[party].at_provider());
        let who = Who::Client { bound: self.parties[party].has_certificate() };
        let want = Want { who, tenant: 0, scope: SCOPES + 1, forced: false, at_provider };
        for _ in 0..HERD {
            let asking = Rc::clone(&self.parties[party]).ask(want, None);
            let world = Rc::clone(world);
            self.world.executor.spawn(async move {
                if asking.await != Some(true) {
                    world.violation(format!("one of a crowd got no {want:?}"));
                }
            });
        }
        world.sleep(HOUR_MS / 60).await;
        let requests = world.reference.borrow().requests(party, &want.scope());
        if requests != 1 {
            world.violation(format!("a crowd of {HERD} cost {requests} requests"));
        }
    }
}
