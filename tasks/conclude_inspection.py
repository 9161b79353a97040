"""What an inspection comes to: compared with last time and with peers, written down, reported, told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from tasks.board import publish_report
from tasks.inspect_host import catalogue_of
from tasks.isolate import isolate
from tasks.session import RunSession
from upkeep.audit.inspections import CONCLUDED, earlier_looks, keep_looks, known_issues, left_by_runs
from upkeep.audit.of_hosts import result_of
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import blockers
from upkeep.domain.inspection import Changes, Looked, compare, outliers, over_time
from upkeep.domain.notification import INSPECTED
from upkeep.reports.inspection import Inspected, html, markdown, summary
from upkeep.wiring import site


class Inspection:
    """The looks of one run; safe to use from many threads."""

    def __init__(self, session: RunSession) -> None:
        self.session = session
        self.looks: dict[str, Looked] = {}
        self._lock = threading.Lock()

    def take(self, look: Looked) -> HostResult:
        """Keep a look; what it means for the host comes out when all are there."""
        with self._lock:
            self.looks[look.host] = look
        return HostResult(outcome=HostOutcome.PASSED, from_version=look.version or None)

    @staticmethod
    def did_not_answer(result: HostResult) -> bool:
        """Whether a result needs no comparing: the host was not looked at."""
        return result.outcome is not HostOutcome.PASSED


def conclude(inspection: Inspection, results: Mapping[str, HostResult]) -> tuple[RunOutcome, str]:
    """Compare, keep, report and tell; the run's outcome and its reason."""
    session = inspection.session
    now, history, run = datetime.now(UTC), session.history, session.record.id
    catalogue, hosts = catalogue_of(session), set(inspection.looks)
    earlier, left = earlier_looks(history, run, hosts), left_by_runs(history, hosts)
    looks = dict(sorted(inspection.looks.items()))
    odd = outliers(catalogue, list(looks.values()))
    for name, look in looks.items():
        more = over_time(catalogue, look, earlier.get(name, []), left.get(name))
        looks[name] = look.with_problems([*more, *odd.get(name, [])])
    keep_looks(history, run, looks.values())
    silent = {name: result.reason for name, result in results.items() if Inspection.did_not_answer(result)}
    before = {name: several[-1] for name, several in earlier.items() if several}
    once = {check.id for check in catalogue.checks if check.new}
    changes = compare(before, looks, known_issues(history), now, silent, once=once)
    _conclude_hosts(session, looks, changes)
    isolated = isolate(session, _without_known(looks, changes), earlier)
    plan = session.record.plan.name
    about = Inspected(run, plan, now, catalogue, looks, changes, earlier, silent, isolated.lines)
    _report(session, about, changed=changes.changed or bool(isolated.done))
    told = "; ".join([changes.words(), *isolated.lines])
    return _outcome(changes, answered=bool(looks)), f"{INSPECTED}{told}"


def _without_known(looks: Mapping[str, Looked], changes: Changes) -> dict[str, Looked]:
    """What people know of already is theirs: no host goes out of service for it."""
    known = {(item.host, item.finding.key) for item in changes.acknowledged}
    left = {name: tuple(f for f in look.problems if (name, f.key) not in known) for name, look in looks.items()}
    return {name: look.model_copy(update={"problems": left[name]}) for name, look in looks.items()}


def _conclude_hosts(session: RunSession, looks: Mapping[str, Looked], changes: Changes) -> None:
    known = {(item.host, item.finding.key) for item in changes.acknowledged}
    told = []
    for name, look in looks.items():
        bad = blockers(finding for finding in look.problems if (name, finding.key) not in known)
        result = _result(look, [f"{f.key}: {f.reason}" for f in bad], bad[0].remedy if bad else "")
        told.append(result_of(name, result))
    session.history.of_hosts(session.record.id, told)


def _result(look: Looked, bad: list[str], remedy: str) -> HostResult:
    version = look.version or None
    if not bad:
        warned = f"{len(look.problems)} warnings or known issues" if look.problems else ""
        return HostResult(outcome=HostOutcome.PASSED, from_version=version, reason=warned)
    more = f" (and {len(bad) - 1} more findings)" if len(bad) > 1 else ""
    return HostResult(
        outcome=HostOutcome.FAILED,
        failure_class=FailureClass.VERIFY,
        from_version=version,
        reason=f"{bad[0]}{more}",
        remedy=remedy,
    )


def _report(session: RunSession, about: Inspected, *, changed: bool) -> None:
    """The HTML file on this controller, the artifact in Prefect, and the event people are told from."""
    folder = site().settings.reports
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, page = folder / f"{about.run}.html", str(session.history.clean(html(about)))
    path.write_text(page, encoding="utf-8")
    publish_report(session, markdown(about), name="inspection")
    body = {
        "words": about.changes.words(),
        "changed": changed,
        "isolated": list(about.isolated),
        "report": str(path),
        "report_sha256": hashlib.sha256(page.encode()).hexdigest(),
        "hosts": dict(about.counted),
    }
    session.history.record(about.run, CONCLUDED, reason=f"{summary(about)}\nreport: {path}", body=body)


def _outcome(changes: Changes, *, answered: bool) -> RunOutcome:
    bad = [item for item in (*changes.new, *changes.still) if item.finding.blocks]
    if bad or not answered:
        return RunOutcome.FAILED
    return RunOutcome.WITH_EXCEPTIONS if changes.silent else RunOutcome.SUCCEEDED
