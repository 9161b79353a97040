"""Versions and the rules that compare them.

Numbers are compared part by part, `1.20` above `1.9`; a pre-release (`1.5.0-rc1`) is below its release, by SemVer 2.0.0 §11.
Kernel and library versions with two or four parts are accepted as well.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_VERSION = re.compile(r"^v?(\d+(?:\.\d+){0,5})(?:[-~]([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$")
_CLAUSE = re.compile(r"^(>=|<=|==|!=|>|<|=)?\s*(\S+)$")


@functools.total_ordering
@dataclass(frozen=True)
class Version:
    """One version; `Version.parse` reads it."""

    numbers: tuple[int, ...]
    pre_release: str = ""
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `1.5.0`, `v1.5`, `6.1.0-13-amd64`, `1.5.0-rc1+build`; raises ValueError for anything else."""
        match = _VERSION.match(text.strip())
        if match is None:
            message = f"'{text}' is not a version like 1.5.0"
            raise ValueError(message)
        return cls(tuple(int(part) for part in match[1].split(".")), match[2] or "", text.strip())

    def _key(self) -> tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]:
        numbers = self.numbers
        while len(numbers) > 1 and numbers[-1] == 0:
            numbers = numbers[:-1]
        parts = (
            tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre_release.split("."))
            if self.pre_release
            else ()
        )
        return numbers, 0 if self.pre_release else 1, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self.text or ".".join(map(str, self.numbers))


@dataclass(frozen=True)
class VersionRule:
    """Clauses that must all hold, written `>=1.3.0, <2`; a bare version means exactly that one."""

    text: str

    def __post_init__(self) -> None:
        """Reject a rule that cannot be read, with ValueError."""
        self.clauses()

    def clauses(self) -> list[tuple[str, Version]]:
        """The rule's parts as (operator, version)."""
        parsed = []
        for part in self.text.split(","):
            match = _CLAUSE.match(part.strip())
            if match is None:
                message = f"'{self.text}' is not a version rule like '>=1.3.0, <2'"
                raise ValueError(message)
            parsed.append((match[1] or "==", Version.parse(match[2])))
        return parsed

    def allows(self, version: Version) -> bool:
        """Whether every clause holds for `version`."""
        return all(_holds(version, operator, bound) for operator, bound in self.clauses())


def _holds(version: Version, operator: str, bound: Version) -> bool:
    return {
        ">=": version >= bound,
        "<=": version <= bound,
        ">": version > bound,
        "<": version < bound,
        "==": version == bound,
        "=": version == bound,
        "!=": version != bound,
    }[operator]
