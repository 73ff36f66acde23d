//! The configuration of an application, by names and values: `AzureAd__ClientId` in the environment, `AzureAd:ClientId` or
//! the same in `wasi:config`. Names don't depend on case, as in .NET.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

/// What is configured.
pub struct Settings {
    values: Vec<Setting>,
}

struct Setting {
    /// In lower case, with `:` between sections.
    key: String,
    /// As it was written.
    name: String,
    value: Zeroizing<String>,
}

/// The sections that are read. Whatever else an environment holds is none of ours.
const SECTIONS: [&str; 3] = ["azuread", "downstreamapi", "symbolon"];

/// What a section knows, where a typing error would go unseen otherwise; `#` is an index.
const KNOWN: [(&str, &[&str]); 2] = [
    (
        "azuread:clientcredentials:#",
        &[
            "SourceType",
            "ClientSecret",
            "SignedAssertionFileDiskPath",
            "CertificateDiskPath",
            "CertificatePassword",
            "Base64EncodedValue",
            "UseBoundCredential",
        ],
    ),
    ("symbolon", &["CacheBucket", "CacheKey", "Gateway", "SecretsBucket", "ValidateAuthority"]),
];

impl Settings {
    /// Names and values, of which later ones replace earlier ones. An empty value counts as absent.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self { values: Vec::new() };
        for (name, value) in values {
            settings.set(name, value);
        }
        settings
    }

    /// Sets one value.
    pub fn set(&mut self, name: String, value: String) {
        let key = name.replace("__", ":").to_ascii_lowercase();
        let value = Zeroizing::new(value);
        if !key.split_once(':').is_some_and(|(section, _)| SECTIONS.contains(&section)) {
            return;
        }
        self.values.retain(|known| known.key != key);
        if !value.is_empty() {
            self.values.push(Setting { key, name, value });
        }
    }

    /// The value of a name such as `AzureAd:ClientId`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|known| known.key.eq_ignore_ascii_case(name))?;
        Some(found.value.as_str())
    }

    /// The same, which must be there.
    ///
    /// # Errors
    ///
    /// A sentence that names it.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{name}: found nothing; accepted: a value"))
    }

    /// A switch.
    ///
    /// # Errors
    ///
    /// A sentence that names it, where it is neither `true` nor `false`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(format!("{name}: found another value; accepted: true, false")),
        }
    }

    /// The values of a list: `NAME:0`, `NAME:1` and so on.
    pub fn list(&self, name: &str) -> Vec<String> {
        let item = |index| self.get(&format!("{name}:{index}")).map(ToString::to_string);
        (0..).map_while(item).collect()
    }

    /// Whether there is anything below a name.
    pub fn has_section(&self, name: &str) -> bool {
        self.values.iter().any(|known| remainder(&known.key, &name.to_ascii_lowercase()).is_some())
    }

    /// Looks for names that mean nothing in sections where that can only be a mistake.
    ///
    /// # Errors
    ///
    /// A sentence that names the first one.
    pub fn check(&self) -> Result<(), String> {
        for setting in &self.values {
            for (section, known) in KNOWN {
                let Some(rest) = remainder(&setting.key, section) else { continue };
                if !known.iter().any(|name| name.eq_ignore_ascii_case(rest)) {
                    return Err(format!(
                        "{}: found a setting that isn't known; accepted: {}",
                        setting.name,
                        known.join(", ")
                    ));
                }
            }
        }
        Ok(())
    }

    /// The authority, such as `https://login.microsoftonline.com/contoso.com`.
    ///
    /// # Errors
    ///
    /// A sentence that names what is missing.
    pub fn authority(&self) -> Result<String, String> {
        if let Some(authority) = self.get("AzureAd:Authority") {
            return Ok(authority.into());
        }
        let (instance, tenant) = (self.required("AzureAd:Instance")?, self.required("AzureAd:TenantId")?);
        Ok(format!("{}/{tenant}", instance.trim_end_matches('/')))
    }
}

impl fmt::Debug for Settings {
    /// Shows the names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|setting| &setting.name)).finish()
    }
}

/// What follows a section in a key. `#` in the section stands for an index.
fn remainder<'a>(key: &'a str, section: &str) -> Option<&'a str> {
    let mut rest = key;
    for expected in section.split(':') {
        let (part, tail) = rest.split_once(':')?;
        let is_index = expected == "#" && part.bytes().all(|byte| byte.is_ascii_digit());
        if part != expected && !is_index {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn settings(values: &[(&str, &str)]) -> Settings {
        Settings::new(values.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    }

    #[test]
    fn later_sources_win_and_names_do_not_depend_on_case_or_separator() {
        let seen = settings(&[
            ("AzureAd__ClientId", "first"),
            ("PATH", "/bin"),
            ("azuread:CLIENTID", "second"),
            ("AzureAd:TenantId", "t"),
            ("AzureAd__TenantId", ""),
        ]);
        assert_eq!(seen.get("AzureAd:ClientId"), Some("second"));
        assert_eq!(seen.get("AzureAd:TenantId"), None);
        assert_eq!(format!("{seen:?}"), "[\"azuread:CLIENTID\"]");
    }

    #[test]
    fn a_list_ends_at_the_first_gap() {
        let seen = settings(&[("DownstreamApi__Scopes__0", "a"), ("DownstreamApi__Scopes__2", "c")]);
        assert_eq!(seen.list("DownstreamApi:Scopes"), vec!["a".to_string()]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (name, is_known) in [
            ("Symbolon__CacheKey", true),
            ("Symbolon__CachKey", false),
            ("AzureAd__ClientCredentials__0__ClientSecret", true),
            ("AzureAd__ClientCredentials__0__ClientSecrt", false),
            ("AzureAd__CallbackPath", true),
        ] {
            let error = settings(&[(name, "canary")]).check().err();
            assert_eq!(error.is_none(), is_known, "{name}");
            assert!(error.is_none_or(|error| error.contains(name) && !error.contains("canary")));
        }
    }

    #[test]
    fn an_authority_is_written_whole_or_in_two_parts() {
        let parts = [("AzureAd__Instance", "https://login.contoso.test/"), ("AzureAd__TenantId", "t")];
        assert_eq!(settings(&parts).authority().as_deref(), Ok("https://login.contoso.test/t"));
        assert_eq!(
            settings(&[("AzureAd__Authority", "https://a/b")]).authority().as_deref(),
            Ok("https://a/b")
        );
        let error = settings(&parts[..1]).authority().unwrap_err();
        assert_eq!(error, "AzureAd:TenantId: found nothing; accepted: a value");
    }
}
