"""TLS as the host sees it: the chain's order and completeness, expiry, name, and trust."""

from __future__ import annotations

import ipaddress
import itertools
import re
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import TlsProbe
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.question import Answer, Question, bounded, unknown

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_ASK = """
command -v openssl >/dev/null || exit 127
echo | openssl s_client -connect "$1" -servername "$2" -showcerts 2>&1
"""


def tls(probe: TlsProbe, now: datetime | None = None) -> Question:
    """Are the certificates that a server shows in order?"""
    check = f"net.tls.{probe.id}"
    address = f"[{probe.address}]" if ":" in probe.address else probe.address
    name = probe.name or probe.address

    def judge(answer: Answer) -> Finding:
        if answer.missing:
            return unknown(check, "", "the host has no openssl", remedy="install openssl on the host")
        return judge_chain(probe, name, answer.text, now or datetime.now(UTC))

    return Question(check, with_words(_ASK, f"{address}:{probe.port}", name), judge, slow=True, soon=True)


def judge_chain(probe: TlsProbe, name: str, text: str, now: datetime) -> Finding:
    """Judge what `openssl s_client -showcerts` printed."""
    check, where = f"net.tls.{probe.id}", f"{probe.address}:{probe.port}"
    try:
        chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in _PEM.findall(text)]
    except ValueError:
        return unknown(check, "", f"what {where} shows is no certificate", evidence=text)
    if not chain:
        refused = "refused" in text.lower()
        reason = f"{where} refuses connections" if refused else f"{where} shows no certificate"
        return Finding(
            check=check,
            verdict=Verdict.FAIL,
            reason=reason,
            evidence=bounded(text),
            remedy="look whether TLS is served there",
        )
    trouble = _dates(chain, now) or _names(chain[0], name) or _order(chain) or _trust(chain, probe.ca)
    if trouble:
        return Finding(
            check=check,
            verdict=Verdict.FAIL,
            reason=f"{where}: {trouble[0]}",
            evidence=_subjects(chain),
            remedy=trouble[1],
        )
    days = min((certificate.not_valid_after_utc - now).days for certificate in chain)
    soon = days < probe.warn_days
    return Finding(
        check=check,
        verdict=Verdict.WARN if soon else Verdict.PASS,
        reason=f"{where}: the chain is in order, the first certificate expires in {days} days",
        remedy="renew the certificate" if soon else "",
        value=float(days),
        unit="d",
    )


Trouble = tuple[str, str]


def _dates(chain: list[x509.Certificate], now: datetime) -> Trouble | None:
    for certificate in chain:
        if certificate.not_valid_after_utc < now:
            return (
                f"the certificate of {_subject(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
                "renew it",
            )
        if certificate.not_valid_before_utc > now:
            begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
            return (
                f"the certificate of {_subject(certificate)} is valid from {begins} UTC on",
                "look at the clocks, or wait",
            )
    return None


def _names(leaf: x509.Certificate, name: str) -> Trouble | None:
    try:
        names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return f"the certificate of {_subject(leaf)} names no host at all", "issue one with a subject alternative name"
    assert isinstance(names, x509.SubjectAlternativeName)  # noqa: S101 - as its id says
    known = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    if any(_matches(pattern, name) for pattern in known):
        return None
    return (
        f"the certificate is for {', '.join(known)}, not for {name}",
        "correct the address, or issue a certificate with this name",
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(pattern) == ipaddress.ip_address(name)
    except ValueError:
        first, _, rest = name.lower().partition(".")
        return pattern.lower() == name.lower() or (
            pattern.startswith("*.") and bool(first) and pattern[2:].lower() == rest
        )


def _order(chain: list[x509.Certificate]) -> Trouble | None:
    for lower, upper in itertools.pairwise(chain):
        if not _issued(lower, upper):
            if any(_issued(lower, other) for other in chain if other is not lower) or _issued(upper, lower):
                return (
                    "the certificates are in the wrong order",
                    "put the server's own certificate first, then each one's issuer",
                )
            return (
                f"the issuer of {_subject(lower)} ({lower.issuer.rfc4514_string()}) is missing in the chain",
                "add the intermediate certificate",
            )
    return None


def _trust(chain: list[x509.Certificate], ca_file: str) -> Trouble | None:
    if not ca_file:
        return None
    try:
        roots = x509.load_pem_x509_certificates(Path(ca_file).read_bytes())
    except (OSError, ValueError):
        return f"the CA file {ca_file} on the controller cannot be read", "correct the probe's ca"
    last = chain[-1]
    if any(last == root or _issued(last, root) for root in roots):
        return None
    if any(last.issuer == root.subject for root in roots) or _self_signed(last):
        return (
            f"the chain ends at {_subject(last)}, which the CA file does not vouch for",
            "give the right CA file, or have it issued anew",
        )
    return (
        f"the issuer of {_subject(last)} ({last.issuer.rfc4514_string()}) is missing in the chain",
        "add the intermediate certificate",
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "(no name)"


def _subjects(chain: list[x509.Certificate]) -> str:
    return bounded("; ".join(f"{_subject(c)} issued by {c.issuer.rfc4514_string()}" for c in chain))
