"""The control centre's chains, good and not so good, and an agent's expired certificate: PEM files, each with its key."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from upkeep.lab.certificates import private_pem


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def write_chains(folder: Path, name: str, addresses: list[str]) -> None:
    """`good`, `expired`, `misnamed`, `unordered`, `incomplete`, `client` (expired), and what the agent trusts: `root`."""
    root = _issue("planted root", None)
    middle = _issue("planted intermediate", root)
    good, old = (_issue(name, middle, days, [name, *addresses]) for days in (300, -2))
    other = _issue("other.example", middle, 300, ["other.example"])
    client = _issue("link-agent", root, -2, ["link-agent"])
    chains = {
        "good": (good, middle),
        "expired": (old, middle),
        "misnamed": (other, middle),
        "unordered": (good, root, middle),
        "incomplete": (good,),
        "client": (client,),
    }
    for chain, links in chains.items():
        (folder / f"{chain}.pem").write_bytes(private_pem(links[0].key) + b"".join(link.pem for link in links))
    (folder / "root.pem").write_bytes(root.pem)
    (folder / "intermediate.pem").write_bytes(middle.pem)


def _issue(name: str, by: Issued | None, days: int = 300, names: list[str] | None = None) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
