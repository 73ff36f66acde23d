//! The look-up side of the registrations, changeable while the authority runs.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use crate::{
    Certificate, Registration, Resource, Tenant, User,
    encoding::{derived_guid, guid_bytes},
    lock, read,
    user::Account,
    write,
};

/// Everything that is registered.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) resources: Vec<Resource>,
    /// Roots for applications by subject name and issuer.
    pub(crate) trusted_issuers: Vec<Certificate>,
    /// Keys of foreign issuers, by issuer.
    pub(crate) federation_keys: Vec<(String, Certificate)>,
    applications: RwLock<HashMap<String, Arc<Registration>>>,
    /// By object id in each tenant, and by user principal name.
    users: RwLock<HashMap<String, Arc<Account>>>,
    used_assertions: std::sync::Mutex<HashMap<(String, String), u64>>,
}

impl Directory {
    pub(crate) fn new(
        tenants: Vec<Tenant>,
        resources: Vec<Resource>,
        trusted_issuers: Vec<Certificate>,
        federation_keys: Vec<(String, Certificate)>,
    ) -> Self {
        Self { tenants, resources, trusted_issuers, federation_keys, ..Self::default() }
    }

    pub(crate) fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.is(name))
    }

    pub(crate) fn application(&self, client_id: &str) -> Option<Arc<Registration>> {
        read(&self.applications).get(&client_id.to_ascii_lowercase()).cloned()
    }

    /// Adds the application, or replaces the one with its client id.
    pub(crate) fn put(&self, registration: Registration) {
        write(&self.applications).insert(registration.client_id.to_ascii_lowercase(), Arc::new(registration));
    }

    /// Removes an application; whether it was there.
    pub(crate) fn remove(&self, client_id: &str) -> bool {
        write(&self.applications).remove(&client_id.to_ascii_lowercase()).is_some()
    }

    /// The client ids, sorted.
    pub(crate) fn client_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = read(&self.applications).values().map(|app| app.client_id.clone()).collect();
        ids.sort();
        ids
    }

    /// Adds the user, or replaces the one with its object id.
    pub(crate) fn put_user(&self, user: User) {
        self.remove_user(&user.object_id);
        let account = Arc::new(Account::new(user, &self.tenants));
        let users = &mut *write(&self.users);
        account.keys().for_each(|key| {
            users.insert(key, account.clone());
        });
    }

    /// Removes the user of that object id or user principal name; whether there was one.
    pub(crate) fn remove_user(&self, name: &str) -> bool {
        let Some(account) = self.user(name) else { return false };
        write(&self.users).retain(|_, other| other.user.object_id != account.user.object_id);
        true
    }

    /// The user of that object id (in any tenant) or user principal name.
    pub(crate) fn user(&self, name: &str) -> Option<Arc<Account>> {
        read(&self.users).get(&name.to_ascii_lowercase()).cloned()
    }

    /// The resource of that identifier: a registered one, or an application under its client id,
    /// `api://{client id}` or an identifier URI.
    pub(crate) fn resource(&self, identifier: &str) -> Option<Resource> {
        if let Some(resource) = self.resources.iter().find(|resource| resource.is(identifier)) {
            return Some(resource.clone());
        }
        let id = identifier.strip_prefix("api://").unwrap_or(identifier);
        let application = self
            .application(id)
            .or_else(|| read(&self.applications).values().find(|app| app.is_audience(identifier)).cloned())?;
        let resource = Resource::new(identifier, &application.client_id);
        if application.scopes.is_empty() {
            return Some(resource);
        }
        Some(resource.scopes(application.scopes.iter().map(String::as_str)))
    }

    pub(crate) fn keys_of<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = &'a Certificate> {
        self.federation_keys.iter().filter(move |(own, _)| own == issuer).map(|(_, key)| key)
    }

    /// Remembers that the client used this `jti` until `expires_unix`; false when it had used it before.
    pub(crate) fn use_once(&self, client_id: &str, jti: &str, expires_unix: u64, now_unix: u64) -> bool {
        let mut used = lock(&self.used_assertions);
        used.retain(|_, until| *until >= now_unix);
        used.insert((client_id.to_ascii_lowercase(), jti.to_owned()), expires_unix).is_none()
    }

    pub(crate) fn forget_used(&self) {
        lock(&self.used_assertions).clear();
    }
}

/// The object id of an application's service principal in a tenant.
pub(crate) fn service_principal_id(tenant: &Tenant, client_id: &str) -> String {
    derived_guid(&format!("{}/{}", tenant.id, client_id.to_ascii_lowercase()))
}

/// Whether `text` can name a tenant at all: a GUID or a domain.
pub(crate) fn is_tenant_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    guid_bytes(text).is_some() || (text.contains('.') && text.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_names() {
        for name in ["contoso.com", "aaaabbbb-0000-cccc-1111-dddd2222eeee", "a-b.onmicrosoft.com"] {
            assert!(is_tenant_name(name), "{name}");
        }
        for name in ["contoso", "aaaabbbb0000cccc1111dddd2222eeee", "a..b", "a b.com", "", "."] {
            assert!(!is_tenant_name(name), "{name}");
        }
    }

    #[test]
    fn a_jti_is_used_once_while_it_lives() {
        let directory = Directory::default();
        assert!(directory.use_once("A", "j", 100, 50));
        assert!(!directory.use_once("a", "j", 100, 60));
        assert!(directory.use_once("a", "k", 100, 60));
        assert!(directory.use_once("b", "j", 100, 60));
        assert!(directory.use_once("a", "j", 200, 101));
    }

    #[test]
    fn an_application_is_a_resource() {
        let directory = Directory::default();
        directory.put(Registration::new("AB-c"));
        for identifier in ["ab-c", "api://ab-c"] {
            assert_eq!(directory.resource(identifier).map(|found| found.app_id).as_deref(), Some("AB-c"));
        }
        assert_eq!(directory.resource("api://other"), None);
    }
}
