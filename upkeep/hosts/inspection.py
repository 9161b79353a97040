"""One host looked at from end to end, in one round trip, at low priority, without changing anything on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from upkeep.domain.check import CONTROLLER, Catalogue, Check, Purpose
from upkeep.domain.facts import HostFacts
from upkeep.domain.finding import Finding
from upkeep.domain.profile import AgentProfile, TlsProbe
from upkeep.hosts.checks import agent, catalogued, files, metrics, network, platform, service
from upkeep.hosts.checks.certificates import tls
from upkeep.hosts.facts import FACTS, read_facts
from upkeep.hosts.question import Answer, Question, ask, unknown
from upkeep.hosts.transport import Transport

_LOOK = "look."
_CENTRE = "control-centre"


@dataclass(frozen=True)
class Inspected:
    """What a host is and what was found on it."""

    facts: HostFacts
    findings: tuple[Finding, ...]


def inspect_host(
    transport: Transport,
    profile: AgentProfile,
    catalogue: Catalogue,
    variables: Mapping[str, str],
    *,
    now: datetime,
    purpose: Purpose = "inspection",
    recent: timedelta = catalogued.RECENT,
    become: bool = True,
) -> Inspected:
    """Ask one host everything a purpose wants; `profile` is filled for it. What did not answer is unknown, check by check.

    A diagnosis reads the agent's journal of the `recent` time.

    Raises:
        HostError: the host could not be asked at all.
    """
    checks = catalogue.asked(purpose, variables)
    heard: dict[str, Answer] = {}
    asked = [_all_its_time(question) for question in [*_of_profile(profile, now), *catalogued.questions(checks, now)]]
    if purpose == "diagnosis":
        asked += _tls_to_centre(profile, now)
    else:
        asked = [_one_after_the_other(question) for question in asked]
    listening = [_overheard(question, heard) for question in asked]
    facts = Question("facts", FACTS, lambda answer: _keep(heard, answer), plain=True)
    head = f"{catalogued.exported(checks, variables)}\n{catalogued.head(profile, recent)}"
    found = ask(transport, [*listening, facts], become=become, head=head)
    findings = [finding for finding in found if finding.check not in catalogue.off]
    return Inspected(_facts(profile, heard), tuple(_complete(checks, findings)))


def _of_profile(profile: AgentProfile, now: datetime) -> list[Question]:
    """What every agent profile asks for by itself."""
    probes = profile.probes
    return [
        platform.clock(profile.needs, now),
        replace(service.service(profile.service), script=catalogued.UNIT_SHOWN),
        agent.running(profile.running_version),
        *(network.http(probe) for probe in probes.http),
        *(network.tcp(probe) for probe in probes.tcp),
        *(network.dns(probe) for probe in probes.dns),
        *(tls(probe, now) for probe in probes.tls),
        *(network.command(probe) for probe in probes.command),
        *(metrics.metric(wanted) for wanted in profile.metrics),
        *(files.file(rule) for rule in profile.files),
    ]


def _tls_to_centre(profile: AgentProfile, now: datetime) -> list[Question]:
    """The control centre's certificates, where no probe of the profile asks for them already."""
    if profile.control_centre is None or any(probe.id == _CENTRE for probe in profile.probes.tls):
        return []
    address, port = catalogued.address_of(profile.control_centre.url)
    return [tls(TlsProbe(id=_CENTRE, address=address, port=port, ca=profile.control_centre.ca), now)]


def _one_after_the_other(question: Question) -> Question:
    """Side by side is sooner for one host; in one shell it costs the host half, and nobody waits for an inspection."""
    return replace(question, plain=True, slow=False, late=True) if question.slow else question


def _all_its_time(question: Question) -> Question:
    """An inspection asks so much that some seconds for all the network's answers would seldom do."""
    return replace(question, soon=False)


def _complete(checks: Sequence[Check], findings: Sequence[Finding]) -> list[Finding]:
    """Every check has its finding: those of a look that stayed silent are unknown one by one."""
    silent = {
        finding.check.removeprefix(_LOOK): finding.reason for finding in findings if finding.check.startswith(_LOOK)
    }
    told = [finding for finding in findings if not finding.check.startswith(_LOOK)]
    there = {finding.check for finding in told}
    asked = (check for check in checks if not check.built_in and check.look != CONTROLLER)
    missing = [check for check in asked if check.id not in there]
    return told + [unknown(check.id, "", silent.get(check.look, "no answer came back")) for check in missing]


def _overheard(question: Question, heard: dict[str, Answer]) -> Question:
    judge = question.judge

    def listen(answer: Answer) -> Finding | Sequence[Finding]:
        heard[question.check] = answer
        return judge(answer)

    return replace(question, judge=listen)


def _keep(heard: dict[str, Answer], answer: Answer) -> list[Finding]:
    heard["facts"] = answer
    return []


def _facts(profile: AgentProfile, heard: Mapping[str, Answer]) -> HostFacts:
    """As of the pre-update check; an inspection asks the running agent for its version, not the installed one."""
    facts = read_facts(profile, heard)
    return facts.model_copy(update={"installed_version": facts.installed_version or facts.running_version})
