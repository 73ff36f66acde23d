//! Long-running processes: on behalf of a user after the user's token is gone.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::{ALICE, BOB, HOME, User};
use common::host::Host;
use common::*;
use symbolon_protocol::accounts;
use symbolon_protocol::cache::user_assertion_hash;
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{
    AssertionKind, CacheRefreshReason, Flow, Options, Request, SessionStart, TokenSource, UserAssertion,
};

const KEY: &str = "Session/1";

fn start(assertion: &str, session_key: Option<&str>) -> SessionStart {
    SessionStart {
        assertion: UserAssertion { assertion: assertion.into(), kind: AssertionKind::Jwt },
        session_key: session_key.map(String::from),
        search_in_cache: false,
    }
}

fn initiate(assertion: &str, session_key: Option<&str>) -> Request {
    ask(Flow::InitiateLongRunningProcess(start(assertion, session_key)))
}

fn initiate_from_cache(assertion: &str, session_key: Option<&str>) -> Request {
    let start = SessionStart { search_in_cache: true, ..start(assertion, session_key) };
    ask(Flow::InitiateLongRunningProcess(start))
}

fn go_on(key: &str) -> Request {
    ask(Flow::AcquireInLongRunningProcess(key.into()))
}

fn on_behalf_of(assertion: &str) -> Request {
    ask(Flow::OnBehalfOf(UserAssertion { assertion: assertion.into(), kind: AssertionKind::Jwt }))
}

/// A host with a process of this user.
fn initiated(user: &User, key: &str) -> Host {
    let mut host = Host::new(secret());
    host.acquire(initiate(&user.token("one"), Some(key))).expect("a token");
    host
}

#[test]
fn a_key_that_nobody_names_is_the_tokens_hash_and_is_given_back() {
    let assertion = ALICE.token("one");
    for absent in [None, Some("")] {
        let mut host = Host::new(secret());
        let token = host.acquire(initiate(&assertion, absent)).unwrap();
        let key = token.session_key.expect("the key");
        assert_eq!(key, user_assertion_hash(&assertion));
        assert_eq!(host.sent[0].field("requested_token_use"), Some("on_behalf_of"));
        assert_eq!(host.sent[0].header("x-client-current-telemetry"), Some("5|1017,0,,,|0,1,1,,,"));
        let token = host.acquire(go_on(&key)).unwrap();
        assert_eq!((token.source, token.session_key), (TokenSource::Cache, Some(key)));
    }
}

#[test]
fn a_key_of_the_callers_own_is_kept_as_it_is() {
    let mut host = Host::new(secret());
    let token = host.acquire(initiate(&ALICE.token("one"), Some(KEY))).unwrap();
    assert_eq!(token.session_key.as_deref(), Some(KEY));
    assert_eq!(token.refresh_reason, CacheRefreshReason::NotApplicable);
    assert_eq!(token.reuse, None, "the next initiation is an exchange again");
    let token = host.acquire(go_on(KEY)).unwrap();
    assert_eq!((token.token.as_str(), token.session_key.as_deref()), ("at1", Some(KEY)));
    assert_eq!(token.account.expect("an account").home_account_id, ALICE.home_account_id());
    assert_eq!(host.acquire(go_on("session/1")).unwrap_err().code, "obo_cache_key_not_in_cache_error");
}

#[test]
fn initiating_twice_exchanges_twice() {
    let mut host = initiated(&ALICE, KEY);
    host.acquire(for_scope(&go_on(KEY), "other/x")).unwrap();
    assert_eq!(host.requests(initiate(&ALICE.token("two"), Some(KEY))), 1);
    assert_eq!(host.acquire(go_on(KEY)).unwrap().token, "at3");
    assert_eq!(host.requests(for_scope(&go_on(KEY), "other/x")), 0, "the same user's other tokens stay");
}

#[test]
fn the_refresh_token_brings_what_the_process_lacks() {
    let mut host = initiated(&ALICE, KEY);
    for (request, cache_info) in [
        (for_scope(&go_on(KEY), "other/x"), 2),
        (with(&go_on(KEY), forced()), 1),
        (with(&go_on(KEY), Options { claims: Some("{}".into()), ..Options::default() }), 1),
    ] {
        let kept = host.cache.refresh_tokens()[0].secret.clone();
        host.acquire(request).unwrap();
        let [sent] = host.sent.as_slice() else { panic!("one request") };
        assert_eq!(sent.field("grant_type"), Some("refresh_token"));
        assert_eq!(sent.field("refresh_token"), Some(kept.as_str()));
        assert_eq!(sent.field("client_info"), Some("1"));
        let mailbox = format!("oid:{}@{HOME}", ALICE.uid);
        assert_eq!(sent.header("x-anchormailbox"), Some(mailbox.as_str()));
        let telemetry = format!("5|1018,{cache_info},,,|0,1,1,,,");
        assert_eq!(sent.header("x-client-current-telemetry"), Some(telemetry.as_str()));
        let [rotated] = host.cache.refresh_tokens()[..] else { panic!("one refresh token") };
        assert_ne!(rotated.secret, kept);
    }
    host.later(3600);
    host.directory.refreshes = false;
    let kept = host.cache.refresh_tokens()[0].secret.clone();
    assert_eq!(host.acquire(go_on(KEY)).unwrap().refresh_reason, CacheRefreshReason::Expired);
    assert_eq!(host.cache.refresh_tokens()[0].secret, kept, "where none comes the old one stays");
}

#[test]
fn a_refresh_token_that_is_worth_nothing_any_more_ends_in_a_sign_in() {
    let mut host = initiated(&ALICE, KEY);
    host.later(3600);
    host.answer(refusal("invalid_grant", "AADSTS700082: expired"));
    let error = host.acquire(go_on(KEY)).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::InteractionRequired, "invalid_grant"));
    assert_eq!(host.actions.last(), Some(&"fail"));
}

#[test]
fn an_unknown_key_is_an_error_of_its_own() {
    let mut host = Host::new(secret());
    let error = host.acquire(go_on("nope")).unwrap_err();
    assert_eq!(error.code, "obo_cache_key_not_in_cache_error");
    assert!(host.sent.is_empty());
    let error = host.acquire(go_on("")).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::InvalidRequest, "session_key_required"));
    assert!(host.actions.is_empty());
}

#[test]
fn a_stopped_process_is_unknown() {
    let mut host = initiated(&ALICE, KEY);
    host.acquire(initiate(&BOB.token("one"), Some("other"))).unwrap();
    let group = accounts::of_long_running_process(&host.context.application, KEY).unwrap();
    assert!(host.cache.remove_group(&group));
    assert!(!host.cache.remove_group(&group));
    assert_eq!(host.acquire(go_on(KEY)).unwrap_err().code, "obo_cache_key_not_in_cache_error");
    assert_eq!(host.requests(go_on("other")), 0, "the others go on");
    // The key is anybody's again.
    host.acquire(initiate(&BOB.token("one"), Some(KEY))).unwrap();
}

#[test]
fn every_entry_of_a_process_is_of_its_group() {
    let host = initiated(&ALICE, KEY);
    let group = accounts::of_long_running_process(&host.context.application, KEY).unwrap();
    let strangers = host.cache.entries.iter().filter(|saved| !saved.groups.contains(&group));
    let kinds: Vec<_> = strangers.map(|saved| saved.item_key.split('-').next()).collect();
    assert_eq!(kinds, [Some("appmetadata")]);
}

#[test]
fn another_users_key_is_refused_before_anything_is_sent_where_the_token_says_whose_it_is() {
    for request in [initiate(&BOB.token("one"), Some(KEY)), initiate_from_cache(&BOB.token("one"), Some(KEY))]
    {
        let mut host = initiated(&ALICE, KEY);
        let before = host.cache.entries.len();
        let error = host.acquire(request).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::InvalidRequest, "session-key-in-use"));
        assert!(host.sent.is_empty());
        assert_eq!(host.cache.entries.len(), before);
        assert_eq!(host.acquire(go_on(KEY)).unwrap().token, "at1");
    }
}

#[test]
fn another_users_key_is_refused_after_the_exchange_where_the_token_says_nothing() {
    for search_in_cache in [false, true] {
        let mut host = initiated(&ALICE, KEY);
        host.directory.mistakes_for = Some(&BOB);
        let opaque = SessionStart { search_in_cache, ..start("an-opaque-token", Some(KEY)) };
        let error = host.acquire(ask(Flow::InitiateLongRunningProcess(opaque))).unwrap_err();
        assert_eq!(error.code, "session-key-in-use");
        assert_eq!(host.sent.len(), 1);
        assert_eq!(host.actions.last(), Some(&"fail"), "and nothing is stored");
        let token = host.acquire(go_on(KEY)).unwrap();
        assert_eq!(token.account.expect("an account").home_account_id, ALICE.home_account_id());
        let [refresh_token] = host.cache.refresh_tokens()[..] else { panic!("one refresh token") };
        assert!(refresh_token.secret.contains(ALICE.oid));
    }
}

/// An object id is the directory's own: of another directory's it says nothing.
#[test]
fn a_directory_by_its_domain_is_no_proof_of_another_user() {
    let mut host = Host::new(secret());
    host.context.application.authority = "https://login.microsoftonline.com/contoso.com".into();
    host.acquire(initiate(&ALICE.token("one"), Some(KEY))).unwrap();
    assert_eq!(host.requests(initiate(&ALICE.token("two"), Some(KEY))), 1);
    assert_eq!(host.acquire(initiate(&BOB.token("one"), Some(KEY))).unwrap_err().code, "session-key-in-use");
    assert_eq!(host.sent.len(), 1);
}

/// Of two users who come together with the same key, the second one learns of the first.
#[test]
fn one_user_at_a_time_initiates_a_process() {
    let flights =
        |host: &Host| -> Vec<_> { host.lookups.iter().filter_map(|lookup| lookup.flight.clone()).collect() };
    let flights_of = |user: &User, key| {
        let mut host = Host::new(secret());
        host.acquire(initiate(&user.token("one"), Some(key))).unwrap();
        flights(&host)
    };
    assert_eq!(flights_of(&ALICE, KEY).len(), 1);
    assert_eq!(flights_of(&ALICE, KEY), flights_of(&BOB, KEY));
    assert_ne!(flights_of(&ALICE, KEY), flights_of(&ALICE, "other"));
}

#[test]
fn a_search_hits_for_the_same_user_only() {
    let mut host = initiated(&ALICE, KEY);
    let token = host.acquire(initiate_from_cache(&ALICE.token("two"), Some(KEY))).unwrap();
    assert_eq!((token.token.as_str(), token.source), ("at1", TokenSource::Cache));
    assert_eq!(
        host.requests(initiate_from_cache(&ALICE.token("two"), None)),
        1,
        "another key, another process"
    );

    host.later(3600);
    host.acquire(initiate_from_cache(&ALICE.token("two"), Some(KEY))).unwrap();
    assert_eq!(host.sent[0].field("grant_type"), Some("refresh_token"));

    host.later(3600);
    host.answer(refusal("invalid_grant", "AADSTS700082: expired"));
    host.acquire(initiate_from_cache(&ALICE.token("two"), Some(KEY))).unwrap();
    let grants: Vec<_> = host.sent.iter().filter_map(|sent| sent.field("requested_token_use")).collect();
    assert_eq!((host.sent.len(), grants), (2, vec!["on_behalf_of"]), "then the user's token is exchanged");
}

#[test]
fn a_search_with_a_token_that_names_nobody_hits_for_the_very_same_token_only() {
    let mut host = Host::new(secret());
    let saml = |assertion: &str| {
        ask(Flow::InitiateLongRunningProcess(SessionStart {
            assertion: UserAssertion { assertion: assertion.into(), kind: AssertionKind::Saml2 },
            session_key: Some(KEY.into()),
            search_in_cache: true,
        }))
    };
    assert_eq!(host.requests(saml("PHNhbWw-")), 1);
    assert_eq!(host.requests(saml("PHNhbWw-")), 0);
    assert_eq!(host.requests(saml("b3RoZXI-")), 1);
    assert_eq!(host.requests(saml("b3RoZXI-")), 0);
    host.directory.mistakes_for = Some(&BOB);
    assert_eq!(host.acquire(saml("dGhpcmQ-")).unwrap_err().code, "session-key-in-use");
}

#[test]
fn a_plain_exchange_shares_the_partition_and_leaves_the_refresh_token_alone() {
    let mut host = Host::new(secret());
    let assertion = ALICE.token("one");
    let key = host.acquire(initiate(&assertion, None)).unwrap().session_key.expect("the key");
    let kept = host.cache.refresh_tokens()[0].secret.clone();
    assert_eq!(host.requests(on_behalf_of(&assertion)), 0);
    host.acquire(for_scope(&on_behalf_of(&assertion), "other/x")).unwrap();
    assert_eq!(host.sent[0].field("requested_token_use"), Some("on_behalf_of"));
    assert_eq!(host.requests(for_scope(&go_on(&key), "other/x")), 0);
    assert_eq!(host.cache.refresh_tokens()[0].secret, kept);
}

/// What a plain exchange left under a key of that form is nobody's process.
#[test]
fn a_process_under_the_hash_of_anothers_token_begins_with_nothing() {
    let mut host = Host::new(secret());
    let alices = ALICE.token("one");
    host.acquire(for_scope(&on_behalf_of(&alices), "other/x")).unwrap();
    let key = user_assertion_hash(&alices);
    host.acquire(initiate(&BOB.token("one"), Some(&key))).unwrap();
    host.acquire(for_scope(&go_on(&key), "other/x")).unwrap();
    assert!(host.cache.access_tokens().iter().all(|item| item.home_account_id == BOB.home_account_id()));
}

#[test]
fn a_process_that_changes_its_user_is_stopped_short() {
    let mut host = initiated(&ALICE, KEY);
    host.later(3600);
    host.directory.mistakes_for = Some(&BOB);
    let error = host.acquire(go_on(KEY)).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::ProtocolViolation, "user_mismatch"));
    let [refresh_token] = host.cache.refresh_tokens()[..] else { panic!("one refresh token") };
    assert!(refresh_token.secret.contains(ALICE.oid));
}

#[test]
fn partitions_with_refresh_tokens_are_processes_of_their_own() {
    let mut host = initiated(&ALICE, KEY);
    let options = |refresh_tokens| Options {
        cache_partitions: vec![symbolon_protocol::request::CachePartition {
            name: "zone".into(),
            value: "a".into(),
            refresh_tokens,
        }],
        ..Options::default()
    };
    assert_eq!(host.requests(with(&go_on(KEY), options(false))), 1, "the refresh token brings it");
    let error = host.acquire(with(&for_scope(&go_on(KEY), "other/x"), options(true))).unwrap_err();
    assert_eq!(error.code, "obo_cache_key_not_in_cache_error");
}
