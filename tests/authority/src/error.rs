//! Why an authority does not start.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an authority does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file of the data directory can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `applications.json` says something that makes no sense.
    #[error("{}: {at}: {problem}", file.display())]
    Registrations {
        /// The file.
        file: PathBuf,
        /// Where in it, such as `applications[2].certificates[0].thumbprint`.
        at: String,
        /// What was found, and what is accepted.
        problem: String,
    },
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address as given.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A platform speaks of what its authority does not know.
    #[error("the platform: {0}")]
    Platform(String),
    /// A key or certificate can't be made or read.
    #[error("{0}")]
    Certificate(String),
}

impl StartError {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

impl From<rcgen::Error> for StartError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<rustls::Error> for StartError {
    fn from(error: rustls::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}
