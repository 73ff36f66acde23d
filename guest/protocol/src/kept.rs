//! What of an answer is kept, and where.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::acquisition::{Entry, Saved, Store};
use crate::cache::{
    AccessTokenClass, AccessTokenItem, AccountItem, AppMetadataItem, IdTokenItem, RefreshTokenItem, Subject,
    account_group, account_key, accounts_group, app_partition_key, id_token_key, session_assertion_key,
    session_group, session_owner_key,
};
use crate::cloud::Environment;
use crate::error::{Error, ErrorKind};
use crate::identity::{ClientInfo, IdTokenClaims};
use crate::plan::{Owner, Plan, Session, Start};
use crate::response::TokenResponse;
use crate::scopes::Scopes;
use crate::user::User;

/// Whom an answer speaks for.
#[derive(Default)]
pub(crate) struct Identity {
    /// `{uid}.{utid}`, else the subject, else the account that was asked for; empty where nothing is known.
    pub(crate) home_account_id: String,
    /// Whether the answer itself says so.
    pub(crate) is_said: bool,
    /// The directory that issued the id token.
    pub(crate) tenant_id: Option<String>,
    local_account_id: String,
    username: Option<String>,
    name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

impl Identity {
    pub(crate) fn of(response: &TokenResponse, known: Option<&str>) -> Identity {
        // One that names nobody would make one account of all users.
        let client_info = response.client_info.as_deref().and_then(ClientInfo::parse);
        let client_info = client_info.filter(|info| !info.uid.is_empty());
        let claims = response.id_token.as_deref().and_then(IdTokenClaims::parse);
        let subject = || claims.as_ref().and_then(|claims| claims.sub.clone());
        let said = client_info.as_ref().map(ClientInfo::home_account_id).or_else(subject);
        let uid = client_info.map(|info| info.uid).unwrap_or_default();
        let Some(claims) = &claims else {
            return Identity {
                is_said: said.is_some(),
                home_account_id: said.or_else(|| known.map(String::from)).unwrap_or_default(),
                local_account_id: uid,
                ..Identity::default()
            };
        };
        Identity {
            is_said: said.is_some(),
            home_account_id: said.or_else(|| known.map(String::from)).unwrap_or_default(),
            tenant_id: claims.tid.clone(),
            local_account_id: claims.local_account_id().map_or(uid, String::from),
            username: Some(claims.username().into()),
            name: claims.name.clone(),
            given_name: claims.given_name.clone(),
            family_name: claims.family_name.clone(),
        }
    }
}

/// An answer that is being kept.
pub(crate) struct Kept<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) environment: &'a Environment,
    pub(crate) key_id: Option<&'a str>,
    pub(crate) identity: &'a Identity,
    pub(crate) response: &'a TokenResponse,
    /// Before the request was sent, in Unix seconds, so that no token is believed to live longer than it does.
    pub(crate) now: u64,
}

impl Kept<'_> {
    pub(crate) fn access_token(&self) -> AccessTokenItem {
        let Kept { plan, response, now, .. } = self;
        let scopes = response.scope.as_deref().map_or_else(|| plan.scopes.clone(), Scopes::from_response);
        AccessTokenItem {
            home_account_id: match plan.owner {
                Owner::Application => String::new(),
                _ => self.identity.home_account_id.clone(),
            },
            environment: self.environment.preferred_cache.clone(),
            client_info: response.client_info.clone(),
            client_id: plan.client_id.clone(),
            realm: self.realm().into(),
            target: scopes.sorted_target(),
            secret: response.access_token.clone(),
            token_type: plan.token_type().into(),
            key_id: self.key_id.map(String::from),
            user_assertion_hash: self.plan.owner.session().map(|session| session.key.clone()),
            cached_at: *now,
            expires_on: now + response.expires_in,
            extended_expires_on: response.extended_expires_in.map(|seconds| now + seconds),
            refresh_on: response.refresh_in.map(|seconds| now + seconds),
            components: plan.components.clone(),
            username: match plan.owner {
                Owner::Application => None,
                _ => self.identity.username.clone(),
            },
        }
    }

    /// What goes into the cache, and a key of the access token there.
    pub(crate) fn store(
        &self,
        item: &AccessTokenItem,
        replaces_session: bool,
        ends_flight: bool,
    ) -> (Store, Option<String>) {
        let mut entries = Vec::with_capacity(5);
        let keys = self.access_token_keys(item, &item.environment);
        let key = keys.first().cloned();
        // A token for nothing but reserved scopes, or for nobody, can't be looked up.
        if key.is_some() {
            let others = self.environment.aliases.iter().filter(|alias| **alias != item.environment);
            entries.push(Saved {
                entry: Entry::AccessToken(Box::new(item.clone())),
                keys,
                replaces: others.flat_map(|alias| self.access_token_keys(item, alias)).collect(),
                partition_key: self.partition(),
                item_key: item.item_key(),
                groups: self.groups(),
            });
        }
        entries.extend(self.refresh_token());
        entries.extend(self.session_owner());
        entries.extend(self.id_token());
        entries.extend(self.account());
        entries.push(self.app_metadata());
        let replaced_groups = match self.plan.owner.session() {
            Some(Session { key, start: Some(start), .. }) if replaces_session && start.own_key != *key => {
                [session_group(&self.plan.client_id, key)].into()
            }
            _ => Vec::new(),
        };
        (Store { entries, replaced_groups, ends_flight }, key)
    }

    /// Under the directory that issued it; what was asked for without a directory is found without one again.
    fn access_token_keys(&self, item: &AccessTokenItem, environment: &str) -> Vec<String> {
        let scopes = Scopes::from_response(&item.target);
        let asked = self.plan.realm();
        let without = self.plan.owner.session().is_some() && !asked.eq_ignore_ascii_case(&item.realm);
        let realms = core::iter::once(item.realm.as_str()).chain(without.then_some(asked));
        let subjects = self.subjects();
        let classes = realms.flat_map(|realm| {
            subjects.iter().map(move |subject| self.plan.class(*subject, environment, realm, self.key_id))
        });
        classes.flat_map(|class: AccessTokenClass<'_>| class.keys(&scopes)).collect()
    }

    fn refresh_token(&self) -> Option<Saved> {
        let secret = self.response.refresh_token.clone()?;
        let keeps = match &self.plan.owner {
            Owner::Application => false,
            Owner::Account(_) | Owner::AgentUser(_) => true,
            Owner::Session(session) => session.is_long_running,
        };
        let subjects = self.subjects();
        if !keeps || subjects.is_empty() {
            return None;
        }
        let item = RefreshTokenItem {
            home_account_id: self.identity.home_account_id.clone(),
            environment: self.environment.preferred_cache.clone(),
            client_info: self.response.client_info.clone(),
            client_id: self.plan.client_id.clone(),
            family_id: None,
            secret,
            user_assertion_hash: self.plan.owner.session().map(|session| session.key.clone()),
            components: self.plan.refresh_components.clone(),
        };
        let keys = |environment: &str| -> Vec<String> {
            subjects.iter().map(|subject| self.plan.refresh_class(*subject, environment).key()).collect()
        };
        let others = self.environment.aliases.iter().filter(|alias| **alias != item.environment);
        Some(Saved {
            keys: keys(&item.environment),
            replaces: others.flat_map(|alias| keys(alias)).collect(),
            partition_key: self.partition(),
            item_key: item.item_key(),
            groups: self.groups(),
            entry: Entry::RefreshToken(Box::new(item)),
        })
    }

    /// To whom a long-running process belongs, for those who would initiate it anew.
    fn session_owner(&self) -> Option<Saved> {
        let session = self.plan.owner.session().filter(|session| session.is_long_running)?;
        let item = self.account_item()?;
        let client_id = &self.plan.client_id;
        let by_assertion = |start: &Start| session_assertion_key(client_id, &session.key, &start.own_key);
        let keys = core::iter::once(session_owner_key(client_id, &session.key));
        Some(Saved {
            keys: keys.chain(session.start.as_ref().map(by_assertion)).collect(),
            replaces: Vec::new(),
            partition_key: self.partition(),
            item_key: item.item_key(),
            groups: self.groups(),
            entry: Entry::Account(Box::new(item)),
        })
    }

    fn id_token(&self) -> Option<Saved> {
        let home_account_id = self.account_id()?;
        let item = IdTokenItem {
            home_account_id: home_account_id.into(),
            environment: self.environment.preferred_cache.clone(),
            client_info: self.response.client_info.clone(),
            client_id: self.plan.client_id.clone(),
            realm: self.realm().into(),
            secret: self.response.id_token.clone()?,
        };
        Some(Saved {
            keys: [id_token_key(home_account_id, &item.environment, &item.client_id, &item.realm)].into(),
            replaces: Vec::new(),
            partition_key: home_account_id.into(),
            item_key: item.item_key(),
            groups: self.groups(),
            entry: Entry::IdToken(Box::new(item)),
        })
    }

    fn account(&self) -> Option<Saved> {
        let home_account_id = self.account_id()?;
        let item = self.account_item()?;
        let mut groups = self.groups();
        groups.push(accounts_group(&self.plan.client_id));
        Some(Saved {
            keys: [account_key(home_account_id, &item.environment, &item.realm)].into(),
            replaces: Vec::new(),
            partition_key: home_account_id.into(),
            item_key: item.item_key(),
            groups,
            entry: Entry::Account(Box::new(item)),
        })
    }

    fn account_item(&self) -> Option<AccountItem> {
        let Identity { home_account_id, local_account_id, username, name, given_name, family_name, .. } =
            self.identity;
        (!home_account_id.is_empty()).then(|| AccountItem {
            home_account_id: home_account_id.clone(),
            environment: self.environment.preferred_cache.clone(),
            client_info: self.response.client_info.clone(),
            realm: self.realm().into(),
            local_account_id: local_account_id.clone(),
            username: username.clone().unwrap_or_else(|| crate::identity::MISSING_USERNAME.into()),
            name: name.clone(),
            given_name: given_name.clone(),
            family_name: family_name.clone(),
        })
    }

    fn app_metadata(&self) -> Saved {
        let item = AppMetadataItem {
            environment: self.environment.preferred_cache.clone(),
            client_id: self.plan.client_id.clone(),
            ..AppMetadataItem::default()
        };
        Saved {
            keys: [item.item_key()].into(),
            replaces: Vec::new(),
            partition_key: self.partition(),
            item_key: item.item_key(),
            groups: Vec::new(),
            entry: Entry::AppMetadata(item),
        }
    }

    /// Whom the tokens are found for. An agent names its users in either way and knows no accounts.
    fn subjects(&self) -> Vec<Subject<'_>> {
        let home_account_id = self.identity.home_account_id.as_str();
        match &self.plan.owner {
            Owner::Application => [Subject::Application].into(),
            Owner::Session(session) => [Subject::Session(&session.key)].into(),
            Owner::Account(_) if home_account_id.is_empty() => Vec::new(),
            Owner::Account(_) => [Subject::Account(home_account_id)].into(),
            Owner::AgentUser(user) => self.names_of(user),
        }
    }

    /// How the agent called its user, and the other name, by which it may call the same user.
    fn names_of<'a>(&'a self, user: &'a User) -> Vec<Subject<'a>> {
        let asked = match user {
            User::ObjectId(id) => Subject::ObjectId(id),
            User::Username(name) => Subject::Username(name),
        };
        let object_id = Some(self.identity.local_account_id.as_str()).filter(|id| !id.is_empty());
        let username = self.identity.username.as_deref();
        let other = match user {
            User::ObjectId(_) => username.map(Subject::Username),
            User::Username(_) => object_id.map(Subject::ObjectId),
        };
        core::iter::once(asked).chain(other).collect()
    }

    /// The directory whose the tokens are.
    fn realm(&self) -> &str {
        match (&self.plan.owner, self.plan.authority.is_multi_tenant()) {
            (Owner::Application, _) | (_, false) => self.plan.realm(),
            (_, true) => self.identity.tenant_id.as_deref().unwrap_or(self.plan.realm()),
        }
    }

    /// The account that can be acquired for silently from now on.
    fn account_id(&self) -> Option<&str> {
        let is_account = matches!(self.plan.owner, Owner::Account(_));
        Some(self.identity.home_account_id.as_str()).filter(|id| is_account && !id.is_empty())
    }

    fn groups(&self) -> Vec<String> {
        groups(&self.plan.owner, &self.plan.client_id, &self.identity.home_account_id)
    }

    /// The partition in a cache that MSAL shares.
    fn partition(&self) -> String {
        let plan = self.plan;
        match &plan.owner {
            Owner::Application => {
                app_partition_key(self.key_id, &plan.client_id, plan.authority.tenant(), &plan.components)
            }
            owner => partition_of_user(owner, &self.identity.home_account_id),
        }
    }
}

/// What is removed together with a user's tokens.
pub(crate) fn groups(owner: &Owner, client_id: &str, home_account_id: &str) -> Vec<String> {
    match owner {
        Owner::Application | Owner::AgentUser(_) => Vec::new(),
        Owner::Session(session) => [session_group(client_id, &session.key)].into(),
        Owner::Account(_) => [account_group(client_id, home_account_id)].into(),
    }
}

/// The partition of a user's tokens in a cache that MSAL shares.
pub(crate) fn partition_of_user(owner: &Owner, home_account_id: &str) -> String {
    owner.session().map_or(home_account_id, |session| &session.key).into()
}

/// The error where a long-running process belongs to another user.
pub(crate) fn session_key_in_use() -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        "session-key-in-use",
        "The session key belongs to a long-running process of another user; stop that one, or take a key that no other \
         user has.",
    )
}
