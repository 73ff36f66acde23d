//! An application can't read or guess what belongs to another (I5), seen from inside the sandbox.

use std::collections::{HashMap, HashSet};

use symbolon::{Account, Application, ApplicationId};
use symbolon_authority::{REDIRECT_URI, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine, hostile_engine, order};

#[tokio::test]
async fn facts_and_entries_are_an_applications_own() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let (one, other) = (world.application(&hostile, "secret"), world.application(&hostile, "certificate"));

    assert_eq!(order(&one, "fact region=westus2").await.expect("an answer"), "kept");
    assert_eq!(order(&one, "fact region").await.expect("an answer"), "westus2");
    assert_eq!(order(&other, "fact region").await.expect("an answer"), "nothing");
}

/// Two applications with the same client id, tenant and scope, so that only the host's addition to the keys sets them apart.
#[tokio::test]
async fn the_host_adds_the_application_to_every_key() {
    let (world, symbolon) = (World::start().await, engine());
    let options = world.options("secret", |_| {}).expect("options");
    let twin = options.clone().with_id(symbolon::ApplicationId::new("twin"));
    let (one, twin) =
        (symbolon.application(options).expect("one"), symbolon.application(twin).expect("its twin"));

    let token = one.acquire_token_for_client([GRAPH]).await.expect("a token");
    let other = twin.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_ne!(token.access_token(), other.access_token());
    assert_eq!(world.token_requests().len(), 2);
}

/// Two applications with the same registration do random things, with the same users, assertions and session keys. What each
/// finds in the cache follows from what it did itself.
#[tokio::test]
async fn whatever_one_does_the_other_sees_nothing_of_it() {
    let (world, symbolon) = (World::start().await, engine());
    let assertions = USERS.map(|user| world.user_token(user, sample::WEB_API));
    let known = [somebodys_account(&world, USERS[0]).await, somebodys_account(&world, USERS[1]).await];
    let mut both = ["one", "other"].map(|id| {
        let options = world.options("web-api", |_| {}).expect("options").with_id(ApplicationId::new(id));
        Model::new(symbolon.application(options).expect("an application"), &assertions, &known)
    });
    let mut random = Random(0x5eed_0f15_01a7_1045);
    for step in 0..600 {
        let one = random.below(2);
        let operation = Operation::random(&mut random);
        both[one].check(&world, operation, step).await;
    }
    let [one, other] = &both;
    assert!(one.hits > 20 && other.hits > 20, "there is something to find: {} {}", one.hits, other.hits);
    assert!(one.tokens.is_disjoint(&other.tokens), "no token was given to both");
    let entries = |model: &Model<'_>| model.application.cache_statistics().entries;
    assert_eq!(symbolon.cache_statistics().entries, entries(one) + entries(other));

    // Everything of one goes; the other has what it had.
    let [mut one, mut other] = both;
    let before = entries(&other);
    for account in one.application.accounts().await.expect("accounts") {
        one.application.remove_account(&account).await.expect("forgotten");
    }
    for key in KEYS {
        one.application.stop_long_running_process(key).await.expect("stopped");
    }
    assert_eq!(entries(&other), before);
    (one.accounts, one.processes) = Default::default();
    for user in 0..2 {
        one.check(&world, Operation::Silent { user, scope: 0 }, 601).await;
        other.check(&world, Operation::Silent { user, scope: 0 }, 602).await;
        one.check(&world, Operation::GoOn { key: user, scope: 0 }, 603).await;
        other.check(&world, Operation::GoOn { key: user, scope: 0 }, 604).await;
    }
}

const USERS: [&str; 2] = [sample::ALICE, sample::BOB];
const SCOPES: [&str; 2] = [GRAPH, VAULT];
const KEYS: [&str; 2] = ["a key", "another key"];

/// Numbers as random as a test needs them, the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}

/// What an application does; users, scopes and keys by their index.
#[derive(Clone, Copy, Debug)]
enum Operation {
    ForClient { scope: usize },
    OnBehalfOf { user: usize, scope: usize },
    SignIn { user: usize, scope: usize },
    Silent { user: usize, scope: usize },
    Forget { user: usize },
    Initiate { user: usize, key: usize, scope: usize },
    GoOn { key: usize, scope: usize },
    Stop { key: usize },
}

impl Operation {
    fn random(random: &mut Random) -> Self {
        let (user, key, scope) = (random.below(2), random.below(2), random.below(2));
        match random.below(12) {
            0 => Self::ForClient { scope },
            1 | 2 => Self::OnBehalfOf { user, scope },
            3 => Self::SignIn { user, scope },
            4..=6 => Self::Silent { user, scope },
            7 => Self::Forget { user },
            8 => Self::Initiate { user, key, scope },
            9 | 10 => Self::GoOn { key, scope },
            _ => Self::Stop { key },
        }
    }
}

/// An application, and what it must have in its cache.
struct Model<'a> {
    application: Application,
    assertions: &'a [String; 2],
    /// The users' accounts, known or not.
    known: &'a [Account; 2],
    own: HashSet<usize>,
    exchanged: HashSet<(usize, usize)>,
    /// Users who are signed in, with the scopes of their tokens.
    accounts: HashMap<usize, HashSet<usize>>,
    /// Users of the processes, with the scopes of their tokens.
    processes: HashMap<usize, (usize, HashSet<usize>)>,
    /// Every token that it was given.
    tokens: HashSet<String>,
    hits: usize,
}

/// What an operation is to end in: a user's token after so many requests, or an error without any.
enum Expected {
    Token { user: Option<usize>, requests: usize },
    Error(&'static str),
}

impl<'a> Model<'a> {
    fn new(application: Application, assertions: &'a [String; 2], known: &'a [Account; 2]) -> Self {
        Self {
            application,
            assertions,
            known,
            own: HashSet::new(),
            exchanged: HashSet::new(),
            accounts: HashMap::new(),
            processes: HashMap::new(),
            tokens: HashSet::new(),
            hits: 0,
        }
    }

    async fn check(&mut self, world: &World, operation: Operation, step: usize) {
        let what = format!("step {step}: {operation:?}");
        let application = self.application.clone();
        let (outcome, requests, expected) = match operation {
            Operation::ForClient { scope } => {
                let (outcome, seen) = world.seen(application.acquire_token_for_client([SCOPES[scope]])).await;
                (outcome, seen, Expected::token(None, self.own.insert(scope)))
            }
            Operation::OnBehalfOf { user, scope } => {
                let exchange =
                    application.acquire_token_on_behalf_of([SCOPES[scope]], &self.assertions[user]);
                let (outcome, seen) = world.seen(exchange).await;
                (outcome, seen, Expected::token(Some(user), self.exchanged.insert((user, scope))))
            }
            Operation::SignIn { user, scope } => {
                let code = world.code(USERS[user], sample::WEB_API);
                let redeem =
                    application.acquire_token_by_authorization_code([SCOPES[scope]], code, REDIRECT_URI);
                let (outcome, seen) = world.seen(redeem).await;
                self.accounts.entry(user).or_default().insert(scope);
                (outcome, seen, Expected::token(Some(user), true))
            }
            Operation::Silent { user, scope } => {
                let account = self.known[user].clone();
                let (outcome, seen) =
                    world.seen(application.acquire_token_silent([SCOPES[scope]], &account)).await;
                let expected = match self.accounts.get_mut(&user) {
                    Some(scopes) => Expected::token(Some(user), scopes.insert(scope)),
                    None => Expected::Error("no_tokens_found"),
                };
                (outcome, seen, expected)
            }
            Operation::Forget { user } => {
                let account = self.known[user].clone();
                let forgotten = application.remove_account(&account).await.expect("an answer");
                assert_eq!(forgotten, self.accounts.remove(&user).is_some(), "{what}");
                return;
            }
            Operation::Initiate { user, key, scope } => {
                let begin = application.initiate_long_running_process(
                    [SCOPES[scope]],
                    &self.assertions[user],
                    KEYS[key],
                );
                let (outcome, seen) = world.seen(begin).await;
                let process = self.processes.entry(key).or_insert((user, HashSet::new()));
                let expected = if process.0 == user {
                    process.1.insert(scope);
                    Expected::token(Some(user), true)
                } else {
                    Expected::Error("session-key-in-use")
                };
                (outcome, seen, expected)
            }
            Operation::GoOn { key, scope } => {
                let go_on = application.acquire_token_in_long_running_process([SCOPES[scope]], KEYS[key]);
                let (outcome, seen) = world.seen(go_on).await;
                let expected = match self.processes.get_mut(&key) {
                    Some((user, scopes)) => Expected::token(Some(*user), scopes.insert(scope)),
                    None => Expected::Error("obo_cache_key_not_in_cache_error"),
                };
                (outcome, seen, expected)
            }
            Operation::Stop { key } => {
                let stopped = application.stop_long_running_process(KEYS[key]).await.expect("an answer");
                assert_eq!(stopped, self.processes.remove(&key).is_some(), "{what}");
                return;
            }
        };
        match (outcome, expected) {
            (Ok(token), Expected::Token { user, requests: expected }) => {
                assert_eq!(requests.len(), expected, "{what}");
                self.hits += usize::from(expected == 0);
                let upn = claims(token.access_token())["upn"].as_str().map(str::to_owned);
                assert_eq!(upn.as_deref(), user.map(|user| USERS[user]), "{what}");
                let is_new = self.tokens.insert(token.access_token().to_owned());
                assert_eq!(is_new, expected > 0, "{what}: a token that it was given before");
            }
            (Err(error), Expected::Error(code)) => {
                assert_eq!((error.code(), requests.len()), (code, 0), "{what}");
            }
            (outcome, _) => panic!("{what}: {outcome:?}"),
        }
    }
}

impl Expected {
    fn token(user: Option<usize>, asks: bool) -> Self {
        Self::Token { user, requests: usize::from(asks) }
    }
}

/// The account of a user as an application of another engine knows it.
async fn somebodys_account(world: &World, user: &str) -> Account {
    let application = world.application(&engine(), "web-api");
    let code = world.code(user, sample::WEB_API);
    let token = application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await;
    token.expect("a token").account().expect("an account")
}
