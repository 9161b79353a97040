"""The lab's own throw-away certificate authority: root, intermediate, and a leaf for the control centre."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=365)


@dataclass(frozen=True)
class Issuer:
    """A certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class ServerIdentity:
    """What a TLS server needs, and what its clients need; PEM."""

    chain: bytes
    key: bytes
    authority: bytes


def new_server_identity(addresses: tuple[str, ...] = ("127.0.0.1",), name: str = "localhost") -> ServerIdentity:
    """A fresh chain of three for a server; the authority's own key is kept nowhere."""
    root = _issue("Upkeep lab root", None, path_length=1)
    intermediate = _issue("Upkeep lab intermediate", root, path_length=0)
    leaf = _issue(name, intermediate, path_length=None, addresses=addresses)
    return ServerIdentity(
        chain=_pem(leaf.certificate) + _pem(intermediate.certificate),
        key=private_pem(leaf.key),
        authority=_pem(root.certificate),
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as PKCS #8 PEM without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _issue(
    common_name: str, issuer: Issuer | None, *, path_length: int | None, addresses: tuple[str, ...] = ()
) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=path_length is not None, path_length=path_length), critical=True)
        .add_extension(_usage(authority=path_length is not None), critical=True)
    )
    if path_length is None:
        builder = _as_server(builder, common_name, addresses)
    return Issuer(builder.sign(signer, hashes.SHA256()), key)


def _as_server(builder: x509.CertificateBuilder, name: str, addresses: tuple[str, ...]) -> x509.CertificateBuilder:
    names = [x509.DNSName(name), *(x509.IPAddress(ipaddress.ip_address(a)) for a in addresses)]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
