"""Certificates and keys from PEM, by the package `cryptography`."""

from __future__ import annotations

from typing import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key


def read_pem(pem: bytes) -> tuple[list[bytes], Callable[[str, bytes], bytes], list[str], int]:
    """The chain (DER), what signs, by which algorithms, and the end of the validity in Unix seconds."""
    key = load_pem_private_key(pem, password=None)
    certificates = x509.load_pem_x509_certificates(pem)
    chain = [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    not_after = int(certificates[0].not_valid_after_utc.timestamp())
    if isinstance(key, rsa.RSAPrivateKey):
        return chain, _rsa(key), ["ps256", "rs256"], not_after
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return chain, _p256(key), ["es256"], not_after
    raise ValueError(f"the private key is {type(key).__name__}; accepted are RSA and EC on P-256")


def _rsa(key: rsa.RSAPrivateKey) -> Callable[[str, bytes], bytes]:
    def sign(algorithm: str, signing_input: bytes) -> bytes:
        if algorithm == "ps256":
            return key.sign(signing_input, padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size), SHA256())
        return key.sign(signing_input, padding.PKCS1v15(), SHA256())

    return sign


def _p256(key: ec.EllipticCurvePrivateKey) -> Callable[[str, bytes], bytes]:
    def sign(_algorithm: str, signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign
