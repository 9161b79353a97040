"""How an archive reaches hosts: pushed over SSH, pulled from the controller's relay, or pulled from the site's own address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from upkeep.domain.bandwidth import BYTES_PER_MBIT, bytes_per_second
from upkeep.domain.document import Document, Duration, words

Way = Literal["push", "relay", "site"]

PULL_FROM_BYTES = 1024**2
"""A smaller archive is through the open SSH connection before a host has asked for it."""
PULL_FROM_TOTAL_BYTES = 256 * 1024**2
"""Below this, size times hosts, encrypting the archive for each host costs the controller less than a second."""

_LISTEN = re.compile(r"(?P<address>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?")
_HIGHEST_PORT = 65_535
_EVERYWHERE = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 - refused


class Delivery(Document):
    """How the artifact reaches the hosts, how fast, and when it may be there before its time."""

    how: Literal["auto", "push", "relay", "site"] = Field(
        "auto",
        description="push over SSH; relay: hosts pull from the controller; site: hosts pull from the release's address; auto chooses",
    )
    url: str | None = Field(None, description="For site: where hosts get it, instead of the release's own address")
    relay: str = Field(
        "",
        description="ADDRESS[:PORT] of the controller that the relay listens on and hosts reach; default: UPKEEP_RELAY",
    )
    per_host_mbit: float | None = Field(None, gt=0, description="At most this many megabits per second to one host")
    total_mbit: float | None = Field(None, gt=0, description="At most this many megabits per second to all hosts")
    timeout: Duration = timedelta(minutes=15)
    prestage: Literal["in windows", "any time"] = Field(
        "in windows",
        description="When `prestage` may bring archives to hosts; any time still stops for freezes",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_written_before(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        """`pull` and `rate_limit` of plans that earlier runs were frozen with."""
        if not isinstance(value, dict):
            return value
        value = {**value, "how": "site"} if value.get("how") == "pull" else dict(value)
        rate = value.pop("rate_limit", None)
        if isinstance(rate, int) and rate > 0:
            value.setdefault("per_host_mbit", rate / BYTES_PER_MBIT)
        return value

    @field_validator("relay")
    @classmethod
    def _an_address(cls, value: str) -> str:
        listen_address(value)
        return value

    @property
    def per_host(self) -> float | None:
        """Bytes per second to one host at the most; the limit for all is one for each as well."""
        limits = [bytes_per_second(mbit) for mbit in (self.per_host_mbit, self.total_mbit) if mbit is not None]
        return min(limits, default=None)

    def share(self, hosts_at_once: int) -> float | None:
        """Bytes per second that each of so many hosts is left with; None without limits."""
        if self.total_mbit is None:
            return self.per_host
        equal = bytes_per_second(self.total_mbit) / max(1, hosts_at_once)
        return equal if self.per_host is None else min(equal, self.per_host)


@dataclass(frozen=True)
class Chosen:
    """The way an archive goes, and why."""

    way: Way
    why: str


def listen_address(text: str) -> tuple[str, int]:
    """Address and port of `ADDRESS[:PORT]`, port 0 for any; loopback for an empty text.

    Raises:
        ValueError: it is neither.
    """
    if not text:
        return "127.0.0.1", 0
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"] or 0) > _HIGHEST_PORT or match["address"] in _EVERYWHERE:
        message = f"'{text}' is not an address that hosts can reach; allowed: ADDRESS or ADDRESS:PORT of this machine, e.g. 10.0.0.5:8021"
        raise ValueError(message)
    return match["address"].strip("[]"), int(match["port"] or 0)


def choose(delivery: Delivery, *, size_bytes: int, hosts: int, relay: str, site_url: str) -> Chosen:
    """The way for an archive of this size to so many hosts; `relay` is the address the relay may listen on, empty without one."""
    if delivery.how != "auto":
        return Chosen(delivery.how, "the plan says so")
    mib = size_bytes / 1024**2
    if size_bytes < PULL_FROM_BYTES or size_bytes * hosts < PULL_FROM_TOTAL_BYTES:
        return Chosen("push", f"{mib:.1f} MiB for {hosts} hosts is little for the SSH connections that are open anyway")
    if delivery.url and site_url.startswith(("http://", "https://")):
        return Chosen(
            "site", f"{mib:.1f} MiB for {hosts} hosts is much, and the plan names an address hosts can pull from"
        )
    if relay:
        return Chosen("relay", f"{mib:.1f} MiB for {hosts} hosts is much, and hosts can reach the relay at {relay}")
    return Chosen(
        "push",
        f"{mib:.1f} MiB for {hosts} hosts is much, but neither delivery.relay (or UPKEEP_RELAY) nor delivery.url is set",
    )


def too_slow(delivery: Delivery, *, size_bytes: int, hosts_at_once: int) -> str:
    """Why an archive cannot arrive within the plan's limits; empty when it can."""
    rate = delivery.share(hosts_at_once)
    if rate is None or size_bytes / rate <= delivery.timeout.total_seconds():
        return ""
    needed = words(timedelta(seconds=round(size_bytes / rate)))
    each = f"{size_bytes / 1024**2:.1f} MiB at {rate / BYTES_PER_MBIT:.3g} Mbit/s for each of {hosts_at_once} hosts at once"
    return f"{each} take {needed}, and delivery.timeout is {words(delivery.timeout)}"
