//! What is asked beside scopes and flow.

use std::fmt;

use symbolon_resources::cache::RequestHasher;
use uuid::Uuid;

use crate::engine::{self, CachePartition};

/// What is asked beside scopes and flow. `Debug` shows no value that may be a token or a name.
#[derive(Clone, Default)]
pub struct RequestOptions {
    pub(crate) force_refresh: bool,
    pub(crate) correlation_id: Option<Uuid>,
    /// What few requests bring: kept apart so that the others stay small.
    rare: Option<Box<Rare>>,
}

/// What few requests bring.
#[derive(Clone, Default)]
pub(crate) struct Rare {
    pub(crate) authority: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) claims: Option<String>,
    pub(crate) client_claims: Option<String>,
    pub(crate) access_token_sha256_to_refresh: Option<String>,
    pub(crate) pop_public_key: Option<String>,
    pub(crate) client_assertion_fmi_path: Option<String>,
    pub(crate) extra_client_assertion_claims: Option<String>,
    pub(crate) send_x5c: Option<bool>,
    pub(crate) cache_partitions: Vec<(String, String, bool)>,
    pub(crate) extra_query_parameters: Vec<(String, String)>,
    pub(crate) encoded_query_parameters: Vec<(String, String)>,
    pub(crate) extra_body_parameters: Vec<(String, String)>,
    pub(crate) extra_headers: Vec<(String, String)>,
}

impl RequestOptions {
    /// Another authority than the configured one, as an https URL, by the rules of
    /// [`TokenRequest::with_authority`](crate::TokenRequest::with_authority).
    pub fn set_authority(&mut self, url: impl Into<Option<String>>) {
        self.rare_mut().authority = url.into();
    }

    /// Another directory than the authority's: a tenant id or a domain name.
    pub fn set_tenant_id(&mut self, tenant_id: impl Into<Option<String>>) {
        self.rare_mut().tenant_id = tenant_id.into();
    }

    /// The claims of a claims challenge, JSON. They bypass the cache.
    pub fn set_claims(&mut self, claims: impl Into<Option<String>>) {
        self.rare_mut().claims = claims.into();
    }

    /// Whether the cache gives no access token.
    pub fn set_force_refresh(&mut self, force_refresh: bool) {
        self.force_refresh = force_refresh;
    }

    /// The id that goes to the authority as `client-request-id`. Without one it is a random one.
    pub fn set_correlation_id(&mut self, correlation_id: impl Into<Option<Uuid>>) {
        self.correlation_id = correlation_id.into();
    }

    /// A parameter for the query of the token endpoint, in the place of others of that name (case ignored). It partitions
    /// the cache.
    pub fn set_extra_query_parameter(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (rare, name) = (self.rare_mut(), name.into());
        rare.encoded_query_parameters.retain(|(encoded, _)| !encoded.eq_ignore_ascii_case(&name));
        set(&mut rare.extra_query_parameters, name, value.into());
    }

    /// A parameter for the body of the token request, in the place of others of that name (case ignored). It partitions the
    /// cache.
    pub fn set_extra_body_parameter(&mut self, name: impl Into<String>, value: impl Into<String>) {
        set(&mut self.rare_mut().extra_body_parameters, name.into(), value.into());
    }

    /// A header of the token request, in the place of others of that name (case ignored). Those that the protocol or the
    /// connection needs are refused.
    pub fn set_extra_http_header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        set(&mut self.rare_mut().extra_headers, name.into(), value.into());
    }

    /// Another authority than the configured one.
    pub fn authority(&self) -> Option<&str> {
        self.rare.as_ref()?.authority.as_deref()
    }

    /// Another directory than the authority's.
    pub fn tenant_id(&self) -> Option<&str> {
        self.rare.as_ref()?.tenant_id.as_deref()
    }

    /// The claims of a claims challenge, JSON.
    pub fn claims(&self) -> Option<&str> {
        self.rare.as_ref()?.claims.as_deref()
    }

    /// Whether the cache gives no access token.
    pub fn force_refresh(&self) -> bool {
        self.force_refresh
    }

    /// The id that goes to the authority, where the caller chose one.
    pub fn correlation_id(&self) -> Option<Uuid> {
        self.correlation_id
    }

    /// Parameters for the query of the token endpoint, without the configured ones.
    pub fn extra_query_parameters(&self) -> &[(String, String)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.extra_query_parameters)
    }

    /// Parameters for the body of the token request.
    pub fn extra_body_parameters(&self) -> &[(String, String)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.extra_body_parameters)
    }

    /// Headers of the token request.
    pub fn extra_http_headers(&self) -> &[(String, String)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.extra_headers)
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Adds everything that makes a difference to the answer; forcing a refresh and the correlation id don't.
    pub(super) fn digest(&self, hasher: &mut RequestHasher<'_>) {
        if let Some(rare) = &self.rare {
            rare.digest(hasher);
        }
    }

    /// The options in the guest's words, with the `configured` parameters for the query.
    pub(super) fn to_guest(
        &self,
        configured: &[(String, String)],
        correlation_id: Uuid,
        force_refresh: bool,
    ) -> engine::Options {
        let rare = self.rare.as_deref().cloned().unwrap_or_default();
        let overriding = &rare.extra_query_parameters;
        let is_overridden = |(name, _): &&(String, String)| {
            overriding.iter().any(|(overriding, _)| overriding.eq_ignore_ascii_case(name))
        };
        let mut query: Vec<_> = configured.iter().filter(|pair| !is_overridden(pair)).cloned().collect();
        query.extend(rare.extra_query_parameters);
        engine::Options {
            authority: rare.authority,
            tenant_id: rare.tenant_id,
            claims: rare.claims,
            client_claims: rare.client_claims,
            force_refresh,
            access_token_sha256_to_refresh: rare.access_token_sha256_to_refresh,
            pop_public_key: rare.pop_public_key,
            client_assertion_fmi_path: rare.client_assertion_fmi_path,
            extra_client_assertion_claims: rare.extra_client_assertion_claims,
            send_x5c: rare.send_x5c,
            cache_partitions: rare
                .cache_partitions
                .into_iter()
                .map(|(name, value, refresh_tokens)| CachePartition { name, value, refresh_tokens })
                .collect(),
            correlation_id: Some(correlation_id.to_string()),
            extra_query_parameters: query,
            encoded_query_parameters: rare.encoded_query_parameters,
            extra_body_parameters: rare.extra_body_parameters,
            extra_headers: rare.extra_headers,
        }
    }
}

impl Rare {
    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        for text in [
            &self.authority,
            &self.tenant_id,
            &self.claims,
            &self.client_claims,
            &self.access_token_sha256_to_refresh,
            &self.pop_public_key,
            &self.client_assertion_fmi_path,
            &self.extra_client_assertion_claims,
        ] {
            hasher.optional(text.as_ref());
        }
        hasher.number(self.cache_partitions.len() as u64);
        for (name, value, refresh_tokens) in &self.cache_partitions {
            hasher.field(name).field(value).number(u64::from(*refresh_tokens));
        }
        for pairs in [
            &self.extra_query_parameters,
            &self.encoded_query_parameters,
            &self.extra_body_parameters,
            &self.extra_headers,
        ] {
            hasher.number(pairs.len() as u64);
            for (name, value) in pairs {
                hasher.field(name).field(value);
            }
        }
    }
}

impl fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestOptions")
            .field("authority", &self.authority())
            .field("tenant_id", &self.tenant_id())
            .field("force_refresh", &self.force_refresh)
            .field("correlation_id", &self.correlation_id)
            .finish_non_exhaustive()
    }
}

fn set(pairs: &mut Vec<(String, String)>, name: String, value: String) {
    pairs.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
    pairs.push((name, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_takes_the_place_of_its_namesakes() {
        let mut options = RequestOptions::default();
        options.set_extra_query_parameter("dc", "1");
        options.set_extra_query_parameter("slice", "2");
        options.set_extra_query_parameter("DC", "3");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.extra_query_parameters(), [pair("slice", "2"), pair("DC", "3")]);

        let configured = [pair("dc", "configured"), pair("other", "configured")];
        let guest = options.to_guest(&configured, Uuid::nil(), false);
        assert_eq!(
            guest.extra_query_parameters,
            [pair("other", "configured"), pair("slice", "2"), pair("DC", "3")]
        );
    }

    #[test]
    fn debug_shows_no_values() {
        let mut options = RequestOptions::default();
        options.set_claims(String::from("canary"));
        options.set_extra_body_parameter("canary", "canary");
        options.set_extra_http_header("canary", "canary");
        assert!(!format!("{options:?}").contains("canary"));
    }
}
