from __future__ import annotations

import stat
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from upkeep.lab.certificates import ServerIdentity, new_server_identity, write_private


def verify(
    identity: ServerIdentity, chain: list[x509.Certificate], name: x509.DNSName | x509.IPAddress
) -> list[x509.Certificate]:
    roots = x509.load_pem_x509_certificates(identity.authority)
    verifier = PolicyBuilder().store(Store(roots)).time(datetime.now(UTC)).build_server_verifier(name)
    return verifier.verify(chain[0], chain[1:])


def test_the_chain_leads_from_leaf_over_intermediate_to_the_authority() -> None:
    identity = new_server_identity(("127.0.0.1",))
    chain = x509.load_pem_x509_certificates(identity.chain)
    assert len(verify(identity, chain, x509.IPAddress(ip_address("127.0.0.1")))) == 3
    assert len(verify(identity, chain, x509.DNSName("localhost"))) == 3


def test_without_the_intermediate_or_for_another_name_the_chain_is_not_trusted() -> None:
    identity = new_server_identity(("127.0.0.1",))
    chain = x509.load_pem_x509_certificates(identity.chain)
    with pytest.raises(VerificationError):
        verify(identity, chain[:1], x509.DNSName("localhost"))
    with pytest.raises(VerificationError):
        verify(identity, chain, x509.DNSName("other.example"))
    with pytest.raises(VerificationError):
        verify(new_server_identity(), chain, x509.DNSName("localhost"))


def test_a_private_file_is_readable_by_its_owner_alone_also_when_it_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
