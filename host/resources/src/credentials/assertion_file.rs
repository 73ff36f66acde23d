//! Tokens that a platform keeps in a file for its workloads, as Kubernetes does.

use std::path::Path;

use zeroize::Zeroizing;

use super::assertion::{SignedAssertion, expiry};
use super::error::LoadError;
use super::files::{self, Contents};

/// Reads the file. Blocks on the file system.
pub(super) fn read(path: &Path) -> Result<Contents, LoadError> {
    Ok(Contents::new(vec![files::read_text(path, ACCEPTED)?]))
}

/// The token in it, which says itself when it expires.
pub(super) fn parse(contents: &Contents) -> Result<SignedAssertion, LoadError> {
    let unusable = |found: &str| LoadError::UnusableFile { found: found.to_owned(), accepted: ACCEPTED };
    let token = files::text(contents.first()).map_err(unusable)?.trim();
    let expires_on = expiry(token).ok_or_else(|| unusable("something other than a JWT with an exp"))?;
    Ok(SignedAssertion::from_zeroizing(Zeroizing::new(token.to_owned()), Some(expires_on)))
}

const ACCEPTED: &str = "a file with a JWT, such as the projected token of a Kubernetes service account";
