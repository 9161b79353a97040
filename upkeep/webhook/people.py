"""Who may sign in: the people this controller knows, and what they may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from upkeep.wiring import Site

VIEWER, OPERATOR, APPROVER, ADMIN = "viewer", "operator", "approver", "admin"


class Person(Protocol):
    """Somebody with a name and roles."""

    @property
    def name(self) -> str:
        """How the history calls them."""

    @property
    def roles(self) -> Collection[str]:
        """What they may do."""


class People(Protocol):
    """Everybody who was given a token, or is known to the site's proxy."""

    def by_token(self, token: str) -> Person | None:
        """Whose token this is."""

    def by_name(self, name: str) -> Person | None:
        """Somebody by name."""

    def anybody(self) -> bool:
        """Whether there are people at all."""


@dataclass(frozen=True)
class Nobody:
    """A controller without people: only whoever started it signs in, by a link."""

    def by_token(self, token: str) -> Person | None:  # noqa: ARG002 - nobody has one
        """Nobody's."""
        return None

    def by_name(self, name: str) -> Person | None:  # noqa: ARG002 - nobody is known
        """Nobody."""
        return None

    def anybody(self) -> bool:
        """No."""
        return False


def people_of(site: Site) -> People:
    """The people of a controller."""
    known: People | None = getattr(site, "people", None)
    return known or Nobody()
