"""One supervised service: what systemd does with a service unit, as far as maintenance sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from upkeep.errors import UpkeepError
from upkeep.lab.journal import Entry, UnitJournal
from upkeep.lab.unit_file import UnitFile, environment_of

EXEC_FAILED = 203
LONGEST_LINE_BYTES = 64 * 1024
_CLEAN_SIGNALS = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE}


class Active(StrEnum):
    """ActiveState."""

    ACTIVE = "active"
    ACTIVATING = "activating"
    DEACTIVATING = "deactivating"
    INACTIVE = "inactive"
    FAILED = "failed"


_SUB = {
    Active.ACTIVE: "running",
    Active.ACTIVATING: "auto-restart",
    Active.DEACTIVATING: "stop-sigterm",
    Active.INACTIVE: "dead",
    Active.FAILED: "failed",
}


class StartFailed(UpkeepError):
    """The service did not start; the text is what systemctl prints."""


@dataclass
class Service:
    """One loaded unit and its process; monotonic times in microseconds."""

    unit: UnitFile
    journal: UnitJournal
    environment: Mapping[str, str]
    state: Active = Active.INACTIVE
    result: str = "success"
    restarts: int = 0
    main_pid: int = 0
    exit_status: int = 0
    started_at: float = 0.0
    started_monotonic: int = 0
    active_at: float = 0.0
    active_monotonic: int = 0
    said_something: asyncio.Event = field(default_factory=asyncio.Event)
    _starts: deque[float] = field(default_factory=deque)
    _life: asyncio.Task[None] | None = None
    _stopping: bool = False

    @property
    def sub_state(self) -> str:
        """SubState."""
        return _SUB[self.state]

    async def start(self) -> None:
        """Start by hand; nothing to do for one that is active.

        Raises:
            StartFailed: start limit hit, or the program cannot be executed (Type=exec and notify).
        """
        if self.state in {Active.ACTIVE, Active.DEACTIVATING}:
            return
        await self._cancel_restart()
        self.restarts = 0
        process = await self._spawn()
        if process is not None:
            self._life = asyncio.create_task(self._live(process))
        elif self.result == "start-limit-hit":
            raise StartFailed(f"Job for {self.unit.name} failed because start of the service was attempted too often.")
        else:
            self._life = asyncio.create_task(self._after_end())
            if self.unit.kind in {"exec", "notify"}:
                raise StartFailed(
                    f"Job for {self.unit.name} failed because the control process exited with error code."
                )

    async def stop(self) -> None:
        """Stop the process group; a failed service stays failed."""
        await self._cancel_restart()
        if self.state is not Active.ACTIVE or self._life is None:
            return
        self.state, self._stopping = Active.DEACTIVATING, True
        life, group = self._life, self.main_pid
        signal_group(group, signal.SIGTERM)
        _, late = await asyncio.wait({life}, timeout=self.unit.stop_sec)
        if late:
            signal_group(group, signal.SIGKILL)
            await life

    async def restart(self) -> None:
        """Stop, then start; raises StartFailed."""
        await self.stop()
        await self.start()

    def reset_failed(self) -> None:
        """Forget failures and the count of starts."""
        self._starts.clear()
        self.restarts = 0
        self.result = "success"
        if self.state is Active.FAILED:
            self.state = Active.INACTIVE

    async def _cancel_restart(self) -> None:
        if self.state is Active.ACTIVATING and self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
            self.state, self._life = Active.INACTIVE, None

    async def _spawn(self) -> asyncio.subprocess.Process | None:
        if not self._may_start():
            self._say("Start request repeated too quickly.")
            self._fail("start-limit-hit")
            return None
        try:
            process = await asyncio.create_subprocess_exec(
                *self.unit.exec_start,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.unit.working_directory or None,
                env={**self.environment, **environment_of(self.unit)},
                start_new_session=True,
                limit=LONGEST_LINE_BYTES,
            )
        except OSError as error:
            self._say(f"Failed to execute {self.unit.exec_start[0]}: {error.strerror}")
            self.exit_status = EXEC_FAILED
            return None
        self.state, self.result, self.main_pid = Active.ACTIVE, "success", process.pid
        self.started_at = self.active_at = time.time()
        self.started_monotonic = self.active_monotonic = time.monotonic_ns() // 1000
        self._say(f"Started {self.unit.description}.")
        return process

    def _may_start(self) -> bool:
        now = time.monotonic()
        while self._starts and now - self._starts[0] > self.unit.limit_interval:
            self._starts.popleft()
        if self.unit.limit_burst and len(self._starts) >= self.unit.limit_burst:
            return False
        self._starts.append(now)
        return True

    async def _live(self, process: asyncio.subprocess.Process) -> None:
        while True:
            pump = asyncio.create_task(self._keep_output(process))
            code = await process.wait()
            signal_group(process.pid, signal.SIGKILL)
            await asyncio.wait({pump}, timeout=1)
            pump.cancel()
            self.main_pid, self.exit_status = 0, abs(code)
            if self._ended_for_good(code):
                return
            restarted = await self._restart_later()
            if restarted is None:
                return
            process = restarted

    async def _after_end(self) -> None:
        if not self._ended_for_good(EXEC_FAILED) and (process := await self._restart_later()):
            await self._live(process)

    async def _restart_later(self) -> asyncio.subprocess.Process | None:
        process = None
        while process is None:
            self.state = Active.ACTIVATING
            await asyncio.sleep(self.unit.restart_sec)
            self.restarts += 1
            self._say(f"Scheduled restart job, restart counter is at {self.restarts}.")
            process = await self._spawn()
            if process is None and (self.state is Active.FAILED or self._ended_for_good(EXEC_FAILED)):
                return None
        return process

    def _ended_for_good(self, code: int) -> bool:
        clean = code == 0 or (code < 0 and -code in _CLEAN_SIGNALS)
        how = "exited" if code >= 0 else "killed"
        if not self._stopping or not clean:
            self._say(f"Main process exited, code={how}, status={abs(code)}")
        result = "success" if clean or self._stopping else ("exit-code" if code > 0 else "signal")
        wanted = self.unit.restart in {"always", "on-success" if clean else "on-failure"}
        wanted = wanted or (self.unit.restart == "on-abnormal" and result == "signal")
        if self._stopping or not wanted:
            self._end(result)
            return True
        self.result = result
        return False

    def _end(self, result: str) -> None:
        stopped, self._stopping = self._stopping, False
        if result == "success":
            self.state, self.result = Active.INACTIVE, result
            self._say(f"{'Stopped' if stopped else 'Deactivated'} {self.unit.description}.")
        else:
            self._fail(result)

    def _fail(self, result: str) -> None:
        self.state, self.result = Active.FAILED, result
        self._say(f"Failed with result '{result}'.")
        self.said_something.set()

    async def _keep_output(self, process: asyncio.subprocess.Process) -> None:
        identifier = f"{Path(self.unit.exec_start[0]).name}[{process.pid}]"
        while line := await _line(process.stdout):
            message = line.decode("utf-8", "replace").rstrip("\r\n")
            self.journal.add(Entry(time.time(), identifier, message))
            self.said_something.set()

    def _say(self, message: str) -> None:
        self.journal.add(Entry(time.time(), "systemd[1]", f"{self.unit.name}: {message}"))


async def _line(stream: asyncio.StreamReader | None) -> bytes:
    """The next line, or a piece of one that is too long; empty at the end."""
    if stream is None:
        return b""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(error.consumed)


def signal_group(group: int, number: int) -> None:
    """Signal a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group > 0:
            os.killpg(group, number)
