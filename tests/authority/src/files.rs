//! Reading and writing the data directory.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use crate::StartError;

/// The file's text, or nothing where there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, StartError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::file(path, error)),
    }
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), StartError> {
    fs::write(path, bytes).map_err(|error| StartError::file(path, error))
}

/// Writes a file that only its owner may read (mode 0600 where there are modes).
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StartError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = |mut file: fs::File| file.write_all(bytes);
    options.open(path).and_then(write).map_err(|error| StartError::file(path, error))
}
