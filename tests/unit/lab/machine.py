"""A host's services without a fleet around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from upkeep.lab.layout import HostPaths
from upkeep.lab.service import Active, Service
from upkeep.lab.supervisor import Supervisor
from upkeep.lab.systemctl import Answer, systemctl


class Machine:
    """One host directory and its supervisor; `play` runs a scene and stops every service afterwards."""

    def __init__(self, directory: Path) -> None:
        self.paths = HostPaths(directory)
        for folder in (self.paths.units, self.paths.vendor_units, self.paths.journal):
            folder.mkdir(parents=True)
        self.supervisor = Supervisor(self.paths, {"PATH": "/usr/bin:/bin"})

    def unit(self, name: str, command: str, extra: str = "", *, vendor: bool = False) -> Path:
        """Write a unit that runs a shell command."""
        folder = self.paths.vendor_units if vendor else self.paths.units
        script = self.paths.directory / f"{name}.sh"
        script.write_text(command)
        text = f"[Service]\nExecStart=/bin/sh {script}\n{extra}\n[Install]\nWantedBy=multi-user.target\n"
        path = folder / f"{name}.service"
        path.write_text(text)
        return path

    async def ctl(self, *words: str) -> Answer:
        """Ask systemctl."""
        return await systemctl(self.supervisor, list(words))

    async def shown(self, unit: str) -> dict[str, str]:
        """What `systemctl show` tells."""
        return dict(line.split("=", 1) for line in (await self.ctl("show", unit)).stdout.splitlines())

    async def until(self, unit: str, state: Active) -> Service:
        """Wait for a state of a unit."""
        await self.eventually(lambda: self.supervisor.service(unit).state is state)
        return self.supervisor.service(unit)

    async def eventually(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; states have no event of their own."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    def play(self, scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scene in an event loop."""

        async def whole() -> None:
            try:
                await scene()
            finally:
                await self.supervisor.shut_down()

        asyncio.run(whole())
