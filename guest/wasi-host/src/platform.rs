//! `symbolon:credentials/platform`: there is none. A host of WASI tells a component nothing of the machine below it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bindings::Component;
use crate::bindings::exports::symbolon::credentials::platform::{
    CertificateRequest, CertificateSubject, Credential, Error, Guest, IssuedCertificate, Variable,
};
use crate::bindings::exports::symbolon::credentials::provider::ErrorKind;

impl Guest for Component {
    fn environment() -> Vec<Variable> {
        Vec::new()
    }

    fn arc_agent_installed() -> bool {
        false
    }

    fn secret(_: String) -> Result<Credential, Error> {
        Err(none())
    }

    fn challenge_file(_: String) -> Result<Credential, Error> {
        Err(none())
    }

    fn request_certificate(_: CertificateSubject) -> Result<CertificateRequest, Error> {
        Err(none())
    }

    fn install_certificate(_: Vec<u8>, _: String, _: String) -> Result<(), Error> {
        Err(none())
    }

    fn issued() -> Option<IssuedCertificate> {
        None
    }
}

fn none() -> Error {
    let message = "found no platform below WASI; accepted: credentials of the application".to_string();
    Error { kind: ErrorKind::Refused, message, retry_after_ms: None }
}
