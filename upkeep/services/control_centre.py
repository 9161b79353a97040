"""The control centre: which version a node runs, which policy it has, and whether there is a newer release."""

from __future__ import annotations

import email.utils
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, RootModel, SecretStr, ValidationError

from upkeep.domain.profile import ControlCentre
from upkeep.errors import BadInput, Place, ServiceError, shorten
from upkeep.services.web import Answer, Limits, get, public

_OK, _UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _BROKEN = 200, 401, 403, 404, 429, 500
_TOKEN = re.compile(r"[!-~]+")
_LONGEST_RETRY_AFTER = timedelta(seconds=30)


class _Told(BaseModel):
    """What another system tells: keys that we do not know are its own affair."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class NodeStatus(_Told):
    """One agent as the control centre knows it."""

    id: str
    online: bool
    version: str | None = None
    policy_version: str | None = None
    last_seen: str | None = None
    registered_at: str | None = None


class UpdateOffer(_Told):
    """Whether an agent of the version asked about should be updated, and to what (U1)."""

    required: bool
    version: str | None = None
    download_url: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    manifest_url: str | None = None
    signature_url: str | None = None


class _Policy(_Told):
    version: str


class _Nodes(RootModel[tuple[NodeStatus, ...]]):
    """All nodes."""


Told = TypeVar("Told", bound=BaseModel)


@dataclass(frozen=True)
class Retries:
    """How often to ask, and how long to pause in between: up to `first`, twice as long each time, at most `longest`."""

    attempts: int = 4
    first: timedelta = timedelta(seconds=0.5)
    longest: timedelta = timedelta(seconds=8)
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def pauses(self) -> Iterator[float]:
        """Seconds to pause after each attempt but the last, spread at random so that many do not ask at once."""
        for attempt in range(self.attempts - 1):
            longest = min(self.longest, self.first * 2**attempt)
            yield longest.total_seconds() * (0.5 + self.jitter() / 2)


@dataclass(frozen=True)
class ControlCentreClient:
    """Asks one control centre; safe to use from many threads."""

    url: str
    ca: str | Path = ""
    token: SecretStr | None = None
    limits: Limits = field(default_factory=Limits)
    retries: Retries = field(default_factory=Retries)

    @classmethod
    def of(cls, centre: ControlCentre, environ: Mapping[str, str] | None = None) -> Self:
        """A client for a profile's control centre (placeholders filled), its token from the environment.

        Raises:
            BadInput: the environment variable that should hold the token is not set.
        """
        token = None
        if centre.token_env:
            found = (os.environ if environ is None else environ).get(centre.token_env, "").strip()
            if not _TOKEN.fullmatch(found):
                raise BadInput(
                    f"the environment variable {centre.token_env} holds no token",
                    place=Place("profile", None, "control_centre.token_env"),
                    allowed="printable ASCII without spaces",
                    remedy=f"set {centre.token_env}, or remove token_env",
                )
            token = SecretStr(found)
        return cls(centre.url, centre.ca, token)

    def node(self, node_id: str) -> NodeStatus | None:
        """What is known about a node; None when it has never registered.

        Raises:
            ServiceError: the control centre does not answer, or not as agreed.
        """
        return self._ask(f"/v1/nodes/{quote(node_id, safe='')}", NodeStatus)

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Every node that ever registered.

        Raises:
            ServiceError: the control centre does not answer, or not as agreed.
        """
        nodes = self._ask("/v1/nodes", _Nodes)
        if nodes is None:
            raise ServiceError(f"{public(self.url)}: lists no nodes (/v1/nodes answers 404)")
        return nodes.root

    def policy_version(self) -> str:
        """The version of the policy that every node should have.

        Raises:
            ServiceError: the control centre does not answer, or not as agreed.
        """
        policy = self._ask("/v1/policies/current", _Policy)
        if policy is None:
            raise ServiceError(f"{public(self.url)}: has no current policy (/v1/policies/current answers 404)")
        return policy.version

    def latest(self, version: str) -> UpdateOffer:
        """What an agent of `version` should be updated to.

        Raises:
            ServiceError: the control centre does not answer, or not as agreed.
        """
        offer = self._ask(f"/v1/agent/update?version={quote(version, safe='')}", UpdateOffer)
        if offer is None:
            raise ServiceError(f"{public(self.url)}: offers no updates (/v1/agent/update answers 404)")
        return offer

    def asking_once(self, within: timedelta) -> ControlCentreClient:
        """The same client without retries and with questions no longer than `within`, for callers that ask again anyway."""
        total = min(self.limits.total, max(within, timedelta(seconds=1)))
        return replace(self, limits=replace(self.limits, total=total), retries=Retries(attempts=1))

    def _ask(self, path: str, model: type[Told]) -> Told | None:
        answer = self._answer(path)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status in {_UNAUTHORISED, _FORBIDDEN}:
            raise ServiceError(
                f"{answer.url}: refused us with status {answer.status}; do: check the token that control_centre.token_env names"
            )
        if answer.status != _OK:
            raise ServiceError(f"{answer.url}: answered with status {answer.status}: {_excerpt(answer)}")
        return _understood(answer, model)

    def _answer(self, path: str) -> Answer:
        headers = {"Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        for pause in self.retries.pauses():
            try:
                answer = get(self.url.rstrip("/") + path, headers=headers, ca=self.ca, limits=self.limits)
            except ServiceError:
                self.retries.sleep(pause)
                continue
            if answer.status != _TOO_MANY and answer.status < _BROKEN:
                return answer
            self.retries.sleep(max(pause, retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))))
        return get(self.url.rstrip("/") + path, headers=headers, ca=self.ca, limits=self.limits)


def retry_after(value: str, now: datetime) -> float:
    """Seconds that a Retry-After header asks for, 30 at most; 0 when it says nothing of use."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        seconds = float(value)
    else:
        try:
            seconds = (email.utils.parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER.total_seconds())


def _understood(answer: Answer, model: type[Told]) -> Told:
    if "html" in answer.headers.get("content-type", "").lower() or answer.body.lstrip()[:1] == b"<":
        raise ServiceError(
            f"{answer.url}: answered with a web page instead of JSON, perhaps a login page or a proxy's; "
            "do: check the address and the token"
        )
    try:
        return model.model_validate(json.loads(answer.body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the answer"
        raise ServiceError(f"{answer.url}: not as agreed: {key}: {first['msg'].lower()}") from error
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{answer.url}: the answer is not JSON: {_excerpt(answer)}") from error


def _excerpt(answer: Answer) -> str:
    return shorten(answer.body[:500].decode("utf-8", "replace"), 120)
