#!/usr/bin/python3
"""A small agent for real hosts: one kept connection to its control centre, heartbeats, a health page. Python's smallest set of modules.

Nothing in it misbehaves on purpose: what its log says of a planted cause is what the operating system and OpenSSL say.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

VERSION = "1.0.0"
REQUIRED = ("server", "tls_ca", "agent_id", "token", "state_dir", "listen")
DEFAULTS = {"heartbeat_interval": "1", "log_level": "INFO", "tls_certificate": ""}
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
TIMEOUT_SECONDS = 3
OK = 200

Config = dict[str, str]


def read_config(path: str) -> Config:
    """Flat `key: value` lines; raises ValueError with the place of what is wrong."""
    config = dict(DEFAULTS)
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow to import
        for number, line in enumerate(file, 1):
            key, colon, value = line.strip().partition(":")
            if not colon or key not in (*REQUIRED, *DEFAULTS):
                raise ValueError(f"{path}:{number}: '{key}' is not a key")
            config[key] = value.strip()
    missing = [key for key in REQUIRED if not config.get(key)]
    if missing:
        raise ValueError(f"{path}: missing: {', '.join(missing)}")
    return config


class Agent:
    """The running agent."""

    def __init__(self, path: str) -> None:
        self.path, self.config = path, read_config(path)
        self.connection: ssl.SSLSocket | None = None
        self.registered, self.started = False, time.monotonic()

    def log(self, level: str, text: str) -> None:
        if LEVELS.index(level) >= LEVELS.index(self.config["log_level"]):
            sys.stderr.write(f"{time.strftime('%FT%TZ', time.gmtime())} {level} link-agent {text}\n")
            sys.stderr.flush()

    def run(self) -> NoReturn:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.signal(signal.SIGHUP, lambda *_: self.reload())
        threading.Thread(target=self.serve, daemon=True).start()
        self.log("INFO", f"version {VERSION} runs")
        while True:
            for step in (self.beat, self.note):
                self.attempt(step)
            time.sleep(float(self.config["heartbeat_interval"]))

    def reload(self) -> None:
        self.config = read_config(self.path)
        self.log("INFO", f"configuration read anew, log level {self.config['log_level']}")

    def attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, ValueError, MemoryError) as error:
            self.hang_up()
            self.log("WARN", f"control centre: {error or type(error).__name__}")

    def beat(self) -> None:
        """One heartbeat over the kept connection."""
        with open(self.config["token"], encoding="utf-8") as file:  # noqa: PTH123
            token = file.read().strip()
        if self.connection is None:
            self.connection = connect(self.config)
        path = f"/v1/nodes/{self.config['agent_id']}/heartbeat"
        head = f"POST {path} HTTP/1.1\r\nHost: centre\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        self.connection.sendall(head.encode())
        status, text = answer(self.connection)
        if status != OK:
            raise ValueError(f"{path} answered {status}: {text}")
        self.log("DEBUG", "heartbeat answered")
        if not self.registered:
            self.registered = True
            self.log("INFO", f"registered at {self.config['server']}")

    def note(self) -> None:
        """Remember the last heartbeat."""
        with open(f"{self.config['state_dir']}/last", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{time.time()}\n" + "." * 8192)

    def hang_up(self) -> None:
        connection, self.connection, self.registered = self.connection, None, False
        if connection is not None:
            connection.close()

    def serve(self) -> None:
        """The health page, on plain HTTP."""
        host, _, port = self.config["listen"].rpartition(":")
        with socket.create_server((host, int(port))) as listener:
            while True:
                try:
                    self.answer(listener.accept()[0])
                except OSError as error:
                    self.log("WARN", f"health page: {error}")
                    time.sleep(1)

    def answer(self, visitor: socket.socket) -> None:
        up = int(time.monotonic() - self.started)
        body = f'{{"status":"UP","version":"{VERSION}","uptime_seconds":{up}}}'
        with visitor:
            visitor.settimeout(2)
            try:
                visitor.recv(4096)
                visitor.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            except OSError as error:
                self.log("DEBUG", f"health page: {error}")


def connect(config: Config) -> ssl.SSLSocket:
    """TLS to the control centre, through the proxy of the environment if there is one."""
    host, _, port = config["server"].removeprefix("https://").rpartition(":")
    proxy = os.environ.get("https_proxy", "").removeprefix("http://")
    to = (proxy.rpartition(":")[0], int(proxy.rpartition(":")[2])) if proxy else (host, int(port))
    plain = socket.create_connection(to, TIMEOUT_SECONDS)
    try:
        if proxy:
            pass_through(plain, f"{host}:{port}")
        context = ssl.create_default_context(cafile=config["tls_ca"])
        if config["tls_certificate"]:
            context.load_cert_chain(config["tls_certificate"])
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def pass_through(proxy: socket.socket, to: str) -> None:
    """Ask a proxy for a tunnel."""
    proxy.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
    status, text = answer(proxy)
    if status != OK:
        raise ValueError(f"the proxy answered {status}: {text}")


def answer(connection: socket.socket) -> tuple[int, str]:
    """Status and reason of an HTTP answer without a body."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionResetError("Remote end closed connection without response")
        text += piece
    line = text.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return int(line[1]), line[2]


def main(words: list[str]) -> int:
    """`--version`, `--check-config FILE` or `run FILE`."""
    if words == ["--version"]:
        sys.stdout.write(f"link-agent {VERSION}\n")
        return 0
    try:
        agent = Agent(words[-1])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"FATAL invalid configuration: {error}\n")
        return 1
    if words[0] == "--check-config":
        return 0
    return agent.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
