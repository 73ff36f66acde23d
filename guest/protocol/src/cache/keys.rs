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

/// All that decides which access tokens may answer a request, but for the scopes.
///
/// This is the one place where keys of the host's cache are made, for reading and for writing. Every member goes into
/// every key with its length before it, so that classes which differ in any member share no key. Members that are
/// compared without regard to case are lower-cased: environment, client id, realm, token type and key id.
#[derive(Debug, Clone, Copy)]
pub struct AccessTokenClass<'a> {
    /// `{uid}.{utid}` of the account; empty for the application's own tokens.
    pub home_account_id: &'a str,
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
    /// Ties the token to one user assertion or session.
    pub user_assertion_hash: Option<&'a str>,
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
        for member in [self.environment, self.client_id, self.realm, self.token_type] {
            push_part(&mut key, &member.to_ascii_lowercase());
        }
        push_optional(&mut key, self.key_id.map(str::to_ascii_lowercase).as_deref());
        push_part(&mut key, self.home_account_id);
        push_optional(&mut key, self.user_assertion_hash);
        key.push_str(&self.components.0.len().to_string());
        key.push(';');
        for (name, value) in self.components.iter() {
            push_part(&mut key, name);
            push_part(&mut key, value);
        }
        key
    }
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
            home_account_id: "",
            environment: "login.windows.net",
            client_id: "client",
            realm: "Contoso.com",
            token_type: "Bearer",
            key_id: None,
            user_assertion_hash: None,
            components: &components,
        };
        let scopes = Scopes::new(["R/Scope", "openid"]);
        let same =
            AccessTokenClass { realm: "contoso.COM", token_type: "bearer", client_id: "CLIENT", ..class };
        assert_eq!(class.keys(&scopes), same.keys(&Scopes::new(["OPENID", "r/scope"])));
        let other = AccessTokenClass { user_assertion_hash: Some(""), ..class };
        assert_ne!(class.keys(&scopes), other.keys(&scopes));
        assert_eq!(class.keys(&Scopes::new(["openid", "profile", "offline_access"])), [""; 0]);
    }

    /// The members of a class, owned, from an alphabet that collides where lengths were missing.
    #[derive(Debug, Clone, PartialEq)]
    struct Owned {
        members: [String; 5],
        key_id: Option<String>,
        user_assertion_hash: Option<String>,
        components: Components,
    }

    impl Owned {
        fn keys(&self, scopes: &Scopes) -> Vec<String> {
            let [home_account_id, environment, client_id, realm, token_type] = &self.members;
            AccessTokenClass {
                home_account_id,
                environment,
                client_id,
                realm,
                token_type,
                key_id: self.key_id.as_deref(),
                user_assertion_hash: self.user_assertion_hash.as_deref(),
                components: &self.components,
            }
            .keys(scopes)
        }
    }

    fn member() -> impl Strategy<Value = String> {
        "[a1:;-]{0,3}"
    }

    fn class() -> impl Strategy<Value = Owned> {
        let components = collection::btree_map(member(), member(), 0..3).prop_map(Components::from_iter);
        (collection::vec(member(), 5), option::of(member()), option::of(member()), components).prop_map(
            |(members, key_id, user_assertion_hash, components)| Owned {
                members: members.try_into().expect("five members"),
                key_id,
                user_assertion_hash,
                components,
            },
        )
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
        fn a_change_of_one_member_changes_every_key(a in class(), at in 0usize..8, to in member(), scopes in scopes()) {
            let mut b = a.clone();
            match at {
                0..5 => b.members[at] = to,
                5 => b.key_id = Some(to),
                6 => b.user_assertion_hash = Some(to),
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
                key_id: None,
                user_assertion_hash: None,
                components,
            };
            let scopes = Scopes::new(["s"]);
            prop_assert_ne!(of(a).keys(&scopes), of(b).keys(&scopes));
        }
    }
}
