"""What a run leaves behind: who asked, what was decided, what happened."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from upkeep.domain.change import HostResult, RunOutcome, Step
from upkeep.domain.document import Document
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan, fingerprint
from upkeep.domain.profile import AgentProfile
from upkeep.domain.release import Release


class Actor(Document):
    """Who or what did something."""

    name: str
    kind: Literal["person", "schedule", "ticket", "guard", "upkeep"] = "person"
    on_behalf_of: str = ""


class RunRequest(BaseModel):
    """What somebody asks for; the form of every runbook."""

    model_config = ConfigDict(extra="forbid")

    inventory: str = Field("", title="Inventory", description="Inventory file on the controller")
    plan: str = Field("", title="Plan", description="Plan file on the controller")
    hosts: str = Field(
        "", title="Only these hosts", description="Selector that narrows the plan's targets, e.g. zone=b,!web-07"
    )
    settings: dict[str, str] = Field(
        default_factory=dict, title="Changed settings", description="Plan keys to override, e.g. soak.canary: 2m"
    )
    ticket: str = Field("", title="Change ticket")
    reason: str = Field("", title="Reason", description="Why this is done; kept in the history")
    dry_run: bool = Field(default=False, title="Dry run", description="Look and plan only; nothing on any host changes")
    of_run: str = Field("", title="Earlier run", description="The run to retry or to roll back")
    resume: str = Field("", title="Interrupted run", description="The run to go on with, after its controller died")
    override_window: bool = Field(
        default=False,
        title="Override the window",
        description="Go on outside the window or in a freeze; needs a reason and the approval of a second person",
    )
    requested_by: str = Field("", title="Requested by", description="Default: the person whose process this is")
    source: Literal["cli", "ui", "schedule", "webhook"] = "ui"
    run_id: str = Field("", title="Run id", description="Leave empty: a new one is made")


class RunRecord(Document):
    """A run as frozen when it was opened: everything needed to judge, retry or undo it later. Holds no secret."""

    id: str
    runbook: str
    actor: Actor
    source: str
    reason: str = ""
    ticket: str = ""
    dry_run: bool = False
    of_run: str = ""
    settings: dict[str, str] = Field(default_factory=dict, description="Plan keys that were overridden with --set")
    hosts: str = Field("", description="Selector that narrowed the plan's targets (--hosts)")
    plan: Plan
    plan_dir: str = Field(description="Folder against which the plan's relative paths were read")
    plan_hash: str
    profile: AgentProfile
    release: Release | None = None
    key_ids: tuple[str, ...] = Field((), description="Keys that signed the release")
    targets: tuple[Host, ...]
    fleet_size: int = Field(0, description="Hosts the plan is about; more than the targets when only some are retried")
    started_at: AwareDatetime
    process: str = Field(
        "", description="boot id:pid:start ticks of the controller process, to tell whether it still lives"
    )
    flow_run_id: str = Field("", description="The flow run at the Prefect server, if there is one")
    asked: RunRequest | None = Field(
        None, description="What was asked for, to tell whether its files say something else now"
    )
    override: str = Field(
        "", description="Why windows and freezes do not bind this run; a second person has to approve that"
    )

    def recomputed_hash(self) -> str:
        """The plan hash, reckoned anew from what the record holds."""
        return subject_hash(self.plan, self.profile, self.release, self.targets)


def subject_hash(plan: Plan, profile: AgentProfile, release: Release | None, targets: Sequence[Host]) -> str:
    """The plan hash: SHA-256 over all that decides what happens to which host."""
    about: list[BaseModel | dict[str, Any] | list[Any] | str] = [plan, profile]
    about += [release] if release is not None else []
    return fingerprint(*about, [host.model_dump(mode="json") for host in targets])


class Happening(StrEnum):
    """How far a recorded thing is."""

    INTENT = "intent"
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOTE = "note"


class Event(Document):
    """One line of history; `seq` has no gaps."""

    seq: int
    at: AwareDatetime
    run: str
    actor: Actor
    action: str = Field(description="Dotted: run.opened, stage.opened, step.backup, host.result, gate.judged, …")
    happening: Happening
    host: str = ""
    stage: str = ""
    step: Step | None = None
    reason: str = ""
    body: dict[str, Any] = Field(default_factory=dict)


class StageReport(Document):
    """One stage in a run's report."""

    name: str
    hosts: tuple[str, ...]
    verdict: str = ""
    reason: str = ""
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class RunReport(Document):
    """The `--json` document of the command line and the return value of every flow."""

    run: str
    runbook: str
    outcome: RunOutcome
    reason: str = ""
    hosts: dict[str, HostResult]
    stages: tuple[StageReport, ...] = ()
    started_at: AwareDatetime
    ended_at: AwareDatetime
