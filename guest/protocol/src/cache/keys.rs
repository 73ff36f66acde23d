//! Keys.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::scopes::Scopes;

/// What sets a token apart from others for the same scopes, beside the members that every token has: names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Components(BTreeMap<String, String>);

impl Components {
    /// No components.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component. A later value for the same name replaces the earlier one.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The hash that stands for the components in MSAL's keys; `None` when there is none.
    ///
    /// Names and values are hashed without separators, as MSAL does, so that different components may share a hash:
    /// whoever finds an entry by it must compare the components themselves.
    pub fn hash(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for (name, value) in self.iter() {
            hash.update(name);
            hash.update(value);
        }
        Some(BASE64_URL_SAFE_NO_PAD.encode(hash.finalize()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Components {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut components = Self::new();
        pairs.into_iter().for_each(|(name, value)| components.insert(name, value));
        components
    }
}

/// The partition of an application's own tokens in a cache that MSAL shares.
///
/// `tenant` is the tenant of the request's authority; ADFS and generic OpenID Connect have none. `key_id` is the
/// `x5t#S256` of the certificate that the tokens are bound to.
pub fn app_partition_key(
    key_id: Option<&str>,
    client_id: &str,
    tenant: Option<&str>,
    components: &Components,
) -> String {
    let (key_id, tenant) = (key_id.unwrap_or_default(), tenant.unwrap_or_default());
    let hash = components.hash().map(|hash| format!("_{hash}")).unwrap_or_default();
    format!("{key_id}{client_id}_{tenant}{hash}_AppTokenCache")
}

/// Base64url of the SHA-256 of a user's token: the partition of what was acquired on its behalf, and the key of a
/// long-running process whose caller names none.
///
/// All other tokens of users have the home account id for their partition.
pub fn user_assertion_hash(assertion: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(assertion))
}

/// Whom a token speaks for, as far as look-ups tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The application itself.
    Application,
    /// The account of this home account id.
    Account(&'a str),
    /// Whoever one user assertion, or one long-running process, speaks for: the assertion's hash, or the session key.
    Session(&'a str),
    /// The user of this name, for an agent that knows no account.
    Username(&'a str),
    /// The user of this object id, for an agent that knows no account.
    ObjectId(&'a str),
}

impl Subject<'_> {
    fn push_to(self, key: &mut String) {
        let (mark, name) = match self {
            Subject::Application => return key.push('-'),
            Subject::Account(id) => ('a', id.into()),
            Subject::Session(id) => ('s', id.into()),
            Subject::Username(name) => ('u', name.to_lowercase()),
            Subject::ObjectId(id) => ('o', id.to_ascii_lowercase()),
        };
        key.push(mark);
        push_part(key, &name);
    }
}

/// All that decides which access tokens may answer a request, but for the scopes.
///
/// This is the one place where keys of the host's cache are made, for reading and for writing. Every member goes into
/// every key with its length before it, so that classes which differ in any member share no key. Members that are
/// compared without regard to case are lower-cased: environment, realm and token type. Client id and key id stay as they
/// are, because a partition that MSAL shares goes by them: the host's cache of that kind reads the keys.
#[derive(Debug, Clone, Copy)]
pub struct AccessTokenClass<'a> {
    /// Whom the token speaks for.
    pub subject: Subject<'a>,
    /// Whether it belongs to an acquisition for an agent: nothing else finds it.
    pub for_agent: bool,
    /// The host name under which the authority's tokens are kept.
    pub environment: &'a str,
    /// The client that the token is issued to.
    pub client_id: &'a str,
    /// The directory; empty where the authority has none.
    pub realm: &'a str,
    /// The scheme that the token is presented with, such as `Bearer`.
    pub token_type: &'a str,
    /// `x5t#S256` of the certificate that the token is bound to.
    pub key_id: Option<&'a str>,
    /// What sets the token apart otherwise.
    pub components: &'a Components,
}

impl AccessTokenClass<'_> {
    /// One key for each scope but the reserved ones, sorted.
    ///
    /// A token is stored under the keys of all of its scopes, and answers a request when it has all keys of the
    /// request's scopes.
    pub fn keys(&self, scopes: &Scopes) -> Vec<String> {
        let class = self.prefix();
        scopes.significant().iter().map(|scope| class.clone() + scope).collect()
    }

    /// The members, each with its length before it. What follows them needs none: it is the last.
    fn prefix(&self) -> String {
        let mut key = String::with_capacity(192);
        push_part(&mut key, &self.environment.to_ascii_lowercase());
        push_part(&mut key, self.client_id);
        push_part(&mut key, &self.realm.to_ascii_lowercase());
        push_part(&mut key, &self.token_type.to_ascii_lowercase());
        push_optional(&mut key, self.key_id);
        self.subject.push_to(&mut key);
        key.push(if self.for_agent { 'a' } else { '-' });
        push_components(&mut key, self.components);
        key
    }
}

/// The key of a refresh token. It serves all directories and resources.
#[derive(Debug, Clone, Copy)]
pub struct RefreshTokenClass<'a> {
    /// Whom it speaks for.
    pub subject: Subject<'a>,
    /// Whether it belongs to an acquisition for an agent.
    pub for_agent: bool,
    /// The host name under which the authority's tokens are kept.
    pub environment: &'a str,
    /// The client that it is issued to.
    pub client_id: &'a str,
    /// What sets it apart otherwise.
    pub components: &'a Components,
}

impl RefreshTokenClass<'_> {
    /// Its key.
    pub fn key(&self) -> String {
        let mut key = entry_key("refresh-token", [self.environment, self.client_id]);
        self.subject.push_to(&mut key);
        key.push(if self.for_agent { 'a' } else { '-' });
        push_components(&mut key, self.components);
        key
    }
}

/// The key of an account's entry.
pub fn account_key(home_account_id: &str, environment: &str, realm: &str) -> String {
    with_account(entry_key("account", [environment, realm]), home_account_id)
}

/// The key of an id token.
pub fn id_token_key(home_account_id: &str, environment: &str, client_id: &str, realm: &str) -> String {
    with_account(entry_key("id-token", [environment, client_id, realm]), home_account_id)
}

/// The key of the entry that says to whom a long-running process belongs.
pub fn session_owner_key(client_id: &str, session_key: &str) -> String {
    with_account(entry_key("session-owner", [client_id]), session_key)
}

/// A further key of that entry, by the hash of the assertion with which the process was initiated last.
pub fn session_assertion_key(client_id: &str, session_key: &str, assertion_hash: &str) -> String {
    with_account(with_account(entry_key("session-assertion", [client_id]), session_key), assertion_hash)
}

/// The group of everything that belongs to a long-running process, or was acquired for one user assertion.
pub fn session_group(client_id: &str, session_key: &str) -> String {
    with_account(entry_key("session", [client_id]), session_key)
}

/// The group of everything that belongs to an account.
pub fn account_group(client_id: &str, home_account_id: &str) -> String {
    with_account(entry_key("account-group", [client_id]), home_account_id)
}

/// The group of all accounts that can be acquired for silently.
pub fn accounts_group(client_id: &str) -> String {
    entry_key("accounts", [client_id])
}

/// A key that no access token's key equals: those begin with a length.
fn entry_key<const N: usize>(kind: &str, members: [&str; N]) -> String {
    let mut key = String::from(kind);
    key.push(';');
    for member in members {
        push_part(&mut key, &member.to_ascii_lowercase());
    }
    key
}

/// Adds a member whose case matters.
fn with_account(mut key: String, id: &str) -> String {
    push_part(&mut key, id);
    key
}

/// The keys by which an access token is looked up: one alternative for each of the environment's names, in their order.
pub fn access_token_alternatives(
    class: &AccessTokenClass<'_>,
    aliases: &[String],
    scopes: &Scopes,
) -> Vec<Vec<String>> {
    aliases.iter().map(|environment| AccessTokenClass { environment, ..*class }.keys(scopes)).collect()
}

fn push_part(key: &mut String, part: &str) {
    key.push_str(&part.len().to_string());
    key.push(':');
    key.push_str(part);
}

fn push_components(key: &mut String, components: &Components) {
    key.push_str(&components.0.len().to_string());
    key.push(';');
    for (name, value) in components.iter() {
        push_part(key, name);
        push_part(key, value);
    }
}

fn push_optional(key: &mut String, part: Option<&str>) {
    match part {
        Some(part) => push_part(key, part),
        None => key.push('-'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, option, prelude::*};

    use super::*;

    fn components(pairs: &[(&str, &str)]) -> Components {
        pairs.iter().copied().collect()
    }

    #[test]
    fn the_hash_of_components_is_msals() {
        assert_eq!(components(&[]).hash(), None);
        assert_eq!(
            components(&[("key4", "value4"), ("key3", "value3")]).hash().as_deref(),
            Some("3-Rg6_wyjx5Bcy0C3CQQ7GAJtzGsQY3oXQpWj4Y8k4U")
        );
    }

    #[test]
    fn the_partition_of_an_application_is_msals() {
        let fmi = components(&[("fmi_path", "SomeFmiPath/Path")]);
        for (key_id, client_id, tenant, components, expected) in [
            (None, "client", Some("common"), components(&[]), "client_common_AppTokenCache"),
            (None, "client", None, components(&[]), "client__AppTokenCache"),
            (Some("kid"), "client", Some("t"), components(&[]), "kidclient_t_AppTokenCache"),
            (
                None,
                "urn:microsoft:identity:fmi",
                Some("10c419d4-4a50-45b2-aa4e-919fb84df24f"),
                fmi,
                "urn:microsoft:identity:fmi_10c419d4-4a50-45b2-aa4e-919fb84df24f_7CX57Q63os7benQ6ER0sxgJPtNQSv7TGb5zexcidFoI_AppTokenCache",
            ),
        ] {
            assert_eq!(app_partition_key(key_id, client_id, tenant, &components), expected);
        }
    }

    #[test]
    fn the_partition_of_a_user_assertion_is_its_hash() {
        assert_eq!(user_assertion_hash("DefaultAccessToken"), "_12u9Y5QR_HRAugqY7gPmj2ks0d6kF60ZdtIvDu5k9g");
    }

    #[test]
    fn case_matters_where_msal_compares_it() {
        let components = components(&[]);
        let class = AccessTokenClass {
            subject: Subject::Session("s"),
            for_agent: false,
            environment: "login.windows.net",
            client_id: "client",
            realm: "Contoso.com",
            token_type: "Bearer",
            key_id: None,
            components: &components,
        };
        let scopes = Scopes::new(["R/Scope", "openid"]);
        let same = AccessTokenClass { realm: "contoso.COM", token_type: "bearer", ..class };
        assert_eq!(class.keys(&scopes), same.keys(&Scopes::new(["OPENID", "r/scope"])));
        for other in [
            AccessTokenClass { subject: Subject::Session("S"), ..class },
            AccessTokenClass { client_id: "Client", ..class },
            AccessTokenClass { key_id: Some("K"), ..class },
        ] {
            let lower = AccessTokenClass { key_id: other.key_id.map(|_| "k"), ..class };
            assert_ne!(lower.keys(&scopes), other.keys(&scopes));
        }
        assert_eq!(class.keys(&Scopes::new(["openid", "profile", "offline_access"])), [""; 0]);
    }

    /// The members of a class, owned, from an alphabet that collides where lengths were missing.
    #[derive(Debug, Clone, PartialEq)]
    struct Owned {
        members: [String; 4],
        subject: (u8, String),
        for_agent: bool,
        key_id: Option<String>,
        components: Components,
    }

    /// Every kind of subject; those without case are given none.
    fn subject((kind, name): &(u8, String)) -> Subject<'_> {
        match kind {
            0 => Subject::Application,
            1 => Subject::Account(name),
            2 => Subject::Session(name),
            3 => Subject::Username(name),
            _ => Subject::ObjectId(name),
        }
    }

    impl Owned {
        fn keys(&self, scopes: &Scopes) -> Vec<String> {
            let [environment, client_id, realm, token_type] = &self.members;
            AccessTokenClass {
                subject: subject(&self.subject),
                for_agent: self.for_agent,
                environment,
                client_id,
                realm,
                token_type,
                key_id: self.key_id.as_deref(),
                components: &self.components,
            }
            .keys(scopes)
        }

        fn refresh_token_key(&self) -> String {
            let [environment, client_id, ..] = &self.members;
            RefreshTokenClass {
                subject: subject(&self.subject),
                for_agent: self.for_agent,
                environment,
                client_id,
                components: &self.components,
            }
            .key()
        }
    }

    fn member() -> impl Strategy<Value = String> {
        "[a1:;-]{0,3}"
    }

    fn class() -> impl Strategy<Value = Owned> {
        let components = collection::btree_map(member(), member(), 0..3).prop_map(Components::from_iter);
        (collection::vec(member(), 4), named_subject(), any::<bool>(), option::of(member()), components)
            .prop_map(|(members, subject, for_agent, key_id, components)| Owned {
                members: members.try_into().expect("four members"),
                subject,
                for_agent,
                key_id,
                components,
            })
    }

    /// The application has no name.
    fn named_subject() -> impl Strategy<Value = (u8, String)> {
        (0u8..5, member()).prop_map(|(kind, name)| (kind, if kind == 0 { String::new() } else { name }))
    }

    fn scopes() -> impl Strategy<Value = Scopes> {
        collection::vec("[ab:1;/]{1,3}", 1..4).prop_map(Scopes::new)
    }

    proptest! {
        #[test]
        fn different_classes_share_no_key(a in class(), b in class(), scopes in scopes()) {
            prop_assume!(a != b);
            let (a, b) = (a.keys(&scopes), b.keys(&scopes));
            prop_assert!(a.iter().all(|key| !b.contains(key)));
        }

        #[test]
        fn refresh_tokens_of_different_classes_share_no_key(a in class(), b in class()) {
            let of = |class: &Owned| {
                let [environment, client_id, ..] = class.members.clone();
                (environment, client_id, class.subject.clone(), class.for_agent, class.components.clone())
            };
            prop_assert_eq!(of(&a) == of(&b), a.refresh_token_key() == b.refresh_token_key());
        }

        #[test]
        fn entries_of_different_kinds_share_no_key(class in class(), id in member(), scopes in scopes()) {
            let [environment, client_id, realm, _] = &class.members;
            let mut keys = class.keys(&scopes);
            keys.extend([
                class.refresh_token_key(),
                account_key(&id, environment, realm),
                id_token_key(&id, environment, client_id, realm),
                session_owner_key(client_id, &id),
                session_assertion_key(client_id, &id, &id),
                session_group(client_id, &id),
                account_group(client_id, &id),
                accounts_group(client_id),
            ]);
            let distinct: alloc::collections::BTreeSet<_> = keys.iter().collect();
            prop_assert_eq!(distinct.len(), keys.len());
        }

        #[test]
        fn a_change_of_one_member_changes_every_key(a in class(), at in 0usize..8, to in member(), other in named_subject(), scopes in scopes()) {
            let mut b = a.clone();
            match at {
                0..4 => b.members[at] = to,
                4 => b.key_id = Some(to),
                5 => b.subject = other,
                6 => b.for_agent = !b.for_agent,
                _ => b.components.insert("a", to),
            }
            prop_assume!(a != b);
            let (a, b) = (a.keys(&scopes), b.keys(&scopes));
            prop_assert!(a.iter().all(|key| !b.contains(key)));
        }

        #[test]
        fn a_token_answers_exactly_the_requests_whose_scopes_it_has(class in class(), has in scopes(), wants in scopes()) {
            let written = class.keys(&has);
            let found = class.keys(&wants).iter().all(|key| written.contains(key));
            prop_assert_eq!(found, wants.iter().all(|scope| has.contains(scope)));
        }

        #[test]
        fn components_keep_apart_what_their_hash_does_not(split in 0usize..5) {
            let (name, value) = "abcde".split_at(split);
            prop_assume!(split != 2);
            let (a, b) = (components(&[(name, value)]), components(&[("ab", "cde")]));
            prop_assert_eq!(a.hash(), b.hash());
            let of = |components: Components| Owned {
                members: Default::default(),
                subject: (0, String::new()),
                for_agent: false,
                key_id: None,
                components,
            };
            let scopes = Scopes::new(["s"]);
            prop_assert_ne!(of(a).keys(&scopes), of(b).keys(&scopes));
        }
    }
}
