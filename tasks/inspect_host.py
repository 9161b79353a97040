"""Looking at one host from end to end, in one round trip, without changing it."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.judge_backups import backup_findings
from tasks.session import HostWork, RunSession
from upkeep.documents import load_catalogue
from upkeep.domain.change import Step
from upkeep.domain.check import Catalogue
from upkeep.domain.finding import Finding
from upkeep.domain.inspection import Looked, looked
from upkeep.hosts.inspection import inspect_host as ask_host
from upkeep.services.node_findings import node_findings
from upkeep.wiring import site

BESIDE_PLAN = "checks.yaml"


@task(name="inspect host", task_run_name="inspect {host}", cache_policy=NO_CACHE)
def inspect_host(session: RunSession, host: str) -> Looked:
    """Ask one host every check of the catalogue.

    Raises:
        StepFailed: the host could not be asked.
    """
    return look(session, host)


def look(session: RunSession, host: str) -> Looked:
    """What a host is like now."""
    work = session.work(host)
    with session.step(host, Step.CHECK) as step:
        now = datetime.now(UTC)
        seen = ask_host(work.transport, work.profile, catalogue_of(session), work.host.variables(), now=now)
        step.body["facts"] = seen.facts.model_dump(mode="json")
    work.transport.close()
    catalogue = catalogue_of(session)
    kept = backup_findings(session.history, host, catalogue.asked("inspection", work.host.variables()), now)
    findings = [*seen.findings, *_from_centre(work, catalogue), *kept]
    zone = work.host.labels.get(session.record.plan.spread_by, "")
    return looked(host, seen.facts.cohort(zone), seen.facts.running_version, findings, now)


def _from_centre(work: HostWork, catalogue: Catalogue) -> list[Finding]:
    """What the control centre says of the host, where the profile names one."""
    wanted = work.profile.control_centre
    told = node_findings(work.centre, wanted.node) if wanted and work.centre else []
    return [finding for finding in told if finding.check not in catalogue.off]


def catalogue_of(session: RunSession) -> Catalogue:
    """Upkeep's checks, the site's, and those beside the run's plan.

    Raises:
        BadInput: a file of checks cannot be used.
    """
    files = (site().settings.checks, Path(session.record.plan_dir) / BESIDE_PLAN)
    return _read(files, tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files))


@functools.lru_cache(maxsize=4)
def _read(files: tuple[Path, ...], _stamps: tuple[int, ...]) -> Catalogue:
    return load_catalogue(files)
