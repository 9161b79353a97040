"""One agent as its control centre sees it: online, heartbeat, policy, registration record. Asked once, without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import ServiceError, shorten
from upkeep.services.control_centre import ControlCentreClient, NodeStatus

SEEN, REGISTERED, RECORD, HEARTBEAT, POLICY = (
    *("centre.seen", "centre.registered", "centre.record", "centre.heartbeat", "centre.policy"),
)
MISSED = timedelta(seconds=180)
"""Three heartbeats of the longest sane interval, 60 s (C3)."""

_ASKED_WITHIN = timedelta(seconds=8)
_LOOK = "look at the control centre and at the controller's way to it"


def node_findings(client: ControlCentreClient, node: str, now: datetime | None = None) -> list[Finding]:
    """What the control centre says of a node; nothing it does not say counts as good."""
    asking = client.asking_once(_ASKED_WITHIN)
    try:
        status = asking.node(node)
        policy = asking.policy_version()
    except ServiceError as error:
        why = f"the control centre does not answer the controller: {shorten(str(error))}"
        seen = Finding(check=SEEN, verdict=Verdict.FAIL, reason=why, remedy=_LOOK)
        unknown = "the control centre does not answer, so nothing is known"
        rest = (
            Finding(check=c, verdict=Verdict.UNKNOWN, reason=unknown, remedy=_LOOK)
            for c in (REGISTERED, HEARTBEAT, POLICY, RECORD)
        )
        return [seen, *rest]
    found = [Finding(check=SEEN, verdict=Verdict.PASS, reason="the control centre answers the controller")]
    if status is None:
        remedy = "look at the agent's journal for registration errors: address, TLS trust, clock, device key"
        reason = f"the control centre knows no agent '{node}'"
        return [*found, Finding(check=REGISTERED, verdict=Verdict.FAIL, reason=reason, remedy=remedy)]
    return [
        *found,
        _online(status),
        _heartbeat(status, now or datetime.now(UTC)),
        _policy(status, policy),
        _record(status),
    ]


def _online(status: NodeStatus) -> Finding:
    if status.online:
        return Finding(check=REGISTERED, verdict=Verdict.PASS, reason=f"{status.id} is registered and online")
    return Finding(
        check=REGISTERED,
        verdict=Verdict.FAIL,
        reason=f"{status.id} is offline, last seen {status.last_seen or 'never'}",
        remedy="find out why: upkeep run connection_diagnosis",
    )


def _heartbeat(status: NodeStatus, now: datetime) -> Finding:
    try:
        at = datetime.fromisoformat(status.last_seen or "")
    except ValueError:
        reason = f"the last heartbeat's time cannot be read: {status.last_seen or 'none'}"
        return Finding(check=HEARTBEAT, verdict=Verdict.UNKNOWN, reason=reason, remedy="look at the control centre")
    age = now - (at if at.tzinfo else at.replace(tzinfo=UTC))
    good = age <= MISSED
    return Finding(
        check=HEARTBEAT,
        verdict=Verdict.PASS if good else Verdict.FAIL,
        reason=f"the last heartbeat is {age.total_seconds():.0f} s old, at most {MISSED.total_seconds():.0f} s is accepted",
        remedy="" if good else "find out why: upkeep run connection_diagnosis",
        value=age.total_seconds(),
        unit="s",
    )


def _policy(status: NodeStatus, current: str) -> Finding:
    good = status.policy_version == current
    reason = f"policy {status.policy_version or 'none'} is in place, the current one is {current}"
    remedy = "see whether the agent can fetch policies; restart it if it does not try"
    return Finding(
        check=POLICY, verdict=Verdict.PASS if good else Verdict.WARN, reason=reason, remedy="" if good else remedy
    )


def _record(status: NodeStatus) -> Finding:
    parts = ("version", "policy_version", "last_seen", "registered_at")
    missing = [name for name in parts if not getattr(status, name)]
    if not missing:
        return Finding(check=RECORD, verdict=Verdict.PASS, reason="the registration record is complete")
    reason = f"the registration record lacks {', '.join(missing)}"
    return Finding(check=RECORD, verdict=Verdict.WARN, reason=reason, remedy="let the agent register anew: restart it")
