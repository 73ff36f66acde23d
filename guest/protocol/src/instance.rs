//! Instance discovery: the names of a cloud that isn't known without asking.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::authority::{Authority, TRUSTED_REALM};
use crate::cloud::known_cloud;
use crate::json::Object;

/// The names of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The host to send requests to.
    pub preferred_network: String,
    /// The host under which tokens are kept.
    pub preferred_cache: String,
    /// Every host name that it answers to.
    pub aliases: Vec<String>,
}

impl Instance {
    /// A host that is known by one name, unless it is well known.
    pub fn of_host(host: &str) -> Instance {
        let (network, cache, aliases) = match known_cloud(host) {
            Some(cloud) => (cloud.preferred_network, cloud.preferred_cache, cloud.aliases),
            None => (host, host, &[host][..]),
        };
        Instance {
            preferred_network: network.into(),
            preferred_cache: cache.into(),
            aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
        }
    }

    /// The entry of a host in an answer of instance discovery, or in a document of the same form; none where there is none.
    /// Names that can't be hosts count for nothing.
    pub fn of_answer(body: &[u8], host: &str) -> Option<Instance> {
        let entries = Object::parse(body)?.get("metadata")?.items();
        entries
            .into_iter()
            .filter_map(|entry| Self::of_entry(&entry.object()?))
            .find(|entry| entry.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host)))
    }

    fn of_entry(entry: &Object<'_>) -> Option<Instance> {
        let host = |name: String| Authority::parse(&["https://", &name, "/x"].concat()).ok().map(|_| name);
        let aliases = entry.get("aliases")?.items().into_iter();
        Some(Instance {
            preferred_network: host(entry.text("preferred_network")?)?,
            preferred_cache: host(entry.text("preferred_cache")?)?,
            aliases: aliases.filter_map(|alias| host(alias.text()?)).collect(),
        })
    }

    /// As a fact.
    pub fn encode(&self) -> Vec<u8> {
        let names = [self.preferred_network.as_str(), self.preferred_cache.as_str()];
        let names: Vec<_> = names.into_iter().chain(self.aliases.iter().map(String::as_str)).collect();
        names.join(" ").into_bytes()
    }

    /// From a fact; none for anything else.
    pub fn decode(fact: &[u8]) -> Option<Instance> {
        let mut names = core::str::from_utf8(fact).ok()?.split(' ').map(ToOwned::to_owned);
        Some(Instance {
            preferred_network: names.next()?,
            preferred_cache: names.next()?,
            aliases: names.collect(),
        })
    }
}

/// Whether the answer says that there is no such instance.
pub fn is_refusal(body: &[u8]) -> bool {
    Object::parse(body).and_then(|answer| answer.text("error")).as_deref() == Some("invalid_instance")
}

/// Whether AD FS says in answer to WebFinger that it is trusted as this resource.
pub fn is_trusted_realm(body: &[u8], resource: &str) -> bool {
    let links = Object::parse(body).and_then(|answer| Some(answer.get("links")?.items()));
    links.into_iter().flatten().filter_map(|link| link.object()).any(|link| {
        link.text("rel").as_deref() == Some(TRUSTED_REALM) && link.text("href").as_deref() == Some(resource)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = r#"{"tenant_discovery_endpoint":"https://login.contoso.test/t/.well-known/openid-configuration",
        "metadata":[{"preferred_network":"a.test","preferred_cache":"a.test","aliases":["a.test"]},
        {"preferred_network":"login.contoso.test","preferred_cache":"sts.contoso.test",
         "aliases":["login.contoso.test","sts.contoso.test","bad host"]}]}"#;

    #[test]
    fn a_host_finds_its_entry_by_any_of_its_names() {
        for host in ["login.contoso.test", "STS.contoso.test"] {
            let instance = Instance::of_answer(ANSWER.as_bytes(), host).expect("an entry");
            assert_eq!(instance.preferred_cache, "sts.contoso.test");
            assert_eq!(instance.aliases, ["login.contoso.test", "sts.contoso.test"]);
            assert_eq!(Instance::decode(&instance.encode()), Some(instance));
        }
        assert_eq!(Instance::of_answer(ANSWER.as_bytes(), "login.fabrikam.test"), None);
    }

    #[test]
    fn only_one_error_says_that_there_is_no_such_instance() {
        assert!(is_refusal(br#"{"error":"invalid_instance"}"#));
        assert!(!is_refusal(br#"{"error":"server_error"}"#));
        assert!(!is_refusal(b""));
    }

    #[test]
    fn ad_fs_is_trusted_as_itself_alone() {
        let answer = |rel: &str, href: &str| {
            let links = serde_json::json!([{ "rel": "other", "href": "https://fs.test" }, { "rel": rel, "href": href }]);
            is_trusted_realm(serde_json::json!({ "links": links }).to_string().as_bytes(), "https://fs.test")
        };
        assert!(answer(TRUSTED_REALM, "https://fs.test"));
        assert!(!answer(TRUSTED_REALM, "https://other.test"));
        assert!(!answer("self", "https://fs.test"));
        assert!(!is_trusted_realm(b"{}", "https://fs.test"));
    }

    proptest! {
        #[test]
        fn any_answer_is_an_entry_or_none(body: Vec<u8>, aliases in "\\PC*") {
            let _ = (Instance::of_answer(&body, "a"), Instance::decode(&body), is_refusal(&body));
            is_trusted_realm(&body, "a");
            let body = serde_json::json!({"metadata": [{"preferred_network": aliases, "aliases": [aliases]}, aliases]});
            let _ = Instance::of_answer(body.to_string().as_bytes(), &aliases);
        }
    }
}
