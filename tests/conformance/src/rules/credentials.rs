//! What the credential provider and the configuration do otherwise.

use serde_json::{Map, Value};
use symbolon_resources::configuration::resolve_app_tenant;

use super::{Members, Rule};

pub(super) static RULES: [Rule; 5] = [
    Rule {
        name: "empty-secrets-are-refused",
        about: "`select_credential`: all members",
        when: "the secret of an entry is empty or absent",
        instead: "the error `invalid_configuration`",
        reason: "it authenticates nobody, and the authority's refusal would hide where it went",
        apply: |category, input, expect| {
            if category == "select_credential" && entries(input).iter().any(Entry::is_empty_secret) {
                *expect = Map::from_iter([("error".to_owned(), "invalid_configuration".into())]);
            }
        },
    },
    Rule {
        name: "only-usable-credentials-are-selected",
        about: "`select_credential`: `selected_index`, `error`, `observer_events`",
        when: "a signed assertion comes first that can't be made",
        instead: "the next credential that can be used; without one, the error",
        reason: "what fails now would fail later, where nobody can fall back any more",
        apply: |category, input, expect| {
            if category == "select_credential" {
                pass_over_unusable(&entries(input), expect);
            }
        },
    },
    Rule {
        name: "only-certificates-are-presented",
        about: "`select_credential`: all members",
        when: "a certificate is selected for an API (`MTLS`), and something else comes first",
        instead: "the first certificate that can be used; without one, nothing, or the error where one fails",
        reason: "what isn't a certificate can't be meant",
        apply: |category, input, expect| {
            if category == "select_credential" && is_presented(input) {
                let entries = entries(input);
                let mut others = entries.iter().enumerate();
                let first = others
                    .find(|(_, entry)| entry.is_certificate() && !entry.is_skipped() && entry.is_usable());
                let is_anything_else = selected(expect)
                    .is_some_and(|at| entries.get(at).is_some_and(|entry| !entry.is_certificate()));
                if is_anything_else {
                    select(first, expect);
                    let fails = first.is_none() && !named(&entries, true).is_empty();
                    let error = fails.then_some(UNUSABLE);
                    expect.get_mut("error").into_iter().for_each(|expected| *expected = error.into());
                }
            }
        },
    },
    Rule {
        name: "failures-are-named",
        about: "`select_credential`: `inner`",
        when: "no credential can be used",
        instead: "the indices of the entries that the error names, each with its reason",
        reason: "each of them may be the one to mend, those too that give nothing without an exception",
        apply: |category, input, expect| {
            let fails = expect.get("error") == Some(&Value::from(UNUSABLE));
            if let ("select_credential", true, Some(inner)) = (category, fails, expect.get_mut("inner")) {
                *inner = named(&entries(input), is_presented(input)).into();
            }
        },
    },
    Rule {
        name: "an-instance-is-always-there",
        about: "`apply_tenant_override`: `override`",
        when: "no instance is configured",
        instead: "the tenant that is asked for, at the public cloud",
        reason: "the instance has a default, under which the tenant means the same",
        apply: |category, input, expect| {
            let given = |name: &str| input.get("given")?.get(name)?.as_str();
            let has_instance = given("Instance").is_some_and(|instance| !instance.is_empty());
            if category == "apply_tenant_override" && !has_instance && given("tenant_argument").is_some() {
                let tenant =
                    resolve_app_tenant(given("tenant_argument"), given("TenantId"), given("AppHomeTenantId"));
                if let (Ok(tenant), Some(expected)) = (tenant, expect.get_mut("override")) {
                    *expected = tenant.into();
                }
            }
        },
    },
];

/// What a vector says of an entry of `ClientCredentials`.
struct Entry<'a>(&'a Value);

impl Entry<'_> {
    fn source_type(&self) -> &str {
        self.0.get("SourceType").and_then(Value::as_str).unwrap_or_default()
    }

    fn is_skipped(&self) -> bool {
        self.0.get("Skip") == Some(&Value::Bool(true))
    }

    fn is_secret(&self) -> bool {
        self.source_type() == "ClientSecret"
    }

    fn is_empty_secret(&self) -> bool {
        let is_empty = |secret: &Value| secret.as_str().is_none_or(str::is_empty);
        self.is_secret() && self.0.get("ClientSecret").is_some_and(is_empty)
    }

    fn is_certificate(&self) -> bool {
        !self.is_secret() && !self.is_assertion() && self.authenticates()
    }

    fn is_assertion(&self) -> bool {
        self.source_type().contains("SignedAssertion")
    }

    /// Whether it is something to authenticate with, and not to decrypt with.
    fn authenticates(&self) -> bool {
        self.source_type() != "AutoDecryptKeys"
    }

    fn is_usable(&self) -> bool {
        let loads =
            self.0.get("load").and_then(|load| load.get("outcome")).is_none_or(|outcome| outcome == "ok");
        let is_known = !["SignedAssertionFromVault", "ManagedCertificate"].contains(&self.source_type());
        loads && is_known && self.authenticates()
    }
}

fn entries(input: &Members) -> Vec<Entry<'_>> {
    let entries = input.get("given").and_then(|given| given.get("ClientCredentials")?.as_array());
    entries.into_iter().flatten().map(Entry).collect()
}

/// Where an assertion is expected that can't be made, what follows it.
fn pass_over_unusable(entries: &[Entry<'_>], expect: &mut Members) {
    let is_broken = |entry: &Entry<'_>| entry.is_assertion() && !entry.is_usable();
    let Some(first) = selected(expect).filter(|index| entries.get(*index).is_some_and(is_broken)) else {
        return;
    };
    let mut others = entries.iter().enumerate().skip(first);
    let next = others.find(|(_, entry)| !entry.is_skipped() && entry.is_usable());
    select(next, expect);
    if next.is_none() {
        expect.insert("error".to_owned(), UNUSABLE.into());
    }
}

fn selected(expect: &Members) -> Option<usize> {
    expect.get("selected_index").and_then(Value::as_u64).and_then(|index| index.try_into().ok())
}

/// Expects this entry to be selected.
fn select(entry: Option<(usize, &Entry<'_>)>, expect: &mut Members) {
    let is_certificate = entry.is_some_and(|(_, entry)| entry.is_certificate());
    let index = entry.map(|(index, _)| index);
    let events: Vec<String> =
        index.filter(|_| is_certificate).map(|index| format!("Selected#{index}")).into_iter().collect();
    expect.insert("selected_index".to_owned(), index.into());
    expect.get_mut("observer_events").into_iter().for_each(|expected| *expected = events.clone().into());
}

/// Whether the credential is presented to an API in the place of a token.
fn is_presented(input: &Members) -> bool {
    input.get("when").and_then(|when| when.get("protocol")?.as_str()) == Some("MTLS")
}

/// The entries that an error about all of them names: what was tried; where that is nothing, what is left out but secrets.
fn named(entries: &[Entry<'_>], only_certificates: bool) -> Vec<usize> {
    let those = |is_meant: &dyn Fn(&Entry<'_>) -> bool| -> Vec<usize> {
        let entries =
            entries.iter().enumerate().filter(|(_, entry)| entry.authenticates() && is_meant(entry));
        entries.map(|(index, _)| index).collect()
    };
    let tried = those(&|entry| !entry.is_skipped() && (entry.is_certificate() || !only_certificates));
    if tried.is_empty() { those(&|entry| entry.is_skipped() && !entry.is_secret()) } else { tried }
}

/// No certificate and no assertion can be used.
const UNUSABLE: &str = "IDW10109";
