"""The fleet process: `python -m upkeep.lab.fleet DIR [READY_FD]` runs a lab's hosts and its control centre until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncssh
import uvicorn
from fastapi import FastAPI

from upkeep.errors import ServiceError
from upkeep.lab.control_centre import DEFAULT_FIGURES, control_centre_app, figures_app
from upkeep.lab.control_socket import serve
from upkeep.lab.host import LabHost
from upkeep.lab.journalctl import journalctl
from upkeep.lab.layout import LabPaths
from upkeep.lab.membership import Membership
from upkeep.lab.spec import LOOPBACK, LabSpec, read_spec
from upkeep.lab.systemctl import Answer, systemctl

STARTS_AT_ONCE = 6
LOOK_EVERY_SECONDS = 3
UNKNOWN = 64
log = logging.getLogger(__name__)


class Fleet:
    """All hosts of a lab and the control centre, in one event loop."""

    def __init__(self, paths: LabPaths, spec: LabSpec) -> None:
        self.paths, self.spec = paths, spec
        key = asyncssh.read_public_key(f"{paths.client_key}.pub")
        self.hosts = {h.name: LabHost(h, paths.host(h.name), key, spec.id) for h in spec.hosts}
        self.membership = Membership(time.time, paths.events)
        self.stopping = asyncio.Event()
        self._servers: list[_Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open every address, then begin to start the services; raises OSError when an address is taken."""
        figures: dict[str, float | None] = dict(DEFAULT_FIGURES)
        centre = control_centre_app(self.membership, self.paths.releases, figures, self.spec.control_centre)
        tls = {"ssl_certfile": str(self.paths.server_chain), "ssl_keyfile": str(self.paths.server_key)}
        self._serve_web(centre, self.spec.control_centre_port, **tls)
        self._serve_web(figures_app(figures), self.spec.figures_port)
        for host in self.hosts.values():
            await host.open()
        turns = asyncio.Semaphore(STARTS_AT_ONCE)
        for host in self.hosts.values():
            self._keep(host.boot(turns))

    async def shut_down(self) -> None:
        """Stop the services, then the control centre."""
        await asyncio.gather(*(host.shut_down() for host in self.hosts.values()))
        for server in self._servers:
            server.should_exit = True
        await asyncio.wait(self._tasks)

    async def answer(self, words: list[str]) -> Answer:
        """Do one request: of a host's stand-in, `[host, command, …]`, or of the lab, `["", command, …]`."""
        name, command, *arguments = [*words, "", ""][: max(2, len(words))]
        if name in self.hosts and command == "systemctl":
            return await systemctl(self.hosts[name].supervisor, arguments)
        if name in self.hosts and command == "journalctl":
            return journalctl(self.hosts[name].supervisor, arguments)
        if name == "" and command in self._commands:
            return await self._commands[command](arguments)
        return Answer(UNKNOWN, stderr=f"unknown request: {name} {command}\n")

    @property
    def _commands(self) -> dict[str, Callable[[list[str]], Awaitable[Answer]]]:
        return {"nodes": self._nodes, "await-online": self._await_online, "open": self._open, "stop": self._stop}

    async def _nodes(self, _: list[str]) -> Answer:
        now = self.membership.clock()
        return Answer(0, json.dumps({name: node.status(now) for name, node in self.membership.nodes.items()}))

    async def _await_online(self, arguments: list[str]) -> Answer:
        """`SECONDS HOST…`: wait until these are registered; the answer names those that are not."""
        wanted = set(arguments[1:])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(float(arguments[0])):
                while wanted - self.membership.nodes.keys():
                    self.membership.changed.clear()
                    await self.membership.changed.wait()
        missing = sorted(wanted - self.membership.nodes.keys())
        return Answer(1 if missing else 0, " ".join(missing))

    async def _open(self, arguments: list[str]) -> Answer:
        try:
            await self.hosts[arguments[0]].open()
        except OSError as error:
            return Answer(1, stderr=f"{arguments[0]}: {error}\n")
        return Answer()

    async def _stop(self, _: list[str]) -> Answer:
        """Begin to stop; the answer is the id of the process to wait for."""
        self.stopping.set()
        return Answer(0, str(os.getpid()))

    def _serve_web(self, app: FastAPI, port: int, **tls: str) -> None:
        listener = socket.create_server((LOOPBACK, port), backlog=512)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", **tls)  # type: ignore[arg-type]
        server = _Server(config)
        self._servers.append(server)
        self._keep(server.serve([listener]))

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(_say_why_it_failed)


def _say_why_it_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("%s", error, exc_info=error)


class _Server(uvicorn.Server):
    """A server that leaves signals to the fleet."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(directory: Path, ready: int | None) -> None:
    """Run the lab in `directory`; a line is written to the descriptor `ready` once everything listens.

    Raises:
        ServiceError: there is no lab.
    """
    paths = LabPaths(directory)
    spec = read_spec(paths.spec)
    if spec is None:
        message = f"no lab in {directory}"
        raise ServiceError(message)
    fleet = Fleet(paths, spec)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, fleet.stopping.set)
    await fleet.start()
    control = await serve(paths.socket, fleet.answer)
    if ready is not None:
        os.write(ready, b"ready\n")
        os.close(ready)
    await _stopped_or_deleted(fleet)
    control.close()
    await fleet.shut_down()


async def _stopped_or_deleted(fleet: Fleet) -> None:
    """Nobody can take down a lab whose folder is gone, so it ends by itself."""
    while not fleet.stopping.is_set() and fleet.paths.spec.exists():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(fleet.stopping.wait(), LOOK_EVERY_SECONDS)


def main() -> None:
    """The command line."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("upkeep.lab").setLevel(logging.INFO)
    ready = int(sys.argv[2]) if len(sys.argv) > 2 else None  # noqa: PLR2004 - the second argument
    asyncio.run(run(Path(sys.argv[1]).resolve(), ready))


if __name__ == "__main__":
    main()
