//! The header `x-client-current-telemetry`, schema 5.

use alloc::string::String;
use core::fmt;

/// Which call of the library a request serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are MSAL's names of its calls")]
pub enum ApiId {
    AuthorizationCode = 1000,
    RefreshToken = 1001,
    UsernamePassword = 1003,
    Client = 1004,
    OnBehalfOf = 1006,
    Silent = 1007,
    ManagedIdentitySystemAssigned = 1015,
    ManagedIdentityUserAssigned = 1016,
    InitiateLongRunningOnBehalfOf = 1017,
    AcquireInLongRunningOnBehalfOf = 1018,
    UserFederatedIdentityCredential = 1019,
}

/// Why the cache didn't serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CacheInfo {
    /// It isn't asked in this flow.
    #[default]
    NotApplicable = 0,
    /// The caller forced it, or sent claims.
    ForceRefreshOrClaims = 1,
    /// It held no such token.
    NoCachedAccessToken = 2,
    /// The token it held had expired.
    Expired = 3,
    /// The token it held was due for renewal.
    ProactivelyRefreshed = 4,
    /// There is none.
    Disabled = 5,
}

/// Where the region came from. A region that the user names has no source, as MSAL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionSource {
    /// It could not be detected.
    Failed = 1,
    /// It was detected before.
    Cache = 2,
    /// From the environment.
    EnvironmentVariable = 3,
    /// From the instance metadata service.
    Imds = 4,
}

/// What became of the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionOutcome {
    /// It was detected.
    AutodetectSuccess = 4,
    /// It could not be detected, and the global endpoint is used.
    FallbackToGlobal = 5,
    /// The user named it.
    UserProvided = 6,
}

/// The kind of token that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TelemetryTokenType {
    /// A bearer token.
    #[default]
    Bearer = 1,
    /// A token bound to a key that signs HTTP requests.
    Pop = 2,
    /// A token bound to the certificate of a TLS client.
    MtlsPop = 6,
}

/// What the header says about one request. Its `Display` is the value of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentTelemetry {
    /// Which call of the library the request serves.
    pub api_id: ApiId,
    /// Why the cache didn't serve.
    pub cache_info: CacheInfo,
    /// The region whose endpoint is used.
    pub region_used: Option<String>,
    /// Where the region came from.
    pub region_source: Option<RegionSource>,
    /// What became of the region.
    pub region_outcome: Option<RegionOutcome>,
    /// Whether the cache is kept outside the process.
    pub cache_serialized: bool,
    /// The kind of token that is asked for.
    pub token_type: TelemetryTokenType,
    /// The library on whose behalf the request is made; its first 10 characters are sent.
    pub caller_sdk_id: Option<String>,
    /// The version of that library; its first 20 characters are sent.
    pub caller_sdk_version: Option<String>,
    /// Whether the certificate is managed for that library, in its words; the first character is sent.
    pub managed_certificate: Option<String>,
}

impl CurrentTelemetry {
    /// A request that serves `api_id`, about which nothing else is known.
    pub fn new(api_id: ApiId) -> Self {
        Self {
            api_id,
            cache_info: CacheInfo::default(),
            region_used: None,
            region_source: None,
            region_outcome: None,
            cache_serialized: false,
            token_type: TelemetryTokenType::default(),
            caller_sdk_id: None,
            caller_sdk_version: None,
            managed_certificate: None,
        }
    }
}

impl fmt::Display for CurrentTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "5|{},{},", self.api_id as u16, self.cache_info as u8)?;
        f.write_str(self.region_used.as_deref().unwrap_or_default())?;
        write!(f, ",{}", Number(self.region_source.map(|source| source as u8)))?;
        write!(f, ",{}", Number(self.region_outcome.map(|outcome| outcome as u8)))?;
        // The second field of this group is 1 where tokens of the predecessor's format are read too, which is the default.
        write!(f, "|{},1,{},", u8::from(self.cache_serialized), self.token_type as u8)?;
        write_field(f, self.caller_sdk_id.as_deref(), 10)?;
        f.write_str(",")?;
        write_field(f, self.caller_sdk_version.as_deref(), 20)?;
        f.write_str(",")?;
        write_field(f, self.managed_certificate.as_deref(), 1)
    }
}

/// A number, or nothing.
struct Number(Option<u8>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| number.fmt(f))
    }
}

/// Writes the first `length` characters of a caller's value, without those that would end the field or the header.
fn write_field(f: &mut fmt::Formatter<'_>, value: Option<&str>, length: usize) -> fmt::Result {
    use fmt::Write;
    let harmless = |character: &char| character.is_ascii_graphic() && !matches!(character, ',' | '|');
    value
        .unwrap_or_default()
        .chars()
        .take(length)
        .filter(harmless)
        .try_for_each(|character| f.write_char(character))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn unset_fields_are_empty() {
        let telemetry = CurrentTelemetry {
            cache_info: CacheInfo::NoCachedAccessToken,
            ..CurrentTelemetry::new(ApiId::Client)
        };
        assert_eq!(telemetry.to_string(), "5|1004,2,,,|0,1,1,,,");
    }

    #[test]
    fn every_field_has_its_place() {
        let telemetry = CurrentTelemetry {
            api_id: ApiId::OnBehalfOf,
            cache_info: CacheInfo::Expired,
            region_used: Some("centralus".into()),
            region_source: Some(RegionSource::EnvironmentVariable),
            region_outcome: Some(RegionOutcome::AutodetectSuccess),
            cache_serialized: true,
            token_type: TelemetryTokenType::MtlsPop,
            caller_sdk_id: Some("0123456789a".into()),
            caller_sdk_version: Some("0123456789012345678901".into()),
            managed_certificate: Some("true".into()),
        };
        assert_eq!(telemetry.to_string(), "5|1006,3,centralus,3,4|1,1,6,0123456789,01234567890123456789,t");
    }

    #[test]
    fn a_caller_can_not_break_the_header() {
        let telemetry = CurrentTelemetry {
            caller_sdk_id: Some("a,b|c\r\nd".into()),
            ..CurrentTelemetry::new(ApiId::Client)
        };
        assert_eq!(telemetry.to_string(), "5|1004,0,,,|0,1,1,abcd,,");
    }
}
