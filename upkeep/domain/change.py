"""One host, one change: the transaction's states, steps and outcomes."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from upkeep.domain.document import Document
from upkeep.domain.failure import FailureClass


class JournalState(StrEnum):
    """What the journal on the host can say, in the order of a change."""

    NONE = "none"
    PREPARED = "prepared"
    STAGED = "staged"
    ARMED = "armed"
    SWITCHED = "switched"
    COMMITTED = "committed"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    CORRUPT = "corrupt"


UNFINISHED = frozenset(
    {JournalState.PREPARED, JournalState.STAGED, JournalState.ARMED, JournalState.SWITCHED, JournalState.ROLLING_BACK}
)


class Step(StrEnum):
    """The steps of a run on one host; each is written to the history before it starts and after it ends."""

    CHECK = "check"
    LOCK = "lock"
    BASELINE = "baseline"
    BACKUP = "backup"
    FETCH = "fetch"
    SWITCH = "switch"
    VERIFY = "verify"
    COMMIT = "commit"
    WATCH = "watch"
    ROLLBACK = "rollback"
    REPAIR = "repair"
    UNLOCK = "unlock"


CLASS_OF_STEP = {
    Step.CHECK: FailureClass.PRECHECK,
    Step.LOCK: FailureClass.PRECHECK,
    Step.BASELINE: FailureClass.UNKNOWN,
    Step.BACKUP: FailureClass.BACKUP,
    Step.FETCH: FailureClass.ARTIFACT,
    Step.SWITCH: FailureClass.APPLY,
    Step.VERIFY: FailureClass.VERIFY,
    Step.COMMIT: FailureClass.APPLY,
    Step.WATCH: FailureClass.VERIFY,
    Step.ROLLBACK: FailureClass.ROLLBACK,
    Step.REPAIR: FailureClass.APPLY,
    Step.UNLOCK: FailureClass.UNKNOWN,
}
"""The class a failure counts under when its cause says nothing better."""


class HostOutcome(StrEnum):
    """How a run ended for one host."""

    COMMITTED = "committed"
    ALREADY_CURRENT = "already current"
    ROLLED_BACK = "rolled back"
    FAILED = "failed"
    SET_ASIDE = "set aside"
    BLOCKED = "blocked"
    NOT_STARTED = "not started"
    PASSED = "passed"
    BACKED_UP = "backed up"
    PRESTAGED = "prestaged"


class RunOutcome(StrEnum):
    """How a run ended, with the exit code of the command line."""

    SUCCEEDED = "succeeded"
    WITH_EXCEPTIONS = "succeeded with exceptions"
    ROLLED_BACK = "rolled back"
    HELD = "held"
    STOPPED = "stopped"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def exit_code(self) -> int:
        """0 succeeded, 1 failed or stopped, 3 rolled back, 4 refused, 5 held."""
        return {"succeeded": 0, "succeeded with exceptions": 0, "rolled back": 3, "refused": 4, "held": 5}.get(
            self.value, 1
        )


class HostResult(Document):
    """What came of one host; the row of reports and of the `--json` document."""

    outcome: HostOutcome
    failure_class: FailureClass | None = None
    from_version: str | None = None
    to_version: str | None = None
    reason: str = ""
    remedy: str = Field("", description="Next action for a person; empty when there is none")


class Journal(Document):
    """The host's own record of its change, as read from the host; times are seconds since 1970 by the host's clock."""

    state: JournalState = JournalState.NONE
    run: str = ""
    fence: int = 0
    agent: str = ""
    from_version: str = ""
    from_target: str = Field("", description="What the binary was before: a path, or a file kept aside")
    to_version: str = ""
    to_target: str = ""
    backup: str = Field("", description="Folder on the host with the copies of this run")
    reason: str = ""
    actor: str = Field("", description="controller or guard: who wrote the last state")
    updated_at: int = 0
    guard_deadline: int = Field(0, description="When the dead-man switch fires; 0 when it is not armed")
