"""Whether an agent came back to its control centre after a change: registered, right version, right policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from upkeep.domain.document import words
from upkeep.domain.finding import Finding, Verdict, worst
from upkeep.domain.version import Version
from upkeep.errors import ServiceError, shorten
from upkeep.services.control_centre import ControlCentreClient, NodeStatus

REGISTERED, VERSION, POLICY = "centre.registered", "centre.version", "centre.policy"

_LOOK_AT_CENTRE = "look at the control centre and the controller's way to it"


def registration_findings(
    client: ControlCentreClient,
    node: str,
    expected_version: str,
    within: timedelta,
    *,
    every: timedelta = timedelta(seconds=2),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Finding]:
    """Ask until the node is online with the expected version and the current policy, or until `within` has passed.

    The last look counts: a control centre that stops answering makes the findings unknown, never good.
    """
    asking, started = client.asking_once(within), clock()
    deadline = started + within.total_seconds()
    while True:
        findings = _look(asking, node, expected_version, words(within))
        left = deadline - clock()
        if worst(findings) is Verdict.PASS or left <= 0:
            return findings
        sleep(min(every.total_seconds(), left))


@dataclass(frozen=True)
class _Seen:
    """One look at a node, to be judged."""

    node: str
    status: NodeStatus | None
    within: str

    @property
    def evidence(self) -> str:
        return self.status.model_dump_json() if self.status else f"the control centre knows no node '{self.node}'"


def _look(client: ControlCentreClient, node: str, expected_version: str, within: str) -> list[Finding]:
    try:
        seen = _Seen(node, client.node(node), within)
    except ServiceError as error:
        return [_unknown(check, error) for check in (REGISTERED, VERSION, POLICY)]
    return [_registered(seen), _version(seen, expected_version), _policy(seen, client)]


def _registered(seen: _Seen) -> Finding:
    if seen.status is not None and seen.status.online:
        return _passed(REGISTERED, f"{seen.node} is registered and online", seen)
    how = "not registered" if seen.status is None else f"offline, last seen {seen.status.last_seen or 'never'}"
    remedy = "look at the agent's journal for registration errors: address, TLS trust, clock, device key"
    return _failed(REGISTERED, f"{seen.node} is {how} {seen.within} after the change", seen, remedy)


def _version(seen: _Seen, expected: str) -> Finding:
    reported = seen.status.version if seen.status else None
    if reported is not None and _same_version(reported, expected):
        return _passed(VERSION, f"the control centre sees version {reported}", seen)
    reason = f"the control centre sees version {reported or 'none'}, it should be {expected}"
    return _failed(VERSION, reason, seen, "see whether the new agent runs and has sent a heartbeat since")


def _policy(seen: _Seen, client: ControlCentreClient) -> Finding:
    try:
        current = client.policy_version()
    except ServiceError as error:
        return _unknown(POLICY, error)
    has = seen.status.policy_version if seen.status else None
    if has == current:
        return _passed(POLICY, f"policy version {current} is in place", seen)
    reason = f"the node has policy version {has or 'none'}, the current one is {current}"
    return _failed(POLICY, reason, seen, "see whether the agent can fetch policies; restart it if it does not try")


def _same_version(one: str, other: str) -> bool:
    try:
        return Version.parse(one) == Version.parse(other)
    except ValueError:
        return one.strip() == other.strip()


def _passed(check: str, reason: str, seen: _Seen) -> Finding:
    return Finding(check=check, verdict=Verdict.PASS, reason=reason, evidence=seen.evidence)


def _failed(check: str, reason: str, seen: _Seen, remedy: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, reason=reason, evidence=seen.evidence, remedy=remedy)


def _unknown(check: str, error: ServiceError) -> Finding:
    reason = "the control centre does not answer as it should, so nothing is known"
    return Finding(
        check=check, verdict=Verdict.UNKNOWN, reason=reason, evidence=shorten(str(error)), remedy=_LOOK_AT_CENTRE
    )
