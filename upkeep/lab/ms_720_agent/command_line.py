"""The agent's command line."""

from __future__ import annotations

import signal
import sys

from .build import VERSION
from .config import read_config


def main(arguments: list[str]) -> int:
    """Do what the command line says; the exit code."""
    if arguments == ["--version"]:
        sys.stdout.write(f"ms-720-agent {VERSION}\n")
        return 0
    checks, runs = arguments[:1] == ["--check-config"], arguments[:2] == ["run", "--config"]
    if not (checks or runs):
        sys.stderr.write("usage: ms-720-agent --version | --check-config FILE | run --config FILE\n")
        return 2
    try:
        config = read_config(arguments[-1])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"FATAL configuration: {error}\n")
        return 1
    if checks:
        sys.stdout.write(f"{arguments[-1]}: ok\n")
        return 0
    return run(config)


def run(config: dict[str, str]) -> int:
    """Be the agent until told to stop; the exit code."""
    from .serving import Agent  # noqa: PLC0415 - TLS and cryptography would slow down --version tenfold

    agent = Agent(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    return agent.run()
