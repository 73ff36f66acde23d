//! Reading small files, and telling whether they changed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::error::LoadError;

/// The bytes of one or more files, wiped on drop.
pub(super) struct Contents(Vec<Zeroizing<Vec<u8>>>);

impl Contents {
    pub(super) fn new(files: Vec<Zeroizing<Vec<u8>>>) -> Self {
        Self(files)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|file| file.as_slice())
    }

    pub(super) fn first(&self) -> &[u8] {
        self.files().next().unwrap_or_default()
    }

    /// Differs where the bytes differ.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for file in self.files() {
            context.update(&u64::try_from(file.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(file);
        }
        context.finish().as_ref().to_vec()
    }
}

/// Tells one state of a source from another. It may be that of a secret, hence not shown.
pub(super) type Fingerprint = Vec<u8>;

/// Reads a file of at most `limit` bytes, and one byte more of a longer one. A device or a pipe has no end that a size
/// would tell of.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let file = File::open(path)?;
    // Grown step by step, a buffer would leave copies behind.
    let expected = file.metadata().map_or(0, |metadata| metadata.len()).min(limit);
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(expected).unwrap_or(0).saturating_add(1)));
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a short text, such as a secret or an assertion, as it is `accepted`.
pub(super) fn read_text(path: &Path, accepted: &'static str) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let unusable = |found: String| LoadError::UnusableFile { found, accepted };
    let bytes = read(path, MAX_TEXT).map_err(|error| {
        unusable(match error.kind() {
            io::ErrorKind::NotFound => "no file there".to_owned(),
            kind => format!("a file that can't be read ({kind})"),
        })
    })?;
    match bytes.len() > MAX_TEXT {
        true => Err(unusable("more than 64 KiB".to_owned())),
        false => Ok(bytes),
    }
}

/// The text without blanks and line ends behind it; where it is empty or not UTF-8, what was found.
pub(super) fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "something other than UTF-8")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n']);
    match text.trim().is_empty() {
        true => Err("an empty file"),
        false => Ok(text),
    }
}

/// Reads a file with a password.
///
/// # Errors
///
/// What is wrong with the file, as an end of the sentence "the file, …".
pub(crate) fn password(path: &Path) -> Result<Zeroizing<String>, String> {
    let bytes = read(path, MAX_TEXT).map_err(|error| format!("which can't be read ({})", error.kind()))?;
    match text(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(found) => Err(format!("which is {found}")),
    }
}

/// Secrets are tens of bytes and tokens a few kilobytes.
const MAX_TEXT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(files: &[&str]) -> Contents {
        Contents::new(files.iter().map(|file| Zeroizing::new(file.as_bytes().to_vec())).collect())
    }

    #[test]
    fn a_fingerprint_tells_where_files_end() {
        assert_eq!(contents(&["a", "b"]).fingerprint(), contents(&["a", "b"]).fingerprint());
        let distinct = [&["ab"][..], &["a", "b"], &["", "ab"], &["b", "a"], &[]];
        for (i, one) in distinct.iter().enumerate() {
            for other in &distinct[i + 1..] {
                assert_ne!(contents(one).fingerprint(), contents(other).fingerprint());
            }
        }
    }

    #[test]
    fn a_text_ends_before_its_line_ends() {
        for (bytes, expected) in [
            (&b"s3cret"[..], Ok("s3cret")),
            (b"s3cret\n", Ok("s3cret")),
            (b"s3cret\r\n\n", Ok("s3cret")),
            (b" inner space \n", Ok(" inner space ")),
            (b"\xef\xbb\xbfs3cret", Ok("s3cret")),
            (b"", Err("an empty file")),
            (b" \r\n", Err("an empty file")),
            (b"\xff", Err("something other than UTF-8")),
        ] {
            assert_eq!(text(bytes), expected, "{bytes:?}");
        }
    }
}
