//! Private keys that never leave their token: PKCS#11.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::binding::Binding;
use super::error::{LoadError, TokenProblem};
use super::files;
use super::material::Material;
use super::pkcs11_uri::Pkcs11Uri;
use super::secret::CertificatePassword;

/// The certificate of these whose private key the token has, with that key. Blocks on the token.
pub(super) fn load(
    uri: &Pkcs11Uri,
    pin: Option<&CertificatePassword>,
    material: Material,
) -> Result<Binding, LoadError> {
    let token = Arc::new(Token::find(uri, pin)?);
    let kind = token.kind()?;
    let ders = material.certificates;
    let mut subjects = Vec::new();
    for der in &ders {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| LoadError::MalformedCertificate)?;
        let key =
            TokenKey { token: Arc::clone(&token), kind, public_key: certificate.public_key().raw.into() };
        if Kind::of(&certificate) == Some(kind) && key.belongs_to(&certificate)? {
            return Binding::from_remote_key(ders, Arc::new(key));
        }
        subjects.push(certificate.subject().to_string());
    }
    Err(match ders.is_empty() {
        true => LoadError::NoCertificate,
        false => LoadError::KeyMismatch { subjects: subjects.join("; ") },
    })
}

/// A key's place, and what it takes to use it.
struct Token {
    module: Pkcs11,
    slot: Slot,
    pin: Option<AuthPin>,
    template: Vec<Attribute>,
    /// Sessions that are logged in, each with the key as it knows it. A session does one thing at a time.
    idle: Mutex<Vec<(Session, ObjectHandle)>>,
}

impl Token {
    fn find(uri: &Pkcs11Uri, pin: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        let module = module(&uri.module)?;
        let slots = module.get_slots_with_initialized_token().map_err(|error| problem(&error))?;
        let mut fitting = Vec::new();
        for slot in slots {
            let token = module.get_token_info(slot).map_err(|error| problem(&error))?;
            let fits = |wanted: &Option<String>, found: &str| {
                wanted.as_ref().is_none_or(|wanted| wanted == found.trim_end())
            };
            if fits(&uri.token, token.label()) && fits(&uri.serial, token.serial_number()) {
                fitting.push(slot);
            }
        }
        let slot = match fitting.as_slice() {
            [slot] => *slot,
            others => return Err(LoadError::Pkcs11(TokenProblem::Tokens(others.len()))),
        };
        let label = uri.object.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec()));
        let id = uri.id.as_ref().map(|id| Attribute::Id(id.clone()));
        let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
        let template = std::iter::once(class).chain(label).chain(id).collect();
        Ok(Self { module, slot, pin: pin_of(uri, pin)?, template, idle: Mutex::default() })
    }

    fn sign(&self, mechanism: &Mechanism<'_>, data: &[u8]) -> Result<Vec<u8>, LoadError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some((session, key)) = idle
            && let Ok(signature) = session.sign(mechanism, key, data)
        {
            self.keep(session, key);
            return Ok(signature);
        }
        // A session may have ended with its token's removal. A new one tells the truth.
        let (session, key) = self.session()?;
        let signature = session.sign(mechanism, key, data).map_err(|error| problem(&error))?;
        self.keep(session, key);
        Ok(signature)
    }

    fn session(&self) -> Result<(Session, ObjectHandle), LoadError> {
        let session = self.module.open_ro_session(self.slot).map_err(|error| problem(&error))?;
        if let Some(pin) = &self.pin {
            match session.login(UserType::User, Some(pin)) {
                // One session's login is that of all.
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(error) => return Err(problem(&error)),
            }
        }
        let keys = session.find_objects(&self.template).map_err(|error| problem(&error))?;
        match keys.as_slice() {
            [key] => Ok((session, *key)),
            others => Err(LoadError::Pkcs11(TokenProblem::Keys(others.len()))),
        }
    }

    /// What kind of key it is.
    fn kind(&self) -> Result<Kind, LoadError> {
        let (session, key) = self.session()?;
        let attributes =
            session.get_attributes(key, &[AttributeType::KeyType]).map_err(|error| problem(&error))?;
        let kind = match attributes.as_slice() {
            [Attribute::KeyType(KeyType::RSA)] => Kind::Rsa,
            [Attribute::KeyType(KeyType::EC)] => Kind::P256,
            _ => return Err(LoadError::UnsupportedKey("a private key of an unsupported kind".to_owned())),
        };
        self.keep(session, key);
        Ok(kind)
    }

    fn keep(&self, session: Session, key: ObjectHandle) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push((session, key));
        }
    }
}

/// A library is initialised once in a process, whoever uses it.
fn module(path: &Path) -> Result<Pkcs11, LoadError> {
    static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|error| problem(&error))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(problem(&error)),
    }
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

fn pin_of(uri: &Pkcs11Uri, pin: Option<&CertificatePassword>) -> Result<Option<AuthPin>, LoadError> {
    const ACCEPTED: &str = "a file with the token's PIN";
    if let Some(pin) = pin {
        return Ok(Some(AuthPin::from(pin.expose().to_owned())));
    }
    let Some(source) = &uri.pin_source else { return Ok(None) };
    let bytes = files::read_text(source, ACCEPTED)?;
    let unusable = |found: &str| LoadError::UnusableFile { found: found.to_owned(), accepted: ACCEPTED };
    Ok(Some(AuthPin::from(files::text(&bytes).map_err(unusable)?.to_owned())))
}

fn problem(error: &Error) -> LoadError {
    LoadError::Pkcs11(match error {
        Error::LibraryLoading(_) | Error::NullFunctionPointer => TokenProblem::Module,
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            TokenProblem::WrongPin
        }
        Error::Pkcs11(RvError::PinLocked | RvError::PinExpired, _) => TokenProblem::PinLocked,
        Error::Pkcs11(code, _) => TokenProblem::Refused(format!("{code:?}")),
        _ => TokenProblem::Refused("an error of the library that speaks to it".to_owned()),
    })
}

/// A private key on a token, for assertions and handshakes alike. Signing takes as long as the token does.
struct TokenKey {
    token: Arc<Token>,
    kind: Kind,
    /// `SubjectPublicKeyInfo` of the certificate that the key belongs to.
    public_key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
}

impl Kind {
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(_)) => Some(Self::Rsa),
            Ok(PublicKey::EC(point)) if point.key_size() == 256 => Some(Self::P256),
            _ => None,
        }
    }

    fn schemes(self) -> &'static [SignatureScheme] {
        match self {
            Self::Rsa => &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256],
            Self::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
        }
    }
}

impl TokenKey {
    /// Whether the certificate's key verifies what the token signs.
    fn belongs_to(&self, certificate: &X509Certificate<'_>) -> Result<bool, LoadError> {
        const MESSAGE: &[u8] = b"Does this key belong to that certificate?";
        let (scheme, algorithm): (_, &dyn VerificationAlgorithm) = match self.kind {
            Kind::Rsa => (SignatureScheme::RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
            Kind::P256 => (SignatureScheme::ECDSA_NISTP256_SHA256, &ECDSA_P256_SHA256_ASN1),
        };
        let signature = self.token.sign_with(scheme, MESSAGE)?;
        let key = UnparsedPublicKey::new(algorithm, &certificate.public_key().subject_public_key.data);
        Ok(key.verify(MESSAGE, &signature).is_ok())
    }
}

impl Token {
    /// A signature as TLS has it.
    fn sign_with(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, LoadError> {
        match scheme {
            SignatureScheme::RSA_PKCS1_SHA256 => self.sign(&Mechanism::Sha256RsaPkcs, message),
            SignatureScheme::RSA_PSS_SHA256 => {
                let (hash_alg, mgf, s_len) = (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32.into());
                self.sign(&Mechanism::Sha256RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len }), message)
            }
            // Not every token hashes for ECDSA.
            _ => {
                let signature = self.sign(&Mechanism::Ecdsa, digest(&SHA256, message).as_ref())?;
                der_of_p256(&signature)
                    .ok_or(LoadError::Pkcs11(TokenProblem::Refused("a malformed signature".to_owned())))
            }
        }
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.kind.schemes().iter().copied().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { token: Arc::clone(&self.token), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public_key.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            Kind::Rsa => SignatureAlgorithm::RSA,
            Kind::P256 => SignatureAlgorithm::ECDSA,
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

struct TokenSigner {
    token: Arc<Token>,
    scheme: SignatureScheme,
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.token.sign_with(self.scheme, message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// Turns `r || s` (PKCS#11) into `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279 §2.2.3), which TLS signs with.
fn der_of_p256(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(32).filter(|(_, s)| s.len() == 32)?;
    let mut content = Vec::with_capacity(70);
    for integer in [r, s] {
        let first = integer.iter().position(|byte| *byte != 0)?;
        let magnitude = integer.get(first..)?;
        // The first bit is the sign's.
        let padding = magnitude.first().is_some_and(|byte| byte & 0x80 != 0);
        content.extend([0x02, u8::try_from(magnitude.len() + usize::from(padding)).ok()?]);
        content.extend(padding.then_some(0));
        content.extend_from_slice(magnitude);
    }
    let mut der = vec![0x30, u8::try_from(content.len()).ok()?];
    der.append(&mut content);
    Some(der)
}

/// Sessions that are kept for the next signature: as many as processors of a small machine.
const MAX_IDLE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_become_der() {
        let mut signature = [0; 64];
        (signature[31], signature[32]) = (5, 0x80);
        let der = der_of_p256(&signature).unwrap();
        assert_eq!(der[..7], [0x30, 38, 0x02, 1, 5, 0x02, 33]);
        assert_eq!((der[7], der[8], der.len()), (0, 0x80, 40));
        assert_eq!(der_of_p256(&signature[..63]), None);
        assert_eq!(der_of_p256(&[0; 64]), None);
    }
}
