//! What configurations mean otherwise.

use serde_json::{Map, Value};

use super::{Members, Rule, is_true};

pub(super) static RULES: [Rule; 8] = [
    Rule {
        name: "configurations-are-complete",
        about: "`parse_authority`, `prepare_instance`: all members",
        when: "the authority isn't an https URL, or names no tenant where one is needed",
        instead: "the error `invalid_configuration`",
        reason: "nothing could be asked for with it",
        apply: |category, input, expect| {
            let Some(given) = Given::read(category, input) else { return };
            let needs_tenant = category == "parse_authority";
            if !given.is_https() || (needs_tenant && !given.has_tenant()) {
                *expect = Map::from_iter([("error".to_owned(), "invalid_configuration".into())]);
            }
        },
    },
    Rule {
        name: "kinds-of-authorities-are-no-tenants",
        about: "`parse_authority`: `TenantId`, `error`",
        when: "the authority's path begins with `tfp` or `dstsv2`",
        instead: "the tenant is what follows; where that is of dSTS, `dstsv2` belongs to the instance",
        reason: "that is what these authorities mean by it",
        apply: |category, input, expect| {
            let given = Given::read(category, input).and_then(|given| given.taken_apart());
            let Some((host, segments)) = given else { return };
            let mut expected = |name: &str, value: Value| {
                expect.get_mut(name).into_iter().for_each(|expected| *expected = value.clone());
            };
            match segments.as_slice() {
                ["tfp", tenant, ..] => expected("TenantId", (*tenant).into()),
                ["dstsv2", tenant, ..] => {
                    expected("error", Value::Null);
                    expected("TenantId", (*tenant).into());
                    expected("Instance", format!("https://{host}/dstsv2/").into());
                }
                _ => {}
            }
        },
    },
    Rule {
        name: "empty-segments-are-passed-over",
        about: "`parse_authority`: `TenantId`",
        when: "the authority has several slashes before the tenant",
        instead: "the tenant",
        reason: "there is no tenant without a name",
        apply: |category, input, expect| {
            let given = Given::read(category, input).and_then(|given| given.taken_apart());
            if let (Some((_, segments)), Some(tenant)) = (given, expect.get_mut("TenantId"))
                && tenant == ""
            {
                *tenant = segments.first().copied().into();
            }
        },
    },
    Rule {
        name: "authorities-are-taken-apart",
        about: "`parse_authority`: `Instance`, `TenantId`",
        when: "the authority is to be preserved, or is that of a directory for customers without a path",
        instead: "the instance and the tenant, for customers by the host's name",
        reason: "the authority's kind says what is asked where; nothing needs to be said beside it",
        apply: |category, input, expect| {
            let Some(given) = Given::read(category, input) else { return };
            let Some((host, segments)) = given.taken_apart() else { return };
            if !given.is_preserved && !segments.is_empty() {
                return;
            }
            let tenant = segments.first().map_or_else(
                || format!("{}.onmicrosoft.com", host.split('.').next().unwrap_or_default()),
                |tenant| (*tenant).to_owned(),
            );
            for (name, value) in [("Instance", format!("https://{host}/")), ("TenantId", tenant)] {
                expect.get_mut(name).into_iter().for_each(|expected| *expected = value.clone().into());
            }
        },
    },
    Rule {
        name: "instances-have-a-default",
        about: "`parse_authority`: `Instance`; `prepare_instance`: `PreparedInstance`",
        when: "no instance is configured",
        instead: "the public cloud's",
        reason: "it is the one that most mean",
        apply: |category, input, expect| {
            let is_absent = Given::read(category, input)
                .is_some_and(|given| given.instance.is_empty() && !given.is_authority_alone());
            for name in ["Instance", "PreparedInstance"] {
                let instance = expect.get_mut(name).filter(|_| is_absent);
                instance
                    .into_iter()
                    .for_each(|expected| *expected = "https://login.microsoftonline.com/".into());
            }
        },
    },
    Rule {
        name: "instances-end-in-a-slash",
        about: "`parse_authority`, `ciam_authority`: `Instance`",
        when: "it doesn't, or ends in several",
        instead: "one slash at the end",
        reason: "what is the same is written the same",
        apply: |category, _, expect| {
            let is_meant = ["parse_authority", "ciam_authority"].contains(&category);
            if let Some(instance) = expect.get_mut("Instance").filter(|_| is_meant)
                && let Some(url) = instance.as_str()
            {
                *instance = format!("{}/", url.trim_end_matches('/')).into();
            }
        },
    },
    Rule {
        name: "authorities-need-no-hint",
        about: "`parse_authority`: `log`",
        when: "an authority is configured alone",
        instead: "nothing is logged",
        reason: "it is as good as its parts",
        apply: |category, _, expect| {
            if let ("parse_authority", Some(log)) = (category, expect.get_mut("log"))
                && log == "hint"
            {
                *log = Value::Null;
            }
        },
    },
    Rule {
        name: "authorities-have-no-version",
        about: "`ciam_authority`: `Authority`",
        when: "it ends in `/v2.0`",
        instead: "the same without it",
        reason: "the version belongs to the endpoints, which are made of the authority",
        apply: |category, _, expect| {
            if let ("ciam_authority", Some(authority)) = (category, expect.get_mut("Authority"))
                && let Some(url) = authority.as_str().and_then(|url| url.strip_suffix("/v2.0"))
            {
                *authority = url.into();
            }
        },
    },
];

/// What a vector configures.
struct Given<'a> {
    authority: &'a str,
    instance: &'a str,
    tenant: &'a str,
    has_policy: bool,
    is_preserved: bool,
}

impl<'a> Given<'a> {
    fn read(category: &str, input: &'a Members) -> Option<Self> {
        let given = input.get("given")?.as_object()?;
        let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
        ["parse_authority", "prepare_instance"].contains(&category).then(|| Self {
            authority: text("Authority"),
            instance: text("Instance"),
            tenant: text("TenantId"),
            has_policy: !text("SignUpSignInPolicyId").is_empty(),
            is_preserved: is_true(given, "PreserveAuthority"),
        })
    }

    fn is_authority_alone(&self) -> bool {
        !self.authority.is_empty() && self.instance.is_empty() && self.tenant.is_empty()
    }

    /// What is read: the authority, or the instance.
    fn url(&self) -> &'a str {
        if self.is_authority_alone() { self.authority } else { self.instance }
    }

    fn is_https(&self) -> bool {
        let scheme = self.url().get(..8).unwrap_or_default();
        scheme.eq_ignore_ascii_case("https://") || self.url().is_empty()
    }

    fn has_tenant(&self) -> bool {
        let has_path = self.url().split('/').skip(3).any(|segment| !segment.is_empty());
        let is_for_customers =
            self.url().split('/').nth(2).is_some_and(|host| host.ends_with(".ciamlogin.com"));
        !self.tenant.is_empty()
            || has_path
            || is_for_customers
            || (self.has_policy && !self.is_authority_alone())
    }

    /// The host and the segments of an authority that stands alone.
    fn taken_apart(&self) -> Option<(&'a str, Vec<&'a str>)> {
        let mut parts = self.authority.split('/').filter(|part| !part.is_empty());
        let host = parts.nth(1).filter(|_| self.is_authority_alone() && self.is_https())?;
        Some((host, parts.collect()))
    }
}
