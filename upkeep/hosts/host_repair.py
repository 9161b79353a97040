"""Repairs on one host: services started, modes put back, files written anew; all of it can be taken back."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable, Mapping
from datetime import timedelta

from upkeep.domain.profile import AgentProfile, FileRule
from upkeep.domain.repairs import Repairs
from upkeep.errors import BadInput, CommandFailed
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.host_objection import objection
from upkeep.hosts.host_script import Settings, for_systemd, one_line, profile_settings, script
from upkeep.hosts.host_state import read_answer
from upkeep.hosts.transport import Limits, Transport

_FILE_BYTES = 262_144
_QUIET = timedelta(seconds=60)


class HostRepair:
    """One host under the lock of one run; `fence` is what its lock gave."""

    def __init__(self, transport: Transport, profile: AgentProfile, run: str, fence: int, *, become: bool) -> None:
        self._transport, self._profile, self._become = transport, profile, become
        self._settings: Settings = {**profile_settings(profile), "RUN": one_line(run), "FENCE": fence}

    def service(self, verb: str, rules: Repairs) -> str:
        """Start or restart the agent's unit, with growing pauses, until one process stays.

        Raises:
            CommandFailed: it does not stay up.
        """
        pauses = rules.backoff.total_seconds() * (2**rules.attempts)
        starting = 2 * self._profile.service.start_timeout + rules.steady
        return self._do(
            "repair_service",
            {
                "VERB": verb,
                "ATTEMPTS": rules.attempts,
                "BACKOFF": max(1, round(rules.backoff.total_seconds())),
                "STEADY": max(1, round(rules.steady.total_seconds())),
            },
            rules.attempts * starting + timedelta(seconds=pauses) + _QUIET,
        )

    def rights(self, rules: Iterable[FileRule]) -> str:
        """Give files the modes and owners that the profile names.

        Raises:
            CommandFailed: one is missing or cannot be changed.
        """
        lines = [f"{rule.mode or '-'} {rule.owner or '-'} {rule.path}" for rule in rules]
        return self._do("repair_rights", {"RULES": "\n".join(lines)})

    def file(self, path: str, content: str, mode: str | None) -> str:
        """Let a file hold this, all of it or not at all.

        Raises:
            BadInput: the content cannot be sent.
            CommandFailed: it cannot be written.
        """
        if "\0" in content or len(content.encode()) > _FILE_BYTES:
            raise BadInput(f"what {path} should hold cannot be sent", allowed=f"text of at most {_FILE_BYTES} bytes")
        return self._do("repair_file", {"FILE": path, "CONTENT": content, "MODE": mode or ""})

    def read(self, path: str) -> str:
        """What a file holds.

        Raises:
            CommandFailed: it cannot be read.
        """
        limits = Limits(output_bytes=_FILE_BYTES)
        reply = self._transport.run(with_words('cat -- "$1"', path), become=self._become, limits=limits)
        if reply.exit_code != 0:
            evidence = reply.stderr.strip()[-200:]
            raise CommandFailed(
                self._transport.host, f"{path} cannot be read", exit_code=reply.exit_code, evidence=evidence
            )
        return reply.text

    def undo(self) -> str:
        """Put files and modes back as they were before this run.

        Raises:
            CommandFailed: one cannot be put back.
        """
        return self._do("repair_undo", {})

    def raise_level(self, path: str, lines: tuple[str, str], reload: str, lasting: timedelta) -> str:
        """Change one line of a file, and let the agent read it; the host puts it back by itself after `lasting`.

        Raises:
            CommandFailed: what puts it back cannot be armed, the file cannot be changed, or the agent does not come up.
        """
        old, new = lines
        return self._do("level_raise", {"FILE": path, "OLD_LINE": old, "NEW_LINE": new, **self._level(reload, lasting)})

    def put_level_back(self, reload: str) -> str:
        """Put the line back as it was, if it was raised.

        Raises:
            CommandFailed: it cannot be put back now; the host goes on trying.
        """
        return self._do("level_back", self._level(reload, timedelta(0)))

    def _level(self, reload: str, lasting: timedelta) -> dict[str, str | int]:
        return {
            "RELOAD": reload,
            "LASTING": max(1, round(lasting.total_seconds())),
            "LEVEL_UNIT": f"upkeep-level-{self._profile.name}",
            "LEVEL_SCRIPT": for_systemd(f"{self._settings['U']}/incoming/level.sh"),
            "LEVEL_FUNCTIONS": functions("level"),
        }

    def _do(self, phase: str, more: Mapping[str, str | int], total: timedelta = _QUIET) -> str:
        text = script({**self._settings, **more}, phase, functions(phase.partition("_")[0]))
        reply = self._transport.run(text, become=self._become, limits=Limits(total=total, idle=total))
        answer = read_answer(self._transport.host, reply)
        if answer.get("result") != "ok":
            raise objection(answer)
        return answer.get("what")


@functools.cache
def functions(about: str) -> str:
    """The shell functions that only repairs, or only raised log levels, need."""
    folder = importlib.resources.files("upkeep.hosts") / "repairs"
    return (folder / f"{about}.sh").read_text(encoding="utf-8")
