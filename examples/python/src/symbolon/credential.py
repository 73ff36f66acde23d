"""How the client proves itself. The component is told what a credential can do, and never what it holds."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Callable, Sequence

from .wit import AssertionContext, Certificate, Description, SignedAssertion


class CredentialError(Exception):
    """Why a credential can't do what it is asked: `unavailable`, `unsupported` or `refused`. The text holds no secret."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Credential:
    """A credential. The three below are all that a confidential client may have; subclass them to keep keys elsewhere."""

    def describe(self) -> Description:
        """What may be known about it."""
        raise NotImplementedError

    def secret(self) -> str:
        """The shared secret, for its place in a request."""
        raise CredentialError("unsupported", "The credential is no secret.")

    def sign(self, algorithm: str, signing_input: bytes) -> bytes:
        """A JSON Web Signature by `rs256`, `ps256` or `es256` (RFC 7518 §3.1)."""
        raise CredentialError("unsupported", "The credential has no key to sign with.")

    def assertion(self, context: AssertionContext) -> SignedAssertion:
        """A client assertion that was made elsewhere."""
        raise CredentialError("unsupported", "The credential gives no assertions.")


class ClientSecret(Credential):
    """A shared secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def describe(self) -> Description:
        return Description("client secret", "client-secret")

    def secret(self) -> str:
        return self._secret


class ClientAssertion(Credential):
    """A token made elsewhere that stands in for a client assertion, such as a workload's; asked for once in each request.

    With `certificate` it is bound to that certificate, which is then presented to the authority.
    """

    def __init__(
        self, get: Callable[[AssertionContext], str], certificate: ClientCertificate | None = None
    ) -> None:
        self._get = get
        self.certificate = certificate

    def describe(self) -> Description:
        certificate = self.certificate.describe().certificate if self.certificate is not None else None
        return Description("client assertion", "signed-assertion", certificate=certificate)

    def assertion(self, context: AssertionContext) -> SignedAssertion:
        return SignedAssertion(self._get(context), bound=self.certificate is not None)


class ClientCertificate(Credential):
    """A certificate, and a function that signs with its private key, wherever that is.

    `chain` is DER, the client's own certificate first; `not_after` is the end of its validity in Unix seconds. `sign` gets the
    algorithm (one of `algorithms`) and the bytes. `bound` presents the certificate to the authority as well, in the TLS
    handshake; `file` is where an HTTP client finds certificate and key for that (PEM).
    """

    def __init__(
        self,
        chain: Sequence[bytes],
        sign: Callable[[str, bytes], bytes],
        *,
        not_after: int,
        algorithms: Sequence[str] = ("ps256", "rs256"),
        bound: bool = False,
        file: str | None = None,
    ) -> None:
        self._certificate = Certificate(
            chain=list(chain),
            thumbprint_sha256=_base64url(hashlib.sha256(chain[0]).digest()),
            thumbprint_sha1=_base64url(hashlib.sha1(chain[0]).digest()),
            not_after=not_after,
            algorithms=list(algorithms),
        )
        self._sign = sign
        self._use_bound = "required" if bound else "unspecified"
        self.file = file

    @staticmethod
    def from_pem_file(file: str, *, bound: bool = False) -> ClientCertificate:
        """The certificates and the private key of a PEM file. Needs the package `cryptography`."""
        from .pem import read_pem

        with open(file, "rb") as content:
            chain, sign, algorithms, not_after = read_pem(content.read())
        return ClientCertificate(
            chain, sign, not_after=not_after, algorithms=algorithms, bound=bound, file=file
        )

    def describe(self) -> Description:
        return Description(
            "client certificate", "certificate", use_bound=self._use_bound, certificate=self._certificate
        )

    def sign(self, algorithm: str, signing_input: bytes) -> bytes:
        return self._sign(algorithm, signing_input)


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
