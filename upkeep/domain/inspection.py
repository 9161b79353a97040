"""Inspections over time and over the fleet: what is new, what stands out, what runs towards a limit, what drifted."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import AwareDatetime, Field

from upkeep.domain.check import Catalogue, Check
from upkeep.domain.document import Document
from upkeep.domain.finding import Finding, Verdict

COHORT_LEAST = 5
"""Fewer hosts are no crowd to stand out from."""

_FAR, _FAR_SHARE, _FAR_LEAST = 6.0, 0.5, 5.0
_AGREE_PCT = 80
_TREND_LEAST = 4
_TREND_SPAN = timedelta(hours=12)
_FIT_LEAST = 0.8
ANY_HOST = "all"

T = TypeVar("T")


class Looked(Document):
    """One host at one inspection, as it is kept: what was not good in full, of the rest only figures and fingerprints."""

    host: str
    at: AwareDatetime
    cohort: str = ""
    problems: tuple[Finding, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)
    prints: dict[str, str] = Field(default_factory=dict)
    version: str = Field("", description="What the running agent reports")
    passed: int = 0

    def with_problems(self, more: Iterable[Finding]) -> Looked:
        """The same with what only came out by comparing."""
        added = tuple(more)
        return self.model_copy(update={"problems": (*self.problems, *added)}) if added else self


def looked(host: str, cohort: str, version: str, findings: Sequence[Finding], at: datetime) -> Looked:
    """What is kept of a host's findings."""
    return Looked(
        host=host,
        at=at,
        cohort=cohort,
        version=version,
        problems=tuple(finding for finding in findings if finding.verdict is not Verdict.PASS),
        figures={finding.key: round(finding.value, 4) for finding in findings if finding.value is not None},
        prints={f.key: f.signatures[0] for f in findings if f.signatures and f.verdict is Verdict.PASS},
        passed=sum(finding.verdict is Verdict.PASS for finding in findings),
    )


@dataclass(frozen=True)
class Left:
    """What the last run that changed a host left on it."""

    at: datetime
    version: str = ""


def over_time(catalogue: Catalogue, now: Looked, earlier: Sequence[Looked], left: Left | None = None) -> list[Finding]:
    """Counters that grew since last time, figures that run towards a limit, and what drifted; `earlier` oldest first."""
    found = [*_grown(catalogue, now, earlier), *_unseen(catalogue, now, earlier), *_forecast(catalogue, now, earlier)]
    return [*found, *_drifted(catalogue, now, earlier, left)]


def _grown(catalogue: Catalogue, now: Looked, earlier: Sequence[Looked]) -> Iterable[Finding]:
    before = earlier[-1].figures if earlier else {}
    for key, value in now.figures.items() if before else ():
        grew = value - before.get(key, value)
        check = _check(catalogue, key) if grew > 0 else None
        if check and check.counts_up:
            since = f"{earlier[-1].at:%Y-%m-%d %H:%M} UTC"
            reason = f"{grew:g} more since {since} ({_said(check, key, value)})"
            yield _finding(check, key, Verdict(check.severity), reason, check.remedy, value=value)


def _unseen(catalogue: Catalogue, now: Looked, earlier: Sequence[Looked]) -> Iterable[Finding]:
    """Kinds that no earlier look saw, told once; the first look knows nothing of what is new."""
    if not earlier:
        return
    seen = {key for look in earlier for key in look.figures}
    for key, value in now.figures.items():
        check = _check(catalogue, key) if key not in seen else None
        if check and check.new:
            yield _finding(
                check, key, Verdict(check.severity), f"new: {_said(check, key, value)}", check.remedy, value=value
            )


def _said(check: Check, key: str, value: float) -> str:
    return (
        check.says.replace("{value}", f"{value:g}").replace("{subject}", _subject(key)).replace("{detail}", "").strip()
    )


def _forecast(catalogue: Catalogue, now: Looked, earlier: Sequence[Looked]) -> Iterable[Finding]:
    if len(earlier) + 1 < _TREND_LEAST:
        return
    for key, value in now.figures.items():
        check = _check(catalogue, key)
        if check is None or check.trend is None:
            continue
        points = [(one.at, one.figures[key]) for one in (*earlier, now) if key in one.figures]
        days = days_until(check.trend.reaches, points)
        if days is not None and days <= check.trend.within_days:
            reason = f"{value:g} {check.unit} now; as it goes, {check.trend.reaches:g} {check.unit} in {days:.0f} days"
            subject = f"{_subject(key)} trend".strip()
            yield _finding(check, f"{check.id}:{subject}", Verdict.WARN, reason, check.remedy, value=days, unit="d")


def days_until(reaches: float, points: Sequence[tuple[datetime, float]]) -> float | None:
    """Days from the last point until a straight line through all of them reaches a figure.

    None: too few points or too short a time, no clear line, or it goes the other way.
    """
    if len(points) < _TREND_LEAST or points[-1][0] - points[0][0] < _TREND_SPAN:
        return None
    days = [(at - points[0][0]).total_seconds() / 86400 for at, _ in points]
    values = [value for _, value in points]
    if len(set(values)) == 1:
        return None
    slope, _ = statistics.linear_regression(days, values)
    missing = reaches - values[-1]
    if slope == 0 or missing / slope <= 0 or abs(statistics.correlation(days, values)) < _FIT_LEAST:
        return None
    return missing / slope


def _drifted(catalogue: Catalogue, now: Looked, earlier: Sequence[Looked], left: Left | None) -> Iterable[Finding]:
    if left and left.version and now.version and now.version != left.version:
        yield Finding(
            check="agent.running_version",
            subject="drift",
            verdict=Verdict.WARN,
            reason=f"{now.version} runs; the last run, of {left.at:%Y-%m-%d %H:%M} UTC, left {left.version}",
            remedy="find out who changed it; upkeep history list --host HOST",
        )
    since = [one for one in earlier if left is None or one.at > left.at]
    if not since:
        return
    for key, fingerprint in now.prints.items():
        check, before = _check(catalogue, key), since[0].prints.get(key)
        if check and check.drift and before is not None and before != fingerprint:
            base = (
                f"the last run's state, first seen {since[0].at:%Y-%m-%d %H:%M} UTC"
                if left
                else f"{since[0].at:%Y-%m-%d %H:%M} UTC"
            )
            reason = f"it is not what it was: {before} then ({base}), {fingerprint} now"
            yield _finding(check, f"{check.id}:drift", Verdict.WARN, reason, check.remedy)


def outliers(catalogue: Catalogue, fleet: Sequence[Looked]) -> dict[str, list[Finding]]:
    """Hosts that stand out from those they are alike with, by host."""
    cohorts: dict[str, list[Looked]] = defaultdict(list)
    for one in fleet:
        cohorts[one.cohort].append(one)
    found: dict[str, list[Finding]] = defaultdict(list)
    for members in cohorts.values():
        if len(members) >= COHORT_LEAST:
            for host, finding in (*_odd_figures(catalogue, members), *_odd_prints(catalogue, members)):
                found[host].append(finding)
    return found


def _odd_figures(catalogue: Catalogue, members: Sequence[Looked]) -> Iterable[tuple[str, Finding]]:
    for check, key, having in _crowds(catalogue, ((one.host, one.figures) for one in members)):
        middle = statistics.median(value for _, value in having)
        spread = 1.4826 * statistics.median(abs(value - middle) for _, value in having)
        far = max(_FAR * spread, _FAR_SHARE * abs(middle), _FAR_LEAST)
        for host, value in having:
            if abs(value - middle) > far:
                reason = (
                    f"{value:g} {check.unit}".strip() + f", while {len(having) - 1} hosts like it have about {middle:g}"
                )
                yield host, _peer(check, key, reason)


def _odd_prints(catalogue: Catalogue, members: Sequence[Looked]) -> Iterable[tuple[str, Finding]]:
    for check, key, having in _crowds(catalogue, ((one.host, one.prints) for one in members)):
        usual, number = Counter(fingerprint for _, fingerprint in having).most_common(1)[0]
        if 100 * number < _AGREE_PCT * len(having):
            continue
        for host, fingerprint in having:
            if fingerprint != usual:
                reason = f"{fingerprint}, while {number} of {len(having)} hosts like it have {usual}"
                yield host, _peer(check, key, reason)


def _crowds(
    catalogue: Catalogue, said: Iterable[tuple[str, Mapping[str, T]]]
) -> Iterable[tuple[Check, str, list[tuple[str, T]]]]:
    """What enough hosts said about something that peers are compared by, in one pass over all that was said."""
    by_key: dict[str, list[tuple[str, T]]] = defaultdict(list)
    for host, several in said:
        for key, value in several.items():
            by_key[key].append((host, value))
    for key, having in by_key.items():
        check = _check(catalogue, key) if len(having) >= COHORT_LEAST else None
        if check is not None and check.peers:
            yield check, key, having


def _peer(check: Check, key: str, reason: str) -> Finding:
    subject = f"{_subject(key)} peers".strip()
    return _finding(check, f"{check.id}:{subject}", Verdict.WARN, reason, check.remedy)


class Acknowledgement(Document):
    """A known issue that people need not hear of until a day; `host` may be `all`, `check` an id or id:subject."""

    host: str
    check: str
    until: AwareDatetime
    reason: str = ""
    by: str = ""

    def covers(self, host: str, finding: Finding, now: datetime) -> bool:
        """Whether it holds for a finding of a host now."""
        return self.host in {ANY_HOST, host} and self.check in {finding.check, finding.key} and now < self.until


@dataclass(frozen=True)
class Item:
    """One finding on one host."""

    host: str
    finding: Finding
    known_until: datetime | None = None


@dataclass(frozen=True)
class Changes:
    """An inspection against the one before it."""

    new: tuple[Item, ...] = ()
    still: tuple[Item, ...] = ()
    gone: tuple[Item, ...] = ()
    acknowledged: tuple[Item, ...] = ()
    silent: tuple[str, ...] = field(default=())

    @property
    def changed(self) -> bool:
        """Whether there is anything to tell people."""
        return bool(self.new or self.gone)

    def words(self) -> str:
        """`3 new, 5 still, 2 gone`, and what else there is."""
        text = f"{len(self.new)} new, {len(self.still)} still, {len(self.gone)} gone"
        text += f", {len(self.acknowledged)} known" if self.acknowledged else ""
        return text + (f"; {len(self.silent)} hosts did not answer" if self.silent else "")


def compare(
    before: Mapping[str, Looked],
    now: Mapping[str, Looked],
    known: Sequence[Acknowledgement],
    at: datetime,
    silent: Iterable[str] = (),
    *,
    once: Collection[str] = (),
) -> Changes:
    """What is new, still there and gone. A host that does not answer keeps what it had: not seeing it is no repair.

    Checks that are told `once` tell what came, and that it is no news any more is none.
    """
    new: list[Item] = []
    still: list[Item] = []
    gone: list[Item] = []
    acknowledged: list[Item] = []
    until_by = _known_until(known, at)
    for host, look in now.items():
        had = {finding.key for finding in before[host].problems} if host in before else set()
        for finding in look.problems:
            names = ((where, what) for where in (host, ANY_HOST) for what in (finding.check, finding.key))
            until = max((until_by[name] for name in names if name in until_by), default=None)
            kind = acknowledged if until else still if finding.key in had else new
            kind.append(Item(host, finding, until))
        there = {finding.key for finding in look.problems}
        had_before = before[host].problems if host in before else ()
        gone += [Item(host, one) for one in had_before if one.key not in there and one.check not in once]
    return Changes(tuple(new), tuple(still), tuple(gone), tuple(acknowledged), tuple(sorted(silent)))


def _known_until(known: Iterable[Acknowledgement], at: datetime) -> dict[tuple[str, str], datetime]:
    """Until when what is known by host and check stays so, of what is known now."""
    found: dict[tuple[str, str], datetime] = {}
    for one in known:
        if at < one.until:
            found[one.host, one.check] = max(one.until, found.get((one.host, one.check), one.until))
    return found


def _check(catalogue: Catalogue, key: str) -> Check | None:
    return catalogue.find(key.partition(":")[0])


def _subject(key: str) -> str:
    return key.partition(":")[2]


def _finding(
    check: Check, key: str, verdict: Verdict, reason: str, remedy: str, *, value: float | None = None, unit: str = ""
) -> Finding:
    subject = _subject(key)
    return Finding(
        check=check.id,
        subject=subject,
        verdict=verdict,
        reason=reason,
        remedy=remedy.replace("{subject}", subject.removesuffix(" trend").removesuffix(" peers")),
        value=value,
        unit=unit,
    )
