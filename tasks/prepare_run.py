"""Everything that can be known before a host is touched: documents, release, archives, keys. Freezes the run."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tasks.deliveries import Archive
from tasks.judge_delivery import judge_delivery, pull_url
from tasks.note_documents import note_documents
from tasks.open_files import files_needed, make_room
from tasks.repair_files import refuse_missing_files
from tasks.session import RunSession
from upkeep.audit.reading import RunDetail
from upkeep.documents import load_inventory, load_plan, load_profile, profile_path
from upkeep.domain.change import HostOutcome
from upkeep.domain.document import words
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile, Trust
from upkeep.domain.record import Actor, RunRecord, RunRequest, subject_hash
from upkeep.domain.selector import Selector
from upkeep.domain.stages import Candidate, plan_stages
from upkeep.errors import BadInput, ChecksumMismatch, Refused, UntrustedRelease
from upkeep.hosts.ssh_target import SshTarget
from upkeep.process import this_process
from upkeep.services.archives import inspect
from upkeep.services.releases import TrustedRelease, fetch_artifact, read_release
from upkeep.wiring import Site

RETRIED = frozenset({HostOutcome.FAILED, HostOutcome.SET_ASIDE, HostOutcome.BLOCKED, HostOutcome.NOT_STARTED})

WITHOUT_RELEASE = frozenset({"health_inspection", "connection_diagnosis"})
"""Runbooks that look at hosts whatever they are to become: an expired release must not keep anybody from looking."""

_UNDONE = frozenset({HostOutcome.COMMITTED})
_AIDED = RETRIED - {HostOutcome.NOT_STARTED} | {HostOutcome.ROLLED_BACK}
KINDS: dict[str, Literal["schedule", "ticket"]] = {"schedule": "schedule", "webhook": "ticket"}


@dataclass(frozen=True)
class Prepared:
    """A run that may be opened."""

    record: RunRecord
    targets: Mapping[str, SshTarget]
    archives: tuple[Archive, ...] = field(default=())


def prepare(
    site: Site, runbook: str, request: RunRequest, *, with_archives: bool = True, flow_run_id: str = ""
) -> Prepared:
    """Read and judge all that a request names. Touches no host and writes nothing but the artifact cache.

    Raises:
        BadInput: a document, release, archive or key cannot be used.
        Refused: an earlier run cannot be retried or undone.
    """
    subject = _earlier(site, runbook, request) if request.of_run else _from_files(request)
    inventory = {host.name: host for host in subject.inventory}
    for host in subject.hosts:
        site.profile_for(subject.profile, host)
    if not request.of_run:
        plan_stages(subject.plan, [Candidate(host, cohort="") for host in subject.hosts])
    targets = site.targets(subject.hosts, inventory)
    make_room(files_needed(targets.values(), at_once=subject.plan.at_once))
    trusted = None if runbook in WITHOUT_RELEASE else _release(site, subject)
    archives = _archives(site, subject.profile, subject.plan, trusted) if with_archives and trusted else ()
    judge_delivery(site, subject.plan, archives, targets)
    refuse_missing_files(runbook, subject.plan, subject.plan_dir)
    record = _record(site, runbook, request, subject, trusted).model_copy(update={"flow_run_id": flow_run_id})
    return Prepared(record, targets, archives)


def prepare_again(site: Site, detail: RunDetail) -> Prepared:
    """What `prepare` handed out when this run was opened; the release is judged as of then.

    Raises:
        BadInput, Refused: the release, its archives or a key cannot be had any more, or are others now.
    """
    subject = _of_run(detail, detail.record.targets)
    targets = site.targets(subject.hosts, {host.name: host for host in subject.inventory})
    make_room(files_needed(targets.values(), at_once=subject.plan.at_once))
    if detail.runbook in WITHOUT_RELEASE:
        return Prepared(detail.record, targets)
    trusted = _release(site, subject, now=detail.started_at)
    return Prepared(detail.record, targets, _archives(site, subject.profile, subject.plan, trusted))


def open_session(site: Site, prepared: Prepared) -> RunSession:
    """Write the run's opening into the history and hand out what its steps share."""
    site.history.open_run(prepared.record)
    note_documents(site, prepared.record)
    release = prepared.record.release
    if release is not None and not prepared.record.dry_run:
        for key_id in prepared.record.key_ids:
            site.history.note_release(
                f"{release.product}/{release.channel}", key_id, release.release_seq, prepared.record.id
            )
    return RunSession(site, prepared.record, prepared.targets, prepared.archives)


@dataclass(frozen=True)
class _Subject:
    """What a run is about, from files or from an earlier run."""

    plan: Plan
    plan_dir: Path
    profile: AgentProfile
    profile_dir: Path
    hosts: tuple[Host, ...]
    inventory: tuple[Host, ...]
    earlier: RunDetail | None = None


def _from_files(request: RunRequest) -> _Subject:
    for name, value in (("inventory", request.inventory), ("plan", request.plan)):
        if not value:
            raise BadInput(f"no {name} was named", allowed="a file", remedy=f"give -{name[0]} FILE")
    inventory = load_inventory(Path(request.inventory)).all_hosts()
    plan_path = Path(request.plan).absolute()
    plan = load_plan(plan_path, request.settings)
    profile_file = profile_path(plan.profile, plan_path)
    hosts = _chosen(plan, request.hosts, inventory)
    return _Subject(
        plan, plan_path.parent, load_profile(plan.profile, plan_path), profile_file.parent, hosts, inventory
    )


def _chosen(plan: Plan, narrowed: str, inventory: tuple[Host, ...]) -> tuple[Host, ...]:
    chosen = Selector(plan.targets).pick(inventory)
    if not chosen:
        raise _matches_nothing("targets", plan.targets, inventory)
    if narrowed:
        try:
            chosen = Selector(narrowed).pick(chosen)
        except ValueError as error:
            raise BadInput(f"the selector given with --hosts cannot be read: {error}", found=narrowed) from error
        if not chosen:
            raise _matches_nothing("--hosts", narrowed, inventory)
    return chosen


def _matches_nothing(key: str, selector: str, inventory: tuple[Host, ...]) -> BadInput:
    labels = sorted({f"{key}={value}" for host in inventory for key, value in host.labels.items()})
    names = ", ".join(host.name for host in inventory[:5]) + (", …" if len(inventory) > 5 else "")  # noqa: PLR2004
    known = f"{len(inventory)} hosts ({names})" + (f" with labels {', '.join(labels[:12])}" if labels else "")
    return BadInput(
        f"{key} matches no host", found=selector, allowed=known, remedy="check the selector against the inventory"
    )


def _earlier(site: Site, runbook: str, request: RunRequest) -> _Subject:
    """The frozen subject of an earlier run: the list that was approved is the list that is retried or undone."""
    detail = site.history.run(request.of_run)
    record, undo = detail.record, runbook == "rollback"
    if undo and not request.reason.strip():
        raise BadInput("a rollback by hand needs a reason", remedy="say why; it is kept in the history")
    if undo and datetime.now(UTC) > (detail.ended_at or detail.started_at) + record.plan.rollback_window:
        window = words(record.plan.rollback_window)
        raise Refused(
            f"run {record.id} can be undone for {window}, and that time is over",
            remedy="plan a change to the older version",
        )
    wanted = _UNDONE if undo else _AIDED if _is_aid(runbook, detail) else RETRIED
    outcomes = {name: host.outcome or HostOutcome.NOT_STARTED for name, host in detail.hosts.items()}
    hosts = tuple(host for host in record.targets if outcomes.get(host.name, HostOutcome.NOT_STARTED) in wanted)
    if not hosts:
        raise Refused(
            f"run {record.id} left no host to {'undo' if undo else 'look into' if _is_aid(runbook, detail) else 'retry'}",
            remedy=f"see upkeep history show {record.id}",
        )
    if request.hosts:
        hosts = Selector(request.hosts).pick(hosts)
    return _of_run(detail, hosts)


def _is_aid(runbook: str, earlier: RunDetail) -> bool:
    """Whether a diagnosis is about what an earlier run failed at."""
    return runbook == "connection_diagnosis" and earlier.runbook not in WITHOUT_RELEASE


def _of_run(detail: RunDetail, hosts: tuple[Host, ...]) -> _Subject:
    record, plan_dir = detail.record, Path(detail.record.plan_dir)
    profile_dir = profile_path(record.plan.profile, plan_dir / "plan.yaml").parent
    return _Subject(record.plan, plan_dir, record.profile, profile_dir, hosts, record.targets, detail)


def _release(site: Site, subject: _Subject, *, now: datetime | None = None) -> TrustedRelease:
    trust, trust_dir = _trust(subject)
    trusted = read_release(
        subject.plan.release,
        subject.plan_dir,
        trust,
        trust_dir,
        product=subject.profile.name,
        now=now or datetime.now(UTC),
        seen_seq=lambda channel, key_id: site.history.release_seq_seen(f"{subject.profile.name}/{channel}", key_id),
    )
    earlier = subject.earlier
    if earlier is not None and earlier.record.release != trusted.release:
        raise Refused(
            f"the release manifest {subject.plan.release} is not the one run {earlier.record.id} was opened with",
            remedy="start a new run with the plan",
        )
    return trusted


def _trust(subject: _Subject) -> tuple[Trust, Path]:
    if subject.plan.trust is not None:
        return subject.plan.trust, subject.plan_dir
    if subject.profile.trust is not None:
        return subject.profile.trust, subject.profile_dir
    raise BadInput(
        f"nobody is trusted to sign releases of {subject.profile.name}",
        allowed="trust: {keys: [{id: …, file: KEY.pem}]} in the plan or the profile",
        remedy="add the vendor's public key to the plan",
    )


def _archives(site: Site, profile: AgentProfile, plan: Plan, trusted: TrustedRelease) -> tuple[Archive, ...]:
    found = []
    for artifact in trusted.release.artifacts:
        try:
            path = fetch_artifact(trusted, artifact, site.settings.cache)
        except ChecksumMismatch as error:
            raise UntrustedRelease(str(error)) from error
        inspect(path, profile.installer.binary_member)
        found.append(Archive(artifact, path, pull_url(trusted, artifact, plan.delivery)))
    return tuple(found)


def _ticket(site: Site, request: RunRequest, subject: _Subject) -> str:
    """The ticket as `source/ID`; a retry goes on under the ticket of the run it finishes. Without ticket systems it is a label."""
    if not request.ticket:
        return subject.earlier.record.ticket if subject.earlier else ""
    return str(site.tickets.ref(request.ticket)) if site.tickets is not None else request.ticket


def _record(
    site: Site, runbook: str, request: RunRequest, subject: _Subject, trusted: TrustedRelease | None
) -> RunRecord:
    now = datetime.now(UTC)
    release = trusted.release if trusted else None
    return RunRecord(
        id=request.run_id or f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        runbook=runbook,
        actor=Actor(
            name=request.requested_by or getpass.getuser(),
            kind=KINDS.get(request.source, "person"),
        ),
        source=request.source,
        reason=request.reason,
        ticket=_ticket(site, request, subject),
        dry_run=request.dry_run,
        of_run=subject.earlier.record.id if subject.earlier else "",
        settings=subject.earlier.record.settings if subject.earlier else request.settings,
        hosts=request.hosts or (subject.earlier.record.hosts if subject.earlier else ""),
        plan=subject.plan,
        plan_dir=str(subject.plan_dir),
        plan_hash=subject_hash(subject.plan, subject.profile, release, subject.hosts),
        profile=subject.profile,
        release=release,
        key_ids=tuple(trusted.key_ids) if trusted else (),
        targets=subject.hosts,
        fleet_size=len(subject.earlier.record.targets) if subject.earlier else len(subject.hosts),
        started_at=now,
        process=this_process(),
        asked=_findable(request),
        override=request.reason if request.override_window else "",
    )


def _findable(request: RunRequest) -> RunRequest:
    """The request with files as any process finds them."""
    files = {"inventory": request.inventory, "plan": request.plan}
    return request.model_copy(update={name: str(Path(file).absolute()) for name, file in files.items() if file})
