from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from upkeep.errors import ServiceError
from upkeep.lab.control_socket import ask, serve
from upkeep.lab.systemctl import Answer

STAND_IN = Path(str(resources.files("upkeep.lab.stand_ins"))) / "ask_fleet.py"


async def handle(words: list[str]) -> Answer:
    if words[-1] == "breaks":
        raise ValueError
    return Answer(3, "|".join(words) + "\n", "said aside\n")


async def both_ask(folder: Path, *words: str) -> tuple[Answer | None, subprocess.CompletedProcess[str]]:
    """What the library and what a host's stand-in are told."""

    def stand_in() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-IS", str(STAND_IN), str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)

    try:
        answer = await asyncio.to_thread(ask, folder / "control.sock", list(words), 5)
    except ServiceError:
        answer = None
    return answer, await asyncio.to_thread(stand_in)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Deeper than the name of a unix socket may be long."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    return deep


def test_words_and_answers_pass_unchanged_however_deep_the_folder_lies(folder: Path) -> None:
    async def scene() -> None:
        server = await serve(folder / "control.sock", handle)
        answer, done = await both_ask(folder, "h1", "systemctl", "two words", "ü")
        server.close()
        assert answer == Answer(3, "h1|systemctl|two words|ü\n", "said aside\n")
        assert (done.returncode, done.stdout, done.stderr) == (3, "h1|systemctl|two words|ü\n", "said aside\n")

    asyncio.run(scene())


def test_a_request_that_breaks_the_server_is_an_error_and_no_hang(folder: Path) -> None:
    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = await serve(folder / "control.sock", handle)
        answer, done = await both_ask(folder, "h1", "systemctl", "breaks")
        server.close()
        assert answer is None
        assert (done.returncode, done.stderr) == (1, "systemctl: the lab stopped before it answered\n")

    asyncio.run(scene())


def test_a_stand_in_without_a_lab_says_so(folder: Path) -> None:
    async def scene() -> None:
        _, done = await both_ask(folder, "h1", "systemctl", "is-active")
        assert done.returncode == 1
        assert "the lab is not running" in done.stderr

    asyncio.run(scene())
