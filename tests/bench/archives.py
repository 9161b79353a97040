"""What archiving a large run costs, and that it comes back to the byte: on SQLite and PostgreSQL (issue 6: 6).

`python -m tests.bench.archives --hosts 5000 --only sqlite`; one JSON line a database, seconds are wall time.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.history import AT_ONCE, databases, one_host, wanted
from tests.unit.audit.conftest import run_record
from tests.unit.audit.test_evidence import VERIFIER
from upkeep.audit.archive_file import opened, read_archive
from upkeep.audit.archiving import archive, plan, restore
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.history import History
from upkeep.audit.rebuilding import digests
from upkeep.audit.signing import KeyFolder
from upkeep.audit.verifying import verify_history
from upkeep.domain.change import RunOutcome
from upkeep.domain.inventory import Host
from upkeep.domain.record import Actor

ANN = Actor(name="ann")
_TELLING = """
import atexit, runpy, sys
peak = lambda: next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
atexit.register(lambda: sys.stderr.write(peak()))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program and says what memory it took."""


def main() -> None:
    """Measure and print."""
    asked = wanted(__doc__)
    for kind in asked.databases:
        with databases(kind) as urls, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            measured = measure(urls[0], Path(folder), asked.hosts)
            sys.stdout.write(json.dumps({"database": kind, "hosts": asked.hosts} | measured) + "\n")


def measure(url: str, folder: Path, hosts: int) -> dict[str, float]:
    """One run out of the database and back; raises AssertionError where it is not what it was."""
    history = History.open(url)
    checkpoints = history.seal(KeyFolder(folder / "keys"), Copies(str(folder / "outside")))
    written(history, hosts)
    took: dict[str, float] = {"events": history.last_seq(), "mb_before": _peak_mb()}
    read = history.run("big").model_dump_json()
    upto = history.last_seq()
    before = all_told(history, upto)
    with timed(took, "verify"):
        whole(history, checkpoints)
    (stretch,) = plan(history, datetime.now(UTC) + timedelta(seconds=1)).stretches
    with timed(took, "archive"):
        made = archive(history, checkpoints, stretch, folder / "archives", actor=ANN, reason="kept for a year")
    took |= {"file_mb": round(made.size_bytes / 2**20, 1), "mb_after_archive": _peak_mb()}
    assert history.find_run("big") is None
    with timed(took, "verify_archived"):
        whole(history, checkpoints)
    with timed(took, "verify_offline"):
        took["mb_verify_offline"] = _offline(made.path, folder)
    with timed(took, "read_from_file"), opened(read_archive(made.path, checkpoints.keys.publics())) as past:
        assert past.run("big").model_dump_json() == read
    found = read_archive(made.path, checkpoints.keys.publics())
    with timed(took, "restore"):
        restore(history, found, ANN, "audit")
    assert all_told(history, upto) == before
    assert history.run("big").model_dump_json() == read
    with timed(took, "verify_restored"):
        whole(history, checkpoints)
    history.close()
    return took | {"mb_at_the_end": _peak_mb()}


def written(history: History, hosts: int) -> None:
    """A run over so many hosts, as runs write it."""
    names = [f"web-{n:05d}" for n in range(hosts)]
    targets = tuple(Host(name=name, address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n, name in enumerate(names))
    history.open_run(run_record("big", targets=targets, fleet_size=hosts))
    history.stage_opened("big", "all", names)
    with ThreadPoolExecutor(AT_ONCE) as workers:
        list(workers.map(lambda name: one_host(history, name), names))
    history.stage_closed("big", "all", "go", "")
    history.close_run("big", RunOutcome.SUCCEEDED, "all well")


def all_told(history: History, upto: int) -> tuple[str, dict[str, tuple[int, str]]]:
    """SHA-256 over every event as it was written, and over every model but those of archives."""
    digest = hashlib.sha256()
    with history.event_rows(upto=upto) as rows:
        for row in rows:
            digest.update(f"{row.seq} {row.hash} {row.body}\n".encode())
    with history.reading() as session:
        models = digests(session)
    return digest.hexdigest(), {name: one for name, one in models.items() if not name.startswith("archive")}


def whole(history: History, checkpoints: Checkpoints) -> None:
    """The proof says good."""
    state = verify_history(history, checkpoints.copies, checkpoints.keys.publics())
    assert state.ok, state.reason


@contextmanager
def timed(took: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of wall time and of this process's CPU."""
    clocks: tuple[Callable[[], float], Callable[[], float]] = (time.perf_counter, time.process_time)
    begun = [clock() for clock in clocks]
    yield
    for clock, since, unit in zip(clocks, begun, ("s", "cpu_s"), strict=True):
        took[f"{name}_{unit}"] = round(clock() - since, 1)


def _offline(path: Path, folder: Path) -> float:
    """Most memory the verifier of packs took, in MB."""
    (key,) = (folder / "keys").glob("*.pem")
    words = [sys.executable, "-I", "-S", "-c", _TELLING, str(VERIFIER), str(path), "--key", str(key)]
    ended = subprocess.run(
        [*words, "--checkpoints", str(folder / "outside")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return round(int(ended.stderr.split()[1]) / 1024, 1)


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    main()
