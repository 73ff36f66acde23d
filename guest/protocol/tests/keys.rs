//! Which requests share an answer: those alone that ask for the same.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::directory::{ALICE, BOB, User};
use common::host::Host;
use common::*;
use proptest::prelude::*;
use proptest::sample::select;
use symbolon_protocol::acquisition::Entry;
use symbolon_protocol::cache::user_assertion_hash;
use symbolon_protocol::request::{
    AgentFlow, AgentSubject, AssertionKind, AuthorizationCode, CachePartition, ClientFlow, FederatedUser,
    Flow, NamedUser, Options, RefreshToken, Request, Scheme, SessionStart, UserAssertion, UsernamePassword,
};

type Pairs = Vec<(&'static str, &'static str)>;

/// The flows; what they have in common is beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Client,
    OnBehalfOf,
    Initiate,
    GoOn,
    Silent,
    RefreshToken,
    Code,
    Password,
    Federated,
    Agent,
    AgentOnBehalfOf,
    AgentUser,
}

const KINDS: [Kind; 12] = [
    Kind::Client,
    Kind::OnBehalfOf,
    Kind::Initiate,
    Kind::GoOn,
    Kind::Silent,
    Kind::RefreshToken,
    Kind::Code,
    Kind::Password,
    Kind::Federated,
    Kind::Agent,
    Kind::AgentOnBehalfOf,
    Kind::AgentUser,
];

/// A request and the application that makes it, by everything that may matter, and some things that don't.
#[derive(Clone, Debug)]
struct Question {
    kind: Kind,
    is_bob: bool,
    by_name: bool,
    assertion: &'static str,
    session: &'static str,
    agent: &'static str,
    flow: Pairs,
    scope: &'static str,
    tenant: Option<&'static str>,
    client_id: &'static str,
    client_claims: Option<&'static str>,
    query: Pairs,
    body: Pairs,
    partition: Option<(&'static str, bool)>,
    credential_path: Option<&'static str>,
    key: Option<&'static str>,
    bound_to: Option<&'static str>,
    /// A forced refresh, headers, a challenge, another connection.
    noise: bool,
}

const KEYS: [&str; 2] = [
    r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#,
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
];

/// What a token is found by, as the contract says it and not as the code does.
#[derive(Debug, PartialEq)]
struct Matters {
    client_id: String,
    of_agent: bool,
    subject: (char, String),
    tenant: String,
    scope: String,
    binding: Option<&'static str>,
    components: BTreeMap<(char, &'static str), String>,
}

impl Question {
    fn user(&self) -> &'static User {
        if self.is_bob { &BOB } else { &ALICE }
    }

    fn named(&self) -> NamedUser {
        match self.by_name {
            true => NamedUser::Username(self.user().upn.into()),
            false => NamedUser::ObjectId(self.user().oid.into()),
        }
    }

    fn token(&self) -> String {
        self.user().token(self.assertion)
    }

    fn is_of_agent(&self) -> bool {
        matches!(self.kind, Kind::Agent | Kind::AgentOnBehalfOf | Kind::AgentUser)
    }

    fn is_of_application(&self) -> bool {
        matches!(self.kind, Kind::Client | Kind::Agent)
    }

    /// The certificate that the token is bound to.
    fn certificate(&self) -> Option<&'static str> {
        self.bound_to.filter(|_| self.is_of_application() && self.key.is_none())
    }

    fn flow(&self) -> Flow {
        let assertion = || UserAssertion { assertion: self.token(), kind: AssertionKind::Jwt };
        let agent = |subject| Flow::ForAgent(AgentFlow { agent: self.agent.into(), subject });
        let id = format!("x.{}", self.user().oid);
        match self.kind {
            Kind::Client => Flow::ForClient(ClientFlow {
                fmi_path: value(&self.flow, "fmi_path"),
                attributes: value(&self.flow, "attributes"),
                attribute_tokens: value(&self.flow, "attribute_tokens").into_iter().collect(),
            }),
            Kind::OnBehalfOf => Flow::OnBehalfOf(assertion()),
            Kind::Initiate => Flow::InitiateLongRunningProcess(SessionStart {
                assertion: assertion(),
                session_key: Some(self.session.into()),
                search_in_cache: false,
            }),
            Kind::GoOn => Flow::AcquireInLongRunningProcess(match self.session {
                "" => user_assertion_hash(&self.token()),
                key => key.into(),
            }),
            Kind::Silent => Flow::Silent(self.user().home_account_id()),
            Kind::RefreshToken => Flow::ByRefreshToken(RefreshToken(id)),
            Kind::Code => Flow::ByAuthorizationCode(AuthorizationCode {
                code: id,
                offline_access: true,
                ..AuthorizationCode::default()
            }),
            Kind::Password => Flow::ByUsernamePassword(UsernamePassword {
                username: self.user().upn.into(),
                password: "p".into(),
            }),
            Kind::Federated => Flow::ByUserFederatedIdentityCredential(FederatedUser {
                user: self.named(),
                assertion: "t2".into(),
            }),
            Kind::Agent => agent(AgentSubject::App),
            Kind::AgentOnBehalfOf => agent(AgentSubject::Assertion(assertion())),
            Kind::AgentUser => agent(AgentSubject::User(self.named())),
        }
    }

    fn request(&self) -> Request {
        let pairs =
            |pairs: &Pairs| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let options = Options {
            tenant_id: self.tenant.map(String::from),
            client_claims: self.client_claims.map(String::from),
            extra_query_parameters: pairs(&self.query),
            extra_body_parameters: pairs(&self.body),
            cache_partitions: (self.partition.iter())
                .map(|(value, refresh_tokens)| CachePartition {
                    name: "own".into(),
                    value: value.to_string(),
                    refresh_tokens: *refresh_tokens,
                })
                .collect(),
            client_assertion_fmi_path: self.credential_path.map(String::from),
            pop_public_key: self.key.map(String::from),
            force_refresh: self.noise,
            claims: self.noise.then(|| r#"{"id_token":{}}"#.into()),
            extra_headers: self.noise.then(|| ("x-noise".into(), "x".into())).into_iter().collect(),
            ..Options::default()
        };
        Request {
            flow: self.flow(),
            scopes: vec![self.scope.into(), "openid".into()],
            scheme: if self.certificate().is_some() { Scheme::MtlsPop } else { Scheme::Bearer },
            options,
        }
    }

    /// The keys under which its token is kept or replaced, else under which it is looked for: at all names of the cloud.
    fn keys(&self) -> BTreeSet<String> {
        let credential = if self.noise { bound_certificate } else { certificate };
        let mut host = Host::new(credential(self.bound_to.unwrap_or("t0")));
        host.context.application.client_id = self.client_id.into();
        let result = host.acquire(self.request());
        let alternatives = &host.lookups[0].alternatives;
        match result {
            Ok(token) => {
                let is_token =
                    |entry: &Entry| matches!(entry, Entry::AccessToken(item) if item.secret == token.token);
                let saved = host.cache.entries.iter().find(|saved| is_token(&saved.entry)).expect("an entry");
                let is_found = |keys: &Vec<String>| keys.iter().all(|key| saved.keys.contains(key));
                assert!(
                    alternatives.is_empty() || alternatives.iter().any(is_found),
                    "what is stored is found"
                );
                saved.keys.iter().chain(&saved.replaces).cloned().collect()
            }
            Err(error) => {
                let known = ["no_tokens_found", "obo_cache_key_not_in_cache_error"];
                assert!(known.contains(&error.code.as_str()), "{error}");
                alternatives.iter().flatten().cloned().collect()
            }
        }
    }

    fn matters(&self) -> Matters {
        let user = self.user();
        let subject = match self.kind {
            Kind::Client | Kind::Agent => ('-', String::new()),
            Kind::OnBehalfOf | Kind::AgentOnBehalfOf => ('s', user_assertion_hash(&self.token())),
            Kind::Initiate | Kind::GoOn if self.session.is_empty() => {
                ('s', user_assertion_hash(&self.token()))
            }
            Kind::Initiate | Kind::GoOn => ('s', self.session.into()),
            Kind::AgentUser => ('u', user.oid.into()),
            _ => ('a', user.home_account_id()),
        };
        let mut components = BTreeMap::new();
        let mut add = |mark, pairs: &Pairs| {
            components.extend(pairs.iter().map(|(name, value)| ((mark, *name), value.to_string())));
        };
        add('?', &self.query);
        add('=', &self.body);
        if self.kind == Kind::Client {
            add(' ', &self.flow);
        }
        let of_agent = self.is_of_agent().then_some(self.agent);
        for (name, value) in [
            ("client_claims", self.client_claims),
            ("own", self.partition.map(|(value, _)| value)),
            ("credential_fmi_path", self.credential_path.or(of_agent)),
        ] {
            if let Some(value) = value {
                components.insert((' ', name), value.into());
            }
        }
        Matters {
            client_id: of_agent.unwrap_or(self.client_id).into(),
            of_agent: of_agent.is_some(),
            subject,
            tenant: self.tenant.unwrap_or(TENANT).to_lowercase(),
            scope: self.scope.to_lowercase(),
            binding: self.key.or(self.certificate()),
            components,
        }
    }
}

fn value(pairs: &Pairs, name: &str) -> Option<String> {
    pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string())
}

/// Values that collide where a boundary or a name is forgotten.
fn parameters() -> impl Strategy<Value = Pairs> {
    select(vec![vec![], vec![("p", "x")], vec![("p", "y")], vec![("px", "")], vec![("p", "x"), ("q", "x")]])
}

fn question() -> impl Strategy<Value = Question> {
    let who = (
        select(KINDS.to_vec()),
        any::<bool>(),
        any::<bool>(),
        select(vec!["one", "two"]),
        select(vec!["", "k", "K"]),
        select(vec!["agent-1", "agent-2", "client-2"]),
        select(vec![
            vec![],
            vec![("fmi_path", "x")],
            vec![("fmi_path", "y")],
            vec![("attributes", "x")],
            vec![("attribute_tokens", "x")],
        ]),
    );
    let what = (
        select(vec!["r/a", "R/A", "r/b"]),
        select(vec![None, Some("t1.com"), Some("T1.com"), Some("t2.com")]),
        select(vec!["client-1", "client-2"]),
        select(vec![None, Some(r#"{"a":1}"#), Some(r#"{"a":2}"#)]),
        parameters(),
        // The names of query and body are different ones.
        parameters().prop_map(|pairs| match pairs.as_slice() {
            [("p", value)] => vec![("own-body", *value)],
            _ => vec![],
        }),
    );
    let how = (
        select(vec![None, Some(("x", false)), Some(("x", true)), Some(("y", false))]),
        select(vec![None, Some("x"), Some("agent-1")]),
        select(vec![None, None, Some(KEYS[0]), Some(KEYS[1])]),
        select(vec![None, Some("t1"), Some("t2")]),
        any::<bool>(),
    );
    (who, what, how).prop_map(|(who, what, how)| {
        let (kind, is_bob, by_name, assertion, session, agent, flow) = who;
        let (scope, tenant, client_id, client_claims, query, body) = what;
        let (partition, credential_path, key, bound_to, noise) = how;
        Question {
            kind,
            is_bob,
            by_name,
            assertion,
            session,
            agent,
            flow,
            scope,
            tenant,
            client_id,
            client_claims,
            query,
            body,
            partition,
            credential_path,
            key,
            bound_to,
            noise,
        }
    })
}

/// The first question with one thing of the second.
fn with_one_of(at: usize, a: &Question, b: &Question) -> Question {
    let (a, b) = (a.clone(), b.clone());
    match at {
        0 => Question { kind: b.kind, ..a },
        1 => Question { is_bob: b.is_bob, ..a },
        2 => Question { by_name: b.by_name, ..a },
        3 => Question { assertion: b.assertion, ..a },
        4 => Question { session: b.session, ..a },
        5 => Question { agent: b.agent, ..a },
        6 => Question { flow: b.flow, ..a },
        7 => Question { scope: b.scope, ..a },
        8 => Question { tenant: b.tenant, ..a },
        9 => Question { client_id: b.client_id, ..a },
        10 => Question { client_claims: b.client_claims, ..a },
        11 => Question { query: b.query, ..a },
        12 => Question { body: b.body, ..a },
        13 => Question { partition: b.partition, ..a },
        14 => Question { credential_path: b.credential_path, ..a },
        15 => Question { key: b.key, ..a },
        16 => Question { bound_to: b.bound_to, ..a },
        _ => Question { noise: b.noise, ..a },
    }
}

fn check(a: &Question, b: &Question) -> Result<(), TestCaseError> {
    let (keys, others) = (a.keys(), b.keys());
    prop_assert!(!keys.is_empty() && !others.is_empty());
    prop_assert_eq!(keys == others, a.matters() == b.matters());
    prop_assert!(keys == others || keys.is_disjoint(&others), "{:?} and {:?} share a key", a, b);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn requests_share_a_key_exactly_when_they_ask_for_the_same(a in question(), b in question()) {
        check(&a, &b)?;
    }

    #[test]
    fn one_difference_is_enough(a in question(), b in question(), at in 0usize..18) {
        check(&a, &with_one_of(at, &a, &b))?;
    }

    /// Where the parameter goes is a difference too.
    #[test]
    fn a_parameter_of_the_query_is_none_of_the_body(a in question(), name in "[a-z]{1,2}", value in "[a-z]{1,3}") {
        let name: &'static str = Box::leak(name.into_boxed_str());
        let value: &'static str = Box::leak(value.into_boxed_str());
        let in_query = Question { query: vec![(name, value)], body: vec![], ..a.clone() };
        let in_body = Question { query: vec![], body: vec![(name, value)], ..a };
        check(&in_query, &in_body)?;
    }
}
