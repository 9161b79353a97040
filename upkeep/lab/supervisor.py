"""The services of one host: unit files found, loaded, enabled, masked, started at boot."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from upkeep.errors import UpkeepError
from upkeep.lab.journal import UnitJournal
from upkeep.lab.layout import HostPaths
from upkeep.lab.service import Active, Service
from upkeep.lab.unit_file import UnitFile, read_unit

FIRST_LINE_SECONDS = 10
WANTS = "multi-user.target.wants"


class NoSuchUnit(UpkeepError):
    """There is no file for the unit."""

    exit_code = 5


class UnitMasked(UpkeepError):
    """The unit is a link to /dev/null."""


class Supervisor:
    """What PID 1 is on a real host; every change of one unit waits for the one before."""

    def __init__(self, paths: HostPaths, environment: dict[str, str]) -> None:
        self.paths, self.environment = paths, environment
        self._services: dict[str, Service] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def boot(self, turns: asyncio.Semaphore) -> None:
        """Start every enabled unit; `turns` bounds how many start at once, until each has said its first line."""
        wanted = self.paths.units / WANTS
        for link in sorted(wanted.iterdir()) if wanted.is_dir() else ():
            if not self.is_masked(link.name) and self.unit_path(link.name):
                async with turns:
                    await self.start(link.name)
                    said = asyncio.create_task(self.service(link.name).said_something.wait())
                    await asyncio.wait({said}, timeout=FIRST_LINE_SECONDS)
                    said.cancel()

    async def shut_down(self) -> None:
        """Stop everything."""
        await asyncio.gather(*(self.stop(name) for name in list(self._services)))
        for service in self._services.values():
            service.journal.close()

    async def start(self, name: str) -> None:
        """Start a unit; raises NoSuchUnit, UnitMasked, StartFailed, BadInput for a file that cannot be read."""
        self._refuse_masked(name)
        async with self._lock(name):
            await self.service(name).start()

    async def stop(self, name: str) -> None:
        """Stop a unit; raises NoSuchUnit."""
        async with self._lock(name):
            await self.service(name).stop()

    async def restart(self, name: str) -> None:
        """Restart a unit; raises like `start`."""
        self._refuse_masked(name)
        async with self._lock(name):
            await self.service(name).restart()

    async def reset_failed(self, name: str) -> None:
        """Forget a unit's failures; raises NoSuchUnit."""
        async with self._lock(name):
            self.service(name).reset_failed()

    def service(self, name: str) -> Service:
        """The loaded unit, loaded now if need be; raises NoSuchUnit, BadInput."""
        if name not in self._services:
            path = self.unit_path(name)
            if path is None:
                message = f"Unit {name} not found."
                raise NoSuchUnit(message)
            journal = UnitJournal(self.paths.journal / f"{name}.log")
            self._services[name] = Service(read_unit(path), journal, self.environment)
        return self._services[name]

    def reload(self) -> None:
        """Read the files of all loaded units anew; a unit whose file is gone or masked stays as it was."""
        for name, service in list(self._services.items()):
            path = self.unit_path(name)
            if path is not None:
                service.unit = read_unit(path)
            elif service.state in {Active.INACTIVE, Active.FAILED} and not self.is_masked(name):
                del self._services[name]

    def needs_reload(self, unit: UnitFile) -> bool:
        """Whether the unit's file is not the one that was loaded."""
        path = self.unit_path(unit.name)
        return path is not None and path.read_text("utf-8") != unit.text

    def unit_path(self, name: str) -> Path | None:
        """The unit's file, the administrator's before the vendor's."""
        if "/" in name or self.is_masked(name):
            return None
        candidates = (self.paths.units / name, self.paths.vendor_units / name)
        return next((path for path in candidates if path.is_file()), None)

    def is_masked(self, name: str) -> bool:
        """Whether the unit is a link to /dev/null."""
        path = self.paths.units / name
        return path.is_symlink() and str(path.readlink()) == os.devnull

    def mask(self, name: str) -> None:
        """Link the unit to /dev/null; raises UpkeepError where a file of the administrator is in the way."""
        path = self.paths.units / name
        if path.exists() and not self.is_masked(name):
            message = f"File {path} already exists."
            raise UpkeepError(message)
        self.unmask(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.devnull)

    def unmask(self, name: str) -> None:
        """Take the link to /dev/null away."""
        if self.is_masked(name):
            (self.paths.units / name).unlink()

    def enable(self, name: str) -> None:
        """Let the unit start at boot; raises NoSuchUnit, UnitMasked."""
        self._refuse_masked(name)
        link = self.paths.units / WANTS / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self.service(name).unit.path)

    def disable(self, name: str) -> None:
        """Don't start the unit at boot."""
        (self.paths.units / WANTS / name).unlink(missing_ok=True)

    def file_state(self, name: str) -> str:
        """UnitFileState: enabled, disabled, static, masked, or empty without a file."""
        if self.is_masked(name):
            return "masked"
        path = self.unit_path(name)
        if path is None:
            return ""
        if (self.paths.units / WANTS / name).is_symlink():
            return "enabled"
        return "disabled" if read_unit(path).wanted_by else "static"

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _refuse_masked(self, name: str) -> None:
        if self.is_masked(name):
            message = f"Unit {name} is masked."
            raise UnitMasked(message)
