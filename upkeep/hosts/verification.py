"""Verification: what is asked before a change as its baseline, after it until the host is well, and while its stage is watched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks import agent, network
from upkeep.hosts.checks.log import errors
from upkeep.hosts.checks.metrics import lasting, metric
from upkeep.hosts.checks.service import service
from upkeep.hosts.checks.stability import STABLE, settled, watch
from upkeep.hosts.question import Question, ask
from upkeep.hosts.transport import Transport

LOG_BEFORE = timedelta(minutes=15)
"""How far back the baseline looks into the agent's journal."""

LOOK_BACK_MARGIN = timedelta(seconds=2)


def baseline(
    transport: Transport, profile: AgentProfile, plan: Plan, *, expected_version: str = "", become: bool = True
) -> list[Finding]:
    """How the host is right now; only what gets worse than this is blamed on a change.

    Raises:
        HostError: the host could not be asked at all.
    """
    return ask(
        transport,
        _questions(profile, plan, since=f"-{LOG_BEFORE.total_seconds():.0f}", expected_version=expected_version),
        become=become,
    )


def watch_healthy(
    transport: Transport,
    profile: AgentProfile,
    plan: Plan,
    *,
    expected_version: str,
    baseline: Sequence[Finding] = (),
    become: bool = True,
) -> list[Finding]:
    """Wait on the host until the agent has been up without a restart for the healthy time, then ask everything.

    Ends early when the unit failed or keeps crashing. A figure that is worse is asked again before it counts.
    The log is read from the watched process's own start.

    Raises:
        HostError: the host could not be asked.
    """
    reply = watch(transport, profile, plan, become=become)
    stable = settled(profile.service.unit, plan, reply)
    questions = _questions(profile, plan, since="start", expected_version=expected_version)
    if stable.verdict is not Verdict.PASS:
        evidence = ask(transport, [q for q in questions if q.check in {"service.loaded", "log.errors"}], become=become)
        return [stable, *evidence]
    return [stable, *lasting(transport, profile, baseline, ask(transport, questions, become=become), become=become)]


def soak_look(transport: Transport, profile: AgentProfile, plan: Plan, *, become: bool = True) -> list[Finding]:
    """A cheap look while the stage is watched: running, not restarted, answering, no new kind of error in the log.

    Raises:
        HostError: the host could not be asked.
    """
    wanted = [
        service(profile.service),
        errors(profile, plan, since="start"),
        *(network.http(p) for p in profile.probes.http),
    ]
    return ask(transport, wanted, become=become)


def last_look(
    transport: Transport, profile: AgentProfile, plan: Plan, *, expected_version: str, become: bool = True
) -> list[Finding]:
    """Everything that is asked after a change, once; the log is read from the agent's own start.

    Raises:
        HostError: the host could not be asked.
    """
    return ask(transport, _questions(profile, plan, since="start", expected_version=expected_version), become=become)


def _questions(profile: AgentProfile, plan: Plan, *, since: str, expected_version: str = "") -> list[Question]:
    probes = profile.probes
    return [
        service(profile.service),
        agent.running(profile.running_version, expected_version),
        errors(profile, plan, since=since),
        *(network.http(probe) for probe in probes.http),
        *(network.tcp(probe) for probe in probes.tcp),
        *(network.dns(probe) for probe in probes.dns),
        *(network.command(probe) for probe in probes.command),
        *(metric(wanted) for wanted in profile.metrics),
    ]


__all__ = ["STABLE", "baseline", "last_look", "soak_look", "watch_healthy"]
