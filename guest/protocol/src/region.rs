//! Azure regions.

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

use crate::{json::Object, token_request::push_parameter, url::push_percent_encoded};

/// The name of an Azure region, such as `westeurope`: one or more ASCII letters and digits, kept as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// Takes a region by its name.
    ///
    /// # Errors
    ///
    /// A name that isn't made of ASCII letters and digits alone. It would end in a host name, so it is never corrected.
    pub fn parse(name: &str) -> Result<Self, InvalidRegion> {
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidRegion { found: name.to_owned() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The region that the variable `REGION_NAME` names: spaces are removed and letters lower-cased; none where it names none.
pub fn of_environment(value: &str) -> Option<Region> {
    Region::parse(&value.replace(' ', "").to_ascii_lowercase()).ok()
}

/// The region that the instance metadata service answers with (`location`), exactly as it is written, as MSAL does.
pub fn of_metadata(body: &[u8]) -> Option<Region> {
    Region::parse(&Object::parse(body)?.text("location")?).ok()
}

/// The newest version of the instance metadata service, by its answer to a version that it doesn't know.
pub fn newest_version(body: &[u8]) -> Option<String> {
    Object::parse(body)?.get("newest-versions")?.items().into_iter().next()?.text()
}

/// Where the instance metadata service tells the region; without a version it says which ones there are.
pub fn metadata_path(version: Option<&str>) -> String {
    let mut path = String::from("/metadata/instance/compute");
    if let Some(version) = version {
        push_parameter(&mut path, "api-version", version, push_percent_encoded);
    }
    path
}

/// How long to wait before the instance metadata service is asked again, in milliseconds, after so many retries: three, for
/// a service that is being updated, asks for a pause or fails, as MSAL does.
pub fn retry_delay_ms(status: u16, retries: u8) -> Option<u64> {
    (retries < 3 && matches!(status, 410 | 429 | 500..=599)).then_some(1000 << retries)
}

/// The host of the instance metadata service of virtual machines.
pub const METADATA_HOST: &str = "169.254.169.254";

/// The version of it that is asked first.
pub const METADATA_VERSION: &str = "2021-02-01";

/// How long it may take to answer, in milliseconds.
pub const METADATA_TIMEOUT_MS: u64 = 2000;

/// A region was given whose name can't be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRegion {
    found: String,
}

impl fmt::Display for InvalidRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an Azure region; accepted are ASCII letters and digits, such as westeurope",
            self.found
        )
    }
}

impl core::error::Error for InvalidRegion {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_and_digits_make_a_region() {
        for name in ["westeurope", "EastUS2", "1", "centraluseuap"] {
            assert_eq!(Region::parse(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn the_environments_region_is_normalised_and_the_metadatas_is_not() {
        let name = |region: Option<Region>| region.map(|region| region.as_str().to_owned());
        assert_eq!(name(of_environment("West US 2")).as_deref(), Some("westus2"));
        assert_eq!(of_environment("west-us"), None);
        assert_eq!(name(of_metadata(br#"{"location":"WestUS2"}"#)).as_deref(), Some("WestUS2"));
        for body in [&br#"{"location":"west us"}"#[..], b"{}", b"westus2", b""] {
            assert_eq!(of_metadata(body), None);
        }
    }

    #[test]
    fn the_newest_version_is_asked_for_where_ours_is_unknown() {
        let body = br#"{"error":"Bad request","newest-versions":["2023-11-15","2021-02-01"]}"#;
        let newest = newest_version(body).expect("a version");
        assert_eq!(metadata_path(Some(&newest)), "/metadata/instance/compute?api-version=2023-11-15");
        assert_eq!(newest_version(b"{}"), None);
        assert_eq!(metadata_path(None), "/metadata/instance/compute");
    }

    #[test]
    fn the_metadata_service_is_asked_four_times_at_most() {
        let delays: alloc::vec::Vec<_> = (0..4).map(|retries| retry_delay_ms(500, retries)).collect();
        assert_eq!(delays, [Some(1000), Some(2000), Some(4000), None]);
        assert_eq!([410, 429, 503].map(|status| retry_delay_ms(status, 0)), [Some(1000); 3]);
        assert_eq!([400, 404, 408, 200].map(|status| retry_delay_ms(status, 0)), [None; 4]);
    }

    proptest! {
        #[test]
        fn any_answer_is_a_region_or_none(body: alloc::vec::Vec<u8>, text in "\\PC*") {
            let _ = (of_metadata(&body), newest_version(&body), of_environment(&text));
        }
    }

    #[test]
    fn nothing_else_does() {
        for name in ["", " ", "west europe", "west-europe", "eastus\n", "eastus.evil.com/", "eastus²", "é"]
        {
            let error = Region::parse(name).expect_err(name);
            assert!(alloc::format!("{error}").contains("westeurope"));
        }
    }
}
