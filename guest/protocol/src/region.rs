//! Azure regions.

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

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
    use super::Region;

    #[test]
    fn letters_and_digits_make_a_region() {
        for name in ["westeurope", "EastUS2", "1", "centraluseuap"] {
            assert_eq!(Region::parse(name).expect(name).as_str(), name);
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
