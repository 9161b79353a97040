"""The running agent: answers over HTTP, works, counts."""

from __future__ import annotations

import os
import socketserver
import sys
import threading
import time
from pathlib import Path

from .build import VERSION
from .config import LEVELS, Config, fault_of
from .registration import Membership

ANSWER_SECONDS, SLOW_FACTOR, JOB_SECONDS, WINDOW = 0.03, 5, 0.25, 200
OK, NOT_FOUND, NOT_ALLOWED = 200, 404, 405


class Log:
    """Lines with time, level and agent on standard error."""

    def __init__(self, agent: str, level: str) -> None:
        self.agent, self.lowest = agent, LEVELS.index(level)

    def __call__(self, level: str, message: str) -> None:
        """Print one line, unless its level is below the lowest wanted."""
        if LEVELS.index(level) >= self.lowest:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            sys.stderr.write(f"{stamp} {level} ms-720-agent [{self.agent}] {message}\n")
            sys.stderr.flush()


class Figures:
    """Counts and durations of requests done."""

    def __init__(self) -> None:
        self.started, self.total = time.monotonic(), 0
        self._recent: list[float] = []
        self._lock = threading.Lock()

    def note(self, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self.total += 1
            self._recent = [*self._recent[1 - WINDOW :], seconds]

    def text(self) -> str:
        """Prometheus text."""
        with self._lock:
            durations, total = sorted(self._recent), self.total
        p95 = durations[int(len(durations) * 0.95)] if durations else 0.0
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return (
            f'requests_total {total}\nrequest_seconds{{quantile="0.95"}} {p95:.4f}\n'
            f"process_resident_memory_bytes {pages * os.sysconf('SC_PAGE_SIZE')}\n"
            f"process_cpu_seconds_total {time.process_time():.3f}\n"
        )


class Agent:
    """The running agent."""

    def __init__(self, config: Config) -> None:
        self.config, self.fault = config, fault_of(config)
        self.log = Log(config["agent_id"], config["log_level"])
        self.figures, self.stopping = Figures(), threading.Event()
        self.reported_version = "1.4.9" if self.fault == "wrong-version" else VERSION
        self.membership: Membership | None = None

    def run(self) -> int:
        """Work until told to stop; the exit code."""
        if self.fault == "crash-loop":
            self.log("FATAL", "cannot load policy cache: unexpected end of data")
            return 1
        host, _, port = self.config["listen"].rpartition(":")
        try:
            self.membership = Membership(self.config, self.reported_version, self.log)
            server = Server((host.strip("[]"), int(port)), _handler(self))
        except (OSError, ValueError) as error:
            self.log("FATAL", f"cannot start on {self.config['listen']}: {error}")
            return 1
        self.log("INFO", f"version {VERSION} is listening on {self.config['listen']}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Thread(target=self._jobs, daemon=True).start()
        if self.fault != "not-registering":
            threading.Thread(target=self.membership.keep, args=(self.stopping,), daemon=True).start()
        return self._wait()

    def work(self) -> None:
        """Do one request's work."""
        started = time.perf_counter()
        self.stopping.wait(ANSWER_SECONDS * (SLOW_FACTOR if self.fault == "slow" else 1))
        self.figures.note(time.perf_counter() - started)

    def answer(self, path: str) -> tuple[int, str]:
        """Status and body for a GET."""
        self.work()
        if path == "/health":
            up = int(time.monotonic() - self.figures.started)
            registered = str(bool(self.membership and self.membership.registered)).lower()
            facts = f'"version":"{self.reported_version}","registered":{registered},"uptime_seconds":{up}'
            return OK, f'{{"status":"UP",{facts}}}'
        if path == "/version":
            return OK, f'{{"version":"{self.reported_version}"}}'
        if path == "/metrics":
            return OK, self.figures.text()
        return NOT_FOUND, '{"error":"no such page"}'

    def _wait(self) -> int:
        dies = self.fault == "dies-after-20s"
        told = self.stopping.wait(float(self.config["lab_fault_after"]) if dies else None)
        self.log(*(("INFO", "stopping") if told else ("FATAL", "policy cache is damaged; giving up")))
        return 0 if told else 1

    def _jobs(self) -> None:
        for _ in range(20):
            self.work()
        while not self.stopping.wait(JOB_SECONDS):
            self.work()
            if self.fault == "error-flood":
                for number in range(3):
                    self.log("ERROR", f"policy evaluation {number} failed: no rule for resource")


class Server(socketserver.ThreadingTCPServer):
    """Plain HTTP on the agent's own address."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no news."""


def _handler(agent: Agent) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = 10

        def handle(self) -> None:
            words = self.rfile.readline(4096).decode("latin-1").split()
            while self.rfile.readline(4096).strip():
                continue
            method, path = [*words, "", ""][:2]
            status, body = agent.answer(path) if method == "GET" else (NOT_ALLOWED, "GET only")
            kind = "application/json" if body.startswith("{") else "text/plain; version=0.0.4"
            head = f"HTTP/1.1 {status} {'OK' if status == OK else 'Error'}\r\nContent-Type: {kind}\r\n"
            self.wfile.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())

    return Handler
