"""What the desk sends when a ticket changes: signed as its product signs, sent again until somebody takes it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from upkeep.domain.ticket_source import Scheme
from upkeep.lab.tickets.store import DeskTicket

_TAKEN, _NOT_OURS = 300, frozenset({400, 401, 404, 413})
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Target:
    """Where webhooks go, and how they are signed."""

    url: str
    secret: str
    scheme: Scheme


def signed(target: Target, ticket: DeskTicket, kind: str) -> tuple[bytes, dict[str, str]]:
    """A body and its headers, made once: what is sent again is the same."""
    delivery, stamp = str(uuid.uuid4()), str(int(time.time()))
    number = {"issue": {"key": ticket.id}} if kind == "jira" else {"ticket": ticket.id}
    body = json.dumps({**number, "state": ticket.state, "id": delivery, "timestamp": stamp}).encode()
    headers = {"Content-Type": "application/json"}
    if target.scheme == "token":
        return body, headers | {"X-Upkeep-Token": target.secret}
    if target.scheme == "hub":
        digest = hmac.new(target.secret.encode(), body, hashlib.sha256).hexdigest()
        return body, headers | {"X-Hub-Signature": f"sha256={digest}", "X-Atlassian-Webhook-Identifier": delivery}
    whole = target.secret.startswith("whsec_")
    key = base64.b64decode(target.secret.removeprefix("whsec_")) if whole else target.secret.encode()
    digest = base64.b64encode(hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
    return body, headers | {"webhook-id": delivery, "webhook-timestamp": stamp, "webhook-signature": f"v1,{digest}"}


class Sender:
    """Sends in the order of the changes, each until it is taken."""

    def __init__(self, target: Target, kind: str, said: Callable[[str], object] = lambda _: None) -> None:
        self._target, self._kind, self._said = target, kind, said
        self._waiting: queue.SimpleQueue[DeskTicket | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._thread.start()

    def heard(self, ticket: DeskTicket) -> None:
        """A ticket has changed."""
        self._waiting.put(ticket)

    def close(self) -> None:
        """Send no more."""
        self._ended.set()
        self._waiting.put(None)
        self._thread.join(10)

    def _work(self) -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            while (ticket := self._waiting.get()) is not None:
                self._send(client, ticket)

    def _send(self, client: httpx.Client, ticket: DeskTicket) -> None:
        body, headers = signed(self._target, ticket, self._kind)
        pause, told = 0.2, False
        while not self._ended.is_set():
            try:
                status = client.post(self._target.url, content=body, headers=headers).status_code
            except httpx.HTTPError as error:
                if not told:
                    self._said(f"{ticket.id}: {self._target.url} does not answer ({error}); sent again until it does")
                told = True
            else:
                if status < _TAKEN or status in _NOT_OURS:
                    self._said(f"{ticket.id} is in state {ticket.state}: webhook sent, answered {status}")
                    return
            self._ended.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
