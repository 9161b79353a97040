"""`upkeep up`: a Prefect server, every runbook served on it, history pages and webhook, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FrameType

import httpx

from upkeep.audit.people import People
from upkeep.console.screen import screen
from upkeep.errors import ServiceError
from upkeep.project import prefect_settings, project_folder
from upkeep.settings import Settings
from upkeep.webhook.secret_file import kept_secret
from upkeep.webhook.sign_in_link import SignInLink
from upkeep.wiring import site

STARTED_WITHIN_SECONDS = 300
LOOKED_EVERY_SECONDS = 0.3
USER = "upkeep"


def up(host: str, port: int, pages_port: int) -> int:
    """Start all, print where they are, stop all on Ctrl-C, SIGTERM or SIGHUP; 1 when one of them ends by itself.

    Runs in work are finished first; a second signal leaves them to finish by themselves.

    Raises:
        ServiceError: one of them does not start.
    """
    prefect_settings(quiet=False)
    here = site()
    _ = here.checkpoints  # one an hour from here on, also while nothing runs
    server, pages = _address(host, port), _address(host, pages_port)
    access = prefect_access(here.settings, host, os.environ)
    environment = {**os.environ, **access, "PREFECT_API_URL": f"{server}/api"}
    environment.setdefault(
        "PREFECT_UI_STATIC_DIRECTORY", str(here.settings.home / "prefect-ui")
    )  # not among the programs
    link = SignInLink(here.settings)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    parts = Parts(environment)
    try:
        words = ("-m", "prefect", "server", "start", "--host", host, "--port", str(port))
        parts.start("Prefect server", words, lambda: _answers(f"{server}/api/health"))
        began = datetime.now(UTC)
        parts.start(
            "web application", ("-m", "upkeep.webhook", "--host", host, "--port", str(pages_port)), lambda: True
        )
        parts.start("runbooks", ("-m", "deployments.serve"), lambda: _are_served(server, access, began))
        parts.wait("web application", lambda: _answers(f"{pages}/healthz"))
        _say(here.settings, server, pages, access)
        if not People(here.history).everybody():
            screen().print(f"sign in:   {link.make(pages)}", soft_wrap=True)
        parts.watch()
    except KeyboardInterrupt:
        return 0
    finally:
        link.void()
        parts.end()
    return 1


def prefect_access(settings: Settings, host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What server and clients need to know of each other: nothing on loopback, a password that is made once beyond it."""
    given = environ.get("PREFECT_SERVER_API_AUTH_STRING", "")
    if not given and is_loopback(host):
        return {}
    secret = given or f"{USER}:{kept_secret(settings.home / 'prefect-password')}"
    return {"PREFECT_SERVER_API_AUTH_STRING": secret, "PREFECT_API_AUTH_STRING": secret}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than localhost is taken to be reached by others."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass
class Parts:
    """The processes, each in a session of its own: Ctrl-C in the terminal reaches only us, and we end them in order."""

    environment: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, words: tuple[str, ...], ready: Callable[[], bool]) -> None:
        """Start one and wait until it is ready."""
        self.running[name] = subprocess.Popen(
            [sys.executable, *words], env=self.environment, cwd=project_folder(), start_new_session=True
        )
        self.wait(name, ready)

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until one is ready.

        Raises:
            ServiceError: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + STARTED_WITHIN_SECONDS
        while not ready():
            code = self.running[name].poll()
            if code is not None:
                raise ServiceError(f"the {name} ended with code {code}; is its port taken? Its log is above")
            if time.monotonic() > deadline:
                raise ServiceError(f"the {name} did not answer within {STARTED_WITHIN_SECONDS} s")
            time.sleep(LOOKED_EVERY_SECONDS)

    def watch(self) -> None:
        """Return when one of them ends by itself."""
        while all(process.poll() is None for process in self.running.values()):
            time.sleep(LOOKED_EVERY_SECONDS)
        ended = ", ".join(name for name, process in self.running.items() if process.poll() is not None)
        screen().print(f"{ended} ended; stopping the others")

    def end(self) -> None:
        """The runbooks first, which finish their runs, while the server they report to still answers."""
        if "runbooks" in self.running and self.running["runbooks"].poll() is None:
            screen().print("stopping: runs in work are finished first; a second Ctrl-C leaves them to themselves")
        for process in reversed(self.running.values()):
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.kill()  # a run is a process of its own and goes on
        process.wait()


def _say(settings: Settings, server: str, pages: str, access: Mapping[str, str]) -> None:
    screen().print(f"Prefect UI: {server}   every runbook is a deployment there", soft_wrap=True)
    screen().print(f"history:    {pages}/history   webhook: {pages}/webhooks/", soft_wrap=True)
    if access:
        screen().print(
            f"            the Prefect UI and API ask for a password: '{USER}:' and what lies in {settings.home / 'prefect-password'}; "
            f"programs: PREFECT_API_AUTH_STRING",
            soft_wrap=True,
        )
        screen().print("            nothing here is encrypted: put a proxy with TLS before it", soft_wrap=True)
    screen().print("Ctrl-C stops", soft_wrap=True)


def _address(host: str, port: int) -> str:
    """Where we reach what listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reached}:{port}"


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2).is_success
    except httpx.TransportError:
        return False


def _are_served(server: str, access: Mapping[str, str], since: datetime) -> bool:
    """Whether this start, not an earlier one, asks the server for runs; it does once every runbook is registered."""
    user, _, password = access.get("PREFECT_API_AUTH_STRING", "").partition(":")
    try:
        known = httpx.get(f"{server}/api/deployments/name/maintenance/manual", auth=(user, password), timeout=10)
    except httpx.TransportError:
        return False
    polled = known.json().get("last_polled") if known.is_success else None
    return polled is not None and datetime.fromisoformat(polled) >= since


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
