"""The README's commands do what it says, in the order it says (every command in its `sh` block is run)."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line]


@pytest.fixture
def home(tmp_path: Path, prefect_server: dict[str, str]) -> dict[str, str]:
    """A person's home with nothing in it."""
    path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    return {**os.environ, **prefect_server, "HOME": str(tmp_path), "PATH": path}


@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_work_one_after_the_other(home: dict[str, str]) -> None:
    assert len(COMMANDS) > 8
    home.pop("UPKEEP_HOME", None)
    for command in COMMANDS:
        done = subprocess.run(
            ["sh", "-c", command], env=home, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, command


def test_every_command_the_readme_names_exists() -> None:
    named = set(re.findall(r"`upkeep ([a-z-]+)", README))
    shown = subprocess.run([ROOT / ".venv/bin/upkeep", "--help"], capture_output=True, text=True, check=True).stdout
    assert named - {"resume"} <= set(re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE))


def test_the_files_the_readme_points_to_are_there() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link
    assert shlex.split("make demo")[1] in (ROOT / "Makefile").read_text()
