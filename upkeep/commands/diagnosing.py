"""`upkeep doctor`: what is missing or misconfigured on this controller."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement
from sqlalchemy import make_url

from upkeep.audit.verifying import verify_history
from upkeep.console.screen import coloured, screen
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import AuditError
from upkeep.settings import Settings
from upkeep.wiring import site

FEWEST_FILES = 1024
LEAST_FREE_BYTES = 1 << 30


def doctor() -> int:
    """Print the findings; 1 when one of them fails."""
    settings = Settings.from_environment()
    findings = [check(settings) for check in _CHECKS]
    console = screen()
    for finding in findings:
        mark = {Verdict.PASS: "passed", Verdict.WARN: "set aside"}.get(finding.verdict, "failed")
        console.print(f"{coloured(mark).replace(mark, finding.verdict.value):<8} {finding.check}: {finding.reason}")
        if finding.remedy:
            console.print(f"         do: {finding.remedy}", markup=False)
    return 1 if any(finding.blocks for finding in findings) else 0


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return _finding(
        "controller.python", good, f"Python {version}, 3.11 or newer is needed", "install Python 3.11 or newer"
    )


def _packages(_: Settings) -> Finding:
    wrong = []
    for text in importlib.metadata.requires("upkeep") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "lab"}):
            continue
        installed = importlib.metadata.version(requirement.name)
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} (needs {requirement.specifier})")
    reason = f"wrong versions: {', '.join(wrong)}" if wrong else "every package is in the range that was tried"
    return _finding("controller.packages", not wrong, reason, "run `uv sync --locked --all-extras`")


def _history(settings: Settings) -> Finding:
    here = site()
    try:
        state = verify_history(here.history, here.checkpoints.copies, here.checkpoints.keys.publics())
    except AuditError as error:
        return _finding(
            "history.store", good=False, reason=str(error), remedy="free the database, or set UPKEEP_DATABASE_URL"
        )
    said = "; ".join([f"{make_url(settings.database_url).render_as_string()}: {state.reason}", *state.notes])
    bad = Verdict.WARN if state.ok else Verdict.FAIL
    return _finding("history.store", state.ok and not state.notes, said, "see `upkeep history verify`", bad=bad)


def _home(settings: Settings) -> Finding:
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(settings.home).free
    good = free >= LEAST_FREE_BYTES and os.access(settings.home, os.W_OK)
    return _finding(
        "controller.home",
        good,
        f"{settings.home} has {free >> 20} MiB to spare",
        "backups and history need room: set UPKEEP_HOME",
    )


def _open_files(_: Settings) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reason = f"{soft} open files allowed (hard limit {hard}); each host in work needs about 3"
    return _finding("controller.open_files", soft >= FEWEST_FILES, reason, "ulimit -n 4096", bad=Verdict.WARN)


def _known_hosts(_: Settings) -> Finding:
    path = Path.home() / ".ssh" / "known_hosts"
    reason = f"{path} {'is there' if path.exists() else 'is missing'}; hosts whose key is not known are refused"
    return _finding(
        "controller.known_hosts",
        path.exists(),
        reason,
        "ssh-keyscan HOST >> ~/.ssh/known_hosts, after comparing",
        bad=Verdict.WARN,
    )


def _trust_store(_: Settings) -> Finding:
    count = len(ssl.create_default_context().get_ca_certs())
    return _finding(
        "controller.ca_certificates",
        count > 0,
        f"{count} certificate authorities",
        "apt-get install ca-certificates",
        bad=Verdict.WARN,
    )


def _finding(check: str, good: bool, reason: str, remedy: str, *, bad: Verdict = Verdict.FAIL) -> Finding:  # noqa: FBT001 - reads as a sentence
    return Finding(check=check, verdict=Verdict.PASS if good else bad, reason=reason, remedy="" if good else remedy)


_CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    _python,
    _packages,
    _home,
    _history,
    _open_files,
    _known_hosts,
    _trust_store,
)
