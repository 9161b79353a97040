"""Selectors: `env=prod,zone!=b,web-*,!web-07` picks hosts by label, group, name, glob and exclusion."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from upkeep.domain.inventory import Host

_LABEL = re.compile(r"^([A-Za-z0-9._/-]+)(!=|=)(.*)$")


@dataclass(frozen=True)
class Selector:
    """Terms joined by commas.

    Label terms (`env=prod`, `zone!=b`; `a|b` for either) must all hold. Name terms (`web-1`, `web-*`, `@group`) widen each other:
    a host needs to match one of them, if there are any. Terms with `!` in front exclude. `all` or an empty text is every host.
    """

    text: str

    def __post_init__(self) -> None:
        """Reject an empty term, with ValueError."""
        if self.text.strip() and any(term in {"", "!", "@"} for term in self._terms()):
            message = f"'{self.text}' has an empty term"
            raise ValueError(message)

    def _terms(self) -> list[str]:
        return [term.strip() for term in self.text.split(",")]

    def matches(self, host: Host) -> bool:
        """Whether `host` is picked."""
        terms = [term for term in self._terms() if term not in {"", "all", "*"}]
        excluded = [term[1:] for term in terms if term.startswith("!")]
        labels = [term for term in terms if _LABEL.match(term) and not term.startswith("!")]
        names = [term for term in terms if term not in labels and not term.startswith("!")]
        if any(_holds(term, host) for term in excluded):
            return False
        return all(_holds(term, host) for term in labels) and (not names or any(_holds(term, host) for term in names))

    def pick(self, hosts: Iterable[Host]) -> tuple[Host, ...]:
        """The hosts picked, each once, in name order."""
        return tuple(sorted({h.name: h for h in hosts if self.matches(h)}.values(), key=lambda h: h.name))


def _holds(term: str, host: Host) -> bool:
    if match := _LABEL.match(term):
        wanted = match[3].split("|")
        present = any(fnmatch.fnmatchcase(host.labels.get(match[1], ""), value) for value in wanted)
        return present if match[2] == "=" else not present
    if term.startswith("@"):
        return term[1:] in host.groups
    return fnmatch.fnmatchcase(host.name, term)
