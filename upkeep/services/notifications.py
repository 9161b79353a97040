"""Sending one message to one target through apprise; addresses are secrets and show up nowhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from upkeep.errors import BadInput, ServiceError, shorten

if TYPE_CHECKING:
    import apprise

LONGEST = timedelta(seconds=30)
_BODY_BYTES = 4000


def address_of(reference: str, folder: Path, environ: Mapping[str, str]) -> str:
    """The address that `env:NAME` or `file:PATH` (relative to `folder`) holds.

    Raises:
        BadInput: there is none.
    """
    kind, _, where = reference.partition(":")
    try:
        found = environ.get(where, "") if kind == "env" else (folder / Path(where).expanduser()).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the address of a notification target cannot be read from {reference}: {error}") from error
    if not found.strip():
        raise BadInput(f"{reference} holds no address", remedy="put one address in apprise's form there")
    return found.strip().splitlines()[0].strip()


def send(address: str, title: str, text: str, *, longest: timedelta = LONGEST) -> None:
    """Send one message to one target.

    Raises:
        BadInput: the address is none that apprise knows.
        ServiceError: the target did not take it, or not within `longest`.
    """
    import apprise  # noqa: PLC0415 - slow to load, and most runs send nothing

    target = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if target is None:
        raise BadInput(
            "an address is not one that messages can be sent to",
            allowed="apprise's addresses, e.g. slack://…, mailtos://…, json://host:port/path",
            remedy="see docs/notifications.md",
        )
    pool = ThreadPoolExecutor(1, thread_name_prefix="notify")
    answer = pool.submit(_sent, target, title, text[:_BODY_BYTES])
    try:
        problem = answer.result(longest.total_seconds())
    except TooLate as error:
        raise ServiceError(f"the target did not take the message within {longest.total_seconds():g} s") from error
    finally:
        pool.shutdown(wait=False)
    if problem:
        raise ServiceError(f"the target did not take the message: {problem}")


def _sent(target: apprise.NotifyBase, title: str, text: str) -> str:
    """What went wrong, in apprise's words; empty when it went. Other threads send to other targets: theirs are not ours."""
    said: list[str] = []
    mine = threading.get_ident()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(lambda record: record.thread == mine)
    log = logging.getLogger("apprise")
    log.addHandler(handler)
    try:
        went = target.notify(title=title, body=text)
    finally:
        log.removeHandler(handler)
    return "" if went else shorten("; ".join(said)) or "no reason was given"
