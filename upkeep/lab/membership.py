"""What the reference control centre knows of its agents: signed registration and heartbeats, policies, events."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, Field

CLOCK_TOLERANCE_SECONDS = 300
MISSED_HEARTBEATS = 3


class Registration(BaseModel):
    """What an agent sends to register; the signature covers id, key, version and timestamp, one a line."""

    device_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    public_key: str = Field(max_length=1000)
    version: str = Field(max_length=100)
    heartbeat_interval: int = Field(30, ge=1, le=3600)
    timestamp: str = Field(max_length=30)
    signature: str = Field(max_length=200)


class Heartbeat(BaseModel):
    """A sign of life; the signature covers id, version, policy version and timestamp, one a line."""

    version: str = Field(max_length=100)
    policy_version: str = Field("", max_length=100)
    timestamp: str = Field(max_length=30)
    signature: str = Field(max_length=200)


class NotAuthentic(Exception):
    """A message that is not provably from the device it names; becomes 401 and an event."""


@dataclass
class Node:
    """One registered agent; times are seconds since 1970."""

    id: str
    public_key: str
    registered_at: float
    last_seen: float
    heartbeat_interval: int
    version: str
    policy_version: str = ""
    last_timestamp: float = 0.0

    def online(self, now: float) -> bool:
        """Whether fewer than three heartbeats in a row are missing."""
        return now - self.last_seen < MISSED_HEARTBEATS * self.heartbeat_interval

    def status(self, now: float) -> dict[str, object]:
        """The node as the API shows it."""
        return {
            "id": self.id,
            "online": self.online(now),
            "version": self.version,
            "policy_version": self.policy_version,
            "last_seen": _iso(self.last_seen),
            "registered_at": _iso(self.registered_at),
        }


@dataclass
class Membership:
    """All nodes; `clock` gives seconds since 1970, `events` is a file of JSON lines."""

    clock: Callable[[], float]
    events: Path
    policy_version: str = "2026.1"
    nodes: dict[str, Node] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def register(self, message: Registration) -> Node:
        """Take a device in, or again with the key it registered with.

        Raises:
            NotAuthentic: signature, key or timestamp are not acceptable.
        """
        name = message.device_id
        known = self.nodes.get(name)
        if known is not None and known.public_key != message.public_key:
            raise self._refused(name, "the device is registered with another key")
        signed = [name, message.public_key, message.version]
        stamp = self._authentic(name, message.public_key, signed, message)
        if known is not None and stamp <= known.last_timestamp:
            raise self._refused(name, "the message was seen before")
        now = self.clock()
        self.nodes[name] = Node(
            id=name,
            public_key=message.public_key,
            registered_at=now,
            last_seen=now,
            heartbeat_interval=message.heartbeat_interval,
            version=message.version,
            last_timestamp=stamp,
        )
        self._note("registered", name, version=message.version)
        return self.nodes[name]

    def heartbeat(self, name: str, message: Heartbeat) -> Node:
        """Take a sign of life.

        Raises:
            KeyError: the device is not registered.
            NotAuthentic: signature or timestamp are not acceptable.
        """
        node = self.nodes[name]
        stamp = self._authentic(name, node.public_key, [name, message.version, message.policy_version], message)
        if stamp <= node.last_timestamp:
            raise self._refused(name, "the message was seen before")
        if (node.version, node.policy_version) != (message.version, message.policy_version):
            self._note("reported", name, version=message.version, policy_version=message.policy_version)
        node.version, node.policy_version = message.version, message.policy_version
        node.last_seen, node.last_timestamp = self.clock(), stamp
        return node

    def forget(self, name: str) -> None:
        """Drop a device; it has to register again."""
        del self.nodes[name]
        self._note("forgotten", name)

    def _authentic(self, name: str, pem: str, signed: list[str], message: Registration | Heartbeat) -> float:
        problem = ""
        try:
            stamp = float(message.timestamp)
            public = serialization.load_pem_public_key(pem.encode())
            signature = base64.b64decode(message.signature, validate=True)
        except (ValueError, binascii.Error):
            raise self._refused(name, "key, timestamp or signature cannot be read") from None
        if not math.isfinite(stamp) or abs(self.clock() - stamp) > CLOCK_TOLERANCE_SECONDS:
            problem = f"the timestamp is more than {CLOCK_TOLERANCE_SECONDS} s off"
        elif not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
            problem = "the key is not ECDSA P-256"
        elif not _verifies(public, signature, "\n".join([*signed, message.timestamp])):
            problem = "the signature does not match"
        if problem:
            raise self._refused(name, problem)
        return stamp

    def _refused(self, name: str, problem: str) -> NotAuthentic:
        self._note("refused", name, reason=problem)
        return NotAuthentic(problem)

    def _note(self, event: str, name: str, **facts: str) -> None:
        line = json.dumps({"at": _iso(self.clock()), "event": event, "node": name, **facts})
        with self.events.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.changed.set()


def _verifies(public: ec.EllipticCurvePublicKey, signature: bytes, text: str) -> bool:
    try:
        public.verify(signature, text.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
