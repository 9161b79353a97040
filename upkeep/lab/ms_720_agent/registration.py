"""The agent and its control centre: signed registration and heartbeats."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .config import Config

OK, UNAUTHORISED, NOT_FOUND = 200, 401, 404
LONGEST_BACKOFF_SECONDS = 60


@dataclass
class Membership:
    """One agent's standing at its control centre."""

    config: Config
    version: str
    log: Callable[[str, str], None]
    registered: bool = False
    policy_version: str = ""
    failures: int = 0
    key: ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        """Read or make the device's key."""
        self.key = device_key(Path(self.config["state_dir"]))

    def keep(self, stopping: threading.Event) -> None:
        """Register, then send heartbeats; after a failure wait 2, 4, 8 … 60 s."""
        wait = 0.0
        while not stopping.wait(wait):
            try:
                self.touch()
                wait, self.failures = float(self.config["heartbeat_interval"]), 0
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.failures += 1
                wait = min(2.0**self.failures, LONGEST_BACKOFF_SECONDS)
                self.log("WARN", f"control centre: {error}; next try in {wait:g} s")

    def touch(self) -> None:
        """Register if that is not done yet, then send one heartbeat; raises OSError or ValueError."""
        if not self.registered:
            self._register()
        reply = self._heartbeat()
        if reply["policy_version"] != self.policy_version:
            self.policy_version = str(reply["policy_version"])
            self.log("INFO", f"policies are now at version {self.policy_version}")
            self._heartbeat()

    def _register(self) -> None:
        name, key = self.config["agent_id"], public_pem(self.key)
        body = {"device_id": name, "public_key": key, "version": self.version}
        interval = int(self.config["heartbeat_interval"])
        self._post("/v1/nodes/register", {**body, "heartbeat_interval": interval}, [name, key, self.version])
        self.registered = True
        self.log("INFO", f"registered at {self.config['server']}")

    def _heartbeat(self) -> dict[str, Any]:
        name = self.config["agent_id"]
        state = {"version": self.version, "policy_version": self.policy_version}
        return self._post(f"/v1/nodes/{name}/heartbeat", state, [name, *state.values()])

    def _post(self, path: str, body: dict[str, Any], signed: list[str]) -> dict[str, Any]:
        stamp = f"{time.time():.6f}"
        proof = {"timestamp": stamp, "signature": sign(self.key, "\n".join([*signed, stamp]))}
        status, text = _ask(self.config, path, json.dumps({**body, **proof}))
        if status in {NOT_FOUND, UNAUTHORISED}:
            self.registered = False
        if status != OK:
            message = f"{path} answered {status}: {text[:200].decode('utf-8', 'replace')}"
            raise ValueError(message)
        return dict(json.loads(text))


def _ask(config: Config, path: str, document: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=config["tls_ca"])
    host, _, port = config["server"].removeprefix("https://").rstrip("/").rpartition(":")
    connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
    try:
        connection.request("POST", path, document, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def device_key(state: Path) -> ec.EllipticCurvePrivateKey:
    """The device's own key, made on the first start, mode 0600; raises OSError or ValueError."""
    path = state / "device.key"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        return _new_device_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        message = f"{path} holds no elliptic curve key"
        raise ValueError(message)  # noqa: TRY004 - a damaged file is bad data, whatever it holds
    return key


def _new_device_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half as PEM."""
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, public).decode()


def sign(key: ec.EllipticCurvePrivateKey, text: str) -> str:
    """ECDSA with SHA-256 over the text, DER, base64."""
    return base64.b64encode(key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))).decode()
