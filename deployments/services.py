"""What a controller looks after besides its runs; a thread of `upkeep up`, a process of its own in production.

python -m deployments.services     until SIGTERM or Ctrl-C
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from tasks.attend_tickets import attend_once
from tasks.flow_runs import PrefectFlowRuns
from tasks.notify import teller
from tasks.open_windows import open_windows
from tasks.reconcile_runs import reconcile_runs
from tasks.watch_releases import watch_all
from upkeep.audit.retention import keep_policy
from upkeep.console.log import WANTED
from upkeep.errors import UpkeepError
from upkeep.wiring import Site, site

log = logging.getLogger("upkeep.services")


@dataclass(frozen=True)
class Duty:
    """Something done again and again; answers with a sentence for everything worth the log."""

    name: str
    every_seconds: float
    do: Callable[[Site], Iterable[str]]


def _reconcile(here: Site) -> Iterable[str]:
    return [f"run {orphan.run}: {orphan.done}" for orphan in reconcile_runs(here)]


def _open_windows(here: Site) -> Iterable[str]:
    return open_windows(here, PrefectFlowRuns(), datetime.now(UTC))


def _watch_releases(here: Site) -> Iterable[str]:
    return watch_all(here, datetime.now(UTC))


def _change_tickets(here: Site) -> Iterable[str]:
    return [f"ticket {judged.ref}: {judged.fate}: {judged.reason}" for judged in attend_once(here)]


def _tell_people(here: Site) -> Iterable[str]:
    went = teller(here).tell()
    return [f"{went} messages went"] if went else []


def _archive(here: Site) -> Iterable[str]:
    days, folder = here.settings.keep_history, here.settings.archives
    if days and folder:
        for made in keep_policy(here.history, here.checkpoints, days, Path(folder).expanduser(), datetime.now(UTC)):
            yield f"events {made.first_seq} to {made.upto_seq}, {len(made.runs)} runs, are archived in {made.path}"


DUTIES = (
    Duty("reconciliation", 20, _reconcile),
    Duty("window_opener", 10, _open_windows),
    Duty("release_watch", 300, _watch_releases),
    Duty("notifications", 10, _tell_people),
)
TICKETS = (Duty("change_tickets", 2, _change_tickets),)
"""In a thread of its own: a ticket system that answers slowly must not make a window's start late."""
ARCHIVES = (Duty("archives", 86_400, _archive),)
"""In a thread of its own, too: old runs may be many."""


def look_after(duties: Iterable[Duty], ended: threading.Event) -> None:
    """Do every duty when it is due until `ended` is set; one that fails is tried again at its next turn."""
    due = dict.fromkeys(duties, 0.0)
    while not ended.is_set():
        for duty in [duty for duty, at in due.items() if at <= monotonic()]:
            _done(duty)
            due[duty] = monotonic() + duty.every_seconds
        ended.wait(max(0.0, min(due.values()) - monotonic()))


def in_background() -> threading.Event:
    """Look after everything in a thread of this process; set the event to end it."""
    ended = threading.Event()
    for name, duties in (("services", DUTIES), ("tickets", TICKETS), ("archives", ARCHIVES)):
        threading.Thread(target=look_after, args=(duties, ended), name=name, daemon=True).start()
    return ended


def _done(duty: Duty) -> None:
    try:
        for sentence in duty.do(site()):
            log.info("%s: %s", duty.name, sentence)
    except UpkeepError as error:
        log.warning("%s: %s", duty.name, error)
    except Exception:
        log.exception("%s failed; it is tried again in %s s", duty.name, duty.every_seconds)


def main() -> None:
    """Look after everything until SIGTERM or Ctrl-C; what is being done then is finished."""
    _log_to_stderr()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    _ = site().checkpoints  # one an hour from here on, also while nothing runs
    log.info("looking after %s", ", ".join(duty.name for duty in (*DUTIES, *TICKETS, *ARCHIVES)))
    others = [threading.Thread(target=look_after, args=(duties, ended)) for duties in (TICKETS, ARCHIVES)]
    for other in others:
        other.start()
    look_after(DUTIES, ended)
    for other in others:
        other.join()


def _log_to_stderr() -> None:
    """By a handler of our own: Prefect's logging, set up later, keeps only warnings of others. JSON goes the way of all lines."""
    log.setLevel(logging.INFO)
    if os.environ.get(WANTED) == "json":
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    log.propagate = False


if __name__ == "__main__":
    main()
