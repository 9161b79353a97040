"""The pre-update check: everything that is asked before a host may be changed, in one round trip."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from upkeep.domain.facts import HostFacts
from upkeep.domain.finding import Finding
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.domain.release import Release
from upkeep.hosts.checks import agent, files, network, platform, service, storage
from upkeep.hosts.checks.certificates import tls
from upkeep.hosts.facts import FACTS, read_facts
from upkeep.hosts.question import Answer, Question, ask
from upkeep.hosts.transport import Transport


def check_host(
    transport: Transport,
    profile: AgentProfile,
    plan: Plan,
    release: Release,
    *,
    artifact_size_bytes: int,
    now: datetime,
    run: str = "",
    become: bool = True,
) -> tuple[HostFacts, list[Finding]]:
    """Ask one host; `profile` is filled for it.

    Raises:
        HostError: the host could not be asked at all.
    """
    heard: dict[str, Answer] = {}
    questions = [
        _overheard(q, heard)
        for q in pre_update_questions(profile, plan, release, artifact_size_bytes=artifact_size_bytes, now=now, run=run)
    ]
    findings = ask(transport, [*questions, _facts(heard)], become=become)
    return read_facts(profile, heard), findings


def pre_update_questions(
    profile: AgentProfile,
    plan: Plan,  # noqa: ARG001 - a plan may add questions of its own
    release: Release,
    *,
    artifact_size_bytes: int,
    now: datetime,
    run: str = "",
) -> list[Question]:
    """All questions for one host."""
    return [
        platform.clock(profile.needs, now),
        platform.tools(),
        agent.lock(profile.paths.upkeep, run),
        platform.privilege(profile.paths.upkeep),
        platform.architecture(release),
        service.service(profile.service),
        *(agent.requirement(row) for row in (*profile.compatibility, *release.requires)),
        storage.all_at_once(storage.questions(profile, artifact_size_bytes)),
        platform.memory(profile.needs),
        platform.load(profile.needs),
        *(network.dns(probe) for probe in profile.probes.dns),
        *(network.tcp(probe) for probe in profile.probes.tcp),
        *(network.http(probe) for probe in profile.probes.http),
        *(tls(probe) for probe in profile.probes.tls),
        *(files.file(rule) for rule in profile.files),
        agent.installed(profile.installed_version, release),
        agent.running(profile.running_version),
    ]


def _overheard(question: Question, heard: dict[str, Answer]) -> Question:
    """The same question; its answer is kept for the host's facts as well."""
    judge = question.judge

    def listen(answer: Answer) -> Finding | list[Finding]:
        heard[question.check] = answer
        judged = judge(answer)
        return judged if isinstance(judged, Finding) else list(judged)

    return replace(question, judge=listen)


def _facts(heard: dict[str, Answer]) -> Question:
    def judge(answer: Answer) -> list[Finding]:
        heard["facts"] = answer
        return []

    return Question("host.facts", FACTS, judge, plain=True, bare=True)
