"""Certificate chains: order, completeness, dates, names, trust (U6; fault 15)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from upkeep.domain.finding import Verdict
from upkeep.domain.profile import TlsProbe
from upkeep.hosts.checks.certificates import judge_chain

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Issuer:
    """A certificate with its key, able to issue others."""

    def __init__(
        self, name: str, by: Issuer | None = None, *, days: int = 100, begins: int = -1, names: tuple[str, ...] = ()
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.certificate.subject if by else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=begins))
            .not_valid_after(NOW + timedelta(days=days))
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
            )
        self.certificate = builder.sign(by.key if by else self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


ROOT = Issuer("root")
MIDDLE = Issuer("middle", ROOT)
LEAF = Issuer("leaf", MIDDLE, names=("centre.example", "*.wild.example"))


def judged(*chain: Issuer, ca: Path | None = None, name: str = "centre.example"):
    probe = TlsProbe(id="x", address="centre.example", ca=str(ca or ""))
    return judge_chain(probe, name, "CONNECTED(3)\n" + "\n".join(link.pem for link in chain), NOW)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text(ROOT.pem)
    return path


def test_a_good_chain_passes_and_tells_its_days(ca: Path) -> None:
    finding = judged(LEAF, MIDDLE, ca=ca)
    assert (finding.verdict, finding.value) == (Verdict.PASS, 100)
    assert judged(LEAF, MIDDLE, ROOT, ca=ca).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("chain", "name", "said"),
    [
        ((LEAF,), "centre.example", "is missing in the chain"),
        ((LEAF, ROOT), "centre.example", "is missing in the chain"),
        ((LEAF, ROOT, MIDDLE), "centre.example", "wrong order"),
        ((LEAF, MIDDLE), "other.example", "not for other.example"),
        (
            (Issuer("leaf", MIDDLE, days=-1, begins=-9, names=("centre.example",)), MIDDLE),
            "centre.example",
            "expired on 2026-11-20",
        ),
        ((Issuer("leaf", MIDDLE, begins=2, names=("centre.example",)), MIDDLE), "centre.example", "is valid from"),
        ((Issuer("self", names=("centre.example",)),), "centre.example", "does not vouch"),
        ((Issuer("nameless", MIDDLE), MIDDLE), "centre.example", "names no host"),
    ],
)
def test_a_bad_chain_says_what_is_wrong_and_what_to_do(
    ca: Path, chain: tuple[Issuer, ...], name: str, said: str
) -> None:
    finding = judged(*chain, ca=ca, name=name)
    assert finding.verdict is Verdict.FAIL
    assert said in finding.reason
    assert finding.remedy


def test_a_certificate_that_ends_soon_warns(ca: Path) -> None:
    assert judged(Issuer("leaf", MIDDLE, days=5, names=("centre.example",)), MIDDLE, ca=ca).verdict is Verdict.WARN


def test_a_wildcard_covers_one_label(ca: Path) -> None:
    assert judged(LEAF, MIDDLE, ca=ca, name="a.wild.example").verdict is Verdict.PASS
    assert judged(LEAF, MIDDLE, ca=ca, name="a.b.wild.example").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "text", ["", "connect: Connection refused", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----"]
)
def test_no_certificate_is_never_a_pass(text: str) -> None:
    assert judge_chain(TlsProbe(id="x", address="h"), "h", text, NOW).verdict in {Verdict.FAIL, Verdict.UNKNOWN}
