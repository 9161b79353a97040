"""A process worker that finishes its runs when it is stopped: python -m deployments.worker [--pool POOL] [--name NAME], until SIGTERM.

Prefect's own worker ends its flow processes at once when it gets SIGTERM. This one is frozen first, so that it takes nothing new,
and told to end when the last of its flow processes is done. A second signal ends all at once; hosts in work then go back.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from upkeep.project import log_as_upkeep_does, project_folder

POOL = "upkeep"
_PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
_FLOW = b"prefect"


def main() -> int:
    """Register every runbook, work until told to stop, finish what is in work; the worker's exit code."""
    asked = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__)
    asked.add_argument("--pool", default=POOL)
    asked.add_argument("--name", default=f"{POOL}@{os.uname().nodename}")
    words = asked.parse_args()
    os.environ.setdefault("UPKEEP_CHECKOUT", str(project_folder()))
    log_as_upkeep_does()
    with _signals() as told:
        register(words.pool)
        if _readable(told, 0):
            return 0
        worker = subprocess.Popen(
            [*_PREFECT, "worker", "start", "--type", "process", "--pool", words.pool, "--name", words.name],
            cwd=project_folder(),
            start_new_session=True,
        )
        return work(worker, told)


def register(pool: str) -> None:
    """See to it that the work pool is there and every deployment of deployments/prefect.yaml is on it."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            wanted = WorkPoolCreate(name=pool, type="process", base_job_template=template)
            try:
                client.create_work_pool(wanted)
            except ObjectAlreadyExists:
                _say(f"another worker made the work pool {pool}")
    words = [*_PREFECT, "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    subprocess.run(words, cwd=project_folder(), check=True, stdout=subprocess.DEVNULL)


def work(worker: subprocess.Popen[bytes], told: int) -> int:
    """Wait until the worker ends by itself or a signal comes (`told` becomes readable); then drain it."""
    ended = os.pidfd_open(worker.pid)
    try:
        if ended in _readable(told, None, ended):
            return worker.wait()
        os.read(told, 1)
        drain(worker, told)
        return worker.wait()
    finally:
        os.close(ended)


def drain(worker: subprocess.Popen[bytes], told: int) -> None:
    """Freeze the worker, wait for its flow processes, tell it to end; another signal ends the waiting."""
    worker.send_signal(signal.SIGSTOP)
    while flows := flow_processes(worker.pid):
        _say(f"finishing {_runs(len(flows))} before the worker ends; a second signal ends them now")
        if _wait_for_all(flows, told):
            break
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGCONT)
    _say("the worker ends")


def flow_processes(worker: int) -> list[int]:
    """The worker's children that conduct a flow run and have not ended."""
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    threads = Path(f"/proc/{worker}/task").iterdir()
    children += [child for thread in threads for child in (thread / "children").read_text().split()]
    return sorted({int(child) for child in children if _conducts(int(child))})


def _conducts(process: int) -> bool:
    try:
        while not (words := Path(f"/proc/{process}/cmdline").read_bytes()) and not _ended(process):
            os.sched_yield()  # in the middle of its exec: the words are there in a moment
    except OSError:
        return False
    return _FLOW in words and b"resource_tracker" not in words


def _ended(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def _wait_for_all(processes: list[int], told: int) -> bool:
    """Whether a signal came before all of them had ended."""
    left = dict(_handles(processes))
    try:
        while left:
            ready = _readable(told, None, *left)
            if told in ready:
                return True
            for handle in ready:
                os.close(handle)
                del left[handle]
    finally:
        for handle in left:
            os.close(handle)
    return False


def _handles(processes: list[int]) -> Iterator[tuple[int, int]]:
    for process in processes:
        try:
            yield os.pidfd_open(process), process
        except ProcessLookupError:
            continue


def _readable(told: int, seconds: float | None, *others: int) -> list[int]:
    poll = select.poll()
    for handle in (told, *others):
        poll.register(handle, select.POLLIN)
    return [handle for handle, _ in poll.poll(None if seconds is None else seconds * 1000)]


def _say(text: str) -> None:
    """To the journal; Prefect's logging drops what is not its own."""
    sys.stderr.write(f"upkeep worker: {text}\n")
    sys.stderr.flush()


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that becomes readable for every SIGTERM and SIGINT."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reading)
        os.close(writing)


if __name__ == "__main__":
    sys.exit(main())
