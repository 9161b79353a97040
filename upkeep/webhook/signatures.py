"""Who sent a webhook: checked over the bytes as they came, in constant time, whatever the headers hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from upkeep.domain.ticket_source import Scheme
from upkeep.errors import Refused

_LONGEST_HEADER = 4096
_LONGEST_ID = 256


@dataclass(frozen=True)
class Signed:
    """A delivery whose sender is known; `id` tells it from its repetitions and is covered by the signature."""

    id: str


@dataclass(frozen=True)
class Senders:
    """Whose deliveries are taken: any of these secrets, and for how long after a signed time."""

    scheme: Scheme
    secrets: tuple[str, ...]
    tolerance: timedelta


def check(senders: Senders, headers: Mapping[str, str], body: bytes, now: datetime) -> Signed:
    """Who sent this, and which of its deliveries it is.

    Raises:
        Refused: the signature is missing, malformed, too old, or of another secret.
    """
    schemes = {"standard": _standard, "hub": _hub, "token": _token}
    return schemes[senders.scheme](senders, headers, body, now)


def _standard(senders: Senders, headers: Mapping[str, str], body: bytes, now: datetime) -> Signed:
    """Standard Webhooks: HMAC-SHA256 in base64 over `id.timestamp.body`, several signatures allowed."""
    delivery, stamp = _header(headers, "webhook-id", _LONGEST_ID), _header(headers, "webhook-timestamp", 20)
    given = _header(headers, "webhook-signature").split(" ")
    if not (stamp.isascii() and stamp.isdecimal()):
        raise Refused("webhook-timestamp is not a number of seconds")
    if abs(now.timestamp() - int(stamp)) > senders.tolerance.total_seconds():
        raise Refused(f"webhook-timestamp is more than {senders.tolerance.total_seconds():g} s away from our clock")
    signed = b"%s.%s.%s" % (delivery.encode(), stamp.encode(), body)
    wanted = [base64.b64encode(_hmac(_standard_key(secret), signed)).decode() for secret in senders.secrets]
    if not _any_equal((one.removeprefix("v1,") for one in given if one.startswith("v1,")), wanted):
        raise Refused("no signature in webhook-signature is by a secret of this source")
    return Signed(delivery)


def _hub(senders: Senders, headers: Mapping[str, str], body: bytes, _now: datetime) -> Signed:
    """Jira's own webhooks: HMAC-SHA256 in hex over the body. Their id is not signed, so the body tells repetitions."""
    given = _header(headers, "x-hub-signature")
    if not given.startswith("sha256="):
        raise Refused("x-hub-signature is not sha256=HEX")
    wanted = [_hmac(secret.encode(), body).hex() for secret in senders.secrets]
    if not _any_equal([given.removeprefix("sha256=").lower()], wanted):
        raise Refused("x-hub-signature is by no secret of this source")
    return Signed(hashlib.sha256(body).hexdigest())


def _token(senders: Senders, headers: Mapping[str, str], body: bytes, _now: datetime) -> Signed:
    """Senders that cannot sign: a shared token in a header; only over TLS."""
    if not _any_equal([_header(headers, "x-upkeep-token")], senders.secrets):
        raise Refused("x-upkeep-token is no token of this source")
    return Signed(hashlib.sha256(body).hexdigest())


def _header(headers: Mapping[str, str], name: str, longest: int = _LONGEST_HEADER) -> str:
    value = headers.get(name, "")
    if not value:
        raise Refused(f"{name} is missing")
    if len(value) > longest or not value.isascii() or not value.isprintable():
        raise Refused(f"{name} is malformed")
    return value


def _standard_key(secret: str) -> bytes:
    """`whsec_` and base64 as the standard has it; any other text is taken as it is."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            return secret.encode()
    return secret.encode()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _any_equal(given: Iterable[str], wanted: Iterable[str]) -> bool:
    """Every pair is compared, each in constant time."""
    keys = [one.encode() for one in wanted]
    found = False
    for one in given:
        for key in keys:
            found |= hmac.compare_digest(one.encode(), key)
    return found
