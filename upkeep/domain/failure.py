"""Failure classes and the rules by which each is counted."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, model_validator

from upkeep.domain.document import Document


class FailureClass(StrEnum):
    """Why a host did not end with the new version."""

    UNREACHABLE = "unreachable"
    PRECHECK = "precheck"
    ENVIRONMENT = "environment"
    ARTIFACT = "artifact"
    BACKUP = "backup"
    APPLY = "apply"
    VERIFY = "verify"
    REGRESS = "regress"
    ROLLBACK = "rollback"
    UNKNOWN = "unknown"


CHANGE_FAILURES = frozenset(
    {
        FailureClass.ARTIFACT,
        FailureClass.BACKUP,
        FailureClass.APPLY,
        FailureClass.VERIFY,
        FailureClass.REGRESS,
        FailureClass.UNKNOWN,
    },
)
"""The classes that speak about the change itself; the canary stops at the first of them."""


class StopRule(Document):
    """Stop when at least `at_least` hosts failed and they are more than `over_pct` (or at least `at_pct`) per cent of those counted."""

    at_least: int = Field(1, ge=1)
    over_pct: float | None = Field(None, ge=0, le=100)
    at_pct: float | None = Field(None, gt=0, le=100)

    @model_validator(mode="after")
    def _one_share(self) -> StopRule:
        if self.over_pct is not None and self.at_pct is not None:
            message = "over_pct and at_pct are two ways to say one thing; keep one of them"
            raise ValueError(message)
        return self

    def stops(self, failures: int, of: int) -> bool:
        """Whether `failures` hosts out of `of` stop the run."""
        if failures < self.at_least:
            return False
        if self.at_pct is not None:
            return failures * 100 >= self.at_pct * of
        return failures * 100 > (self.over_pct or 0) * of

    def stops_at(self, of: int) -> int:
        """The number of failed hosts, out of `of`, at which the run stops; may be more than `of`."""
        return next(n for n in range(1, of + self.at_least + 2) if self.stops(n, of))


class FailureRules(Document):
    """Which failures stop a run, and when.

    `canary` and `later` count failures of the change among finished hosts. `unreachable` and `precheck` count against all targets.
    """

    canary: StopRule = Field(default_factory=lambda: StopRule(at_least=1))
    later: StopRule = Field(default_factory=lambda: StopRule(at_least=2, over_pct=5))
    unreachable: StopRule = Field(default_factory=lambda: StopRule(at_least=2, at_pct=10))
    precheck: StopRule = Field(default_factory=lambda: StopRule(at_least=2, over_pct=25))
    environment: StopRule = Field(default_factory=lambda: StopRule(at_least=2, over_pct=25))
