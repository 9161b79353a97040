"""Whether the controller of an earlier run still lives decides whether its locks are taken over."""

from __future__ import annotations

import subprocess
import sys

from upkeep.process import lives, this_process


def test_a_process_lives_until_it_ends_and_its_number_is_not_enough() -> None:
    program = "from upkeep.process import this_process; import sys; print(this_process(), flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    known = other.stdout.readline().strip()
    assert lives(known) is True
    other.communicate("")
    assert lives(known) is False
    machine, boot, pid, ticks = this_process().rsplit(":", 3)
    assert lives(f"{machine}:{boot}:{pid}:{int(ticks) + 1}") is False


def test_nothing_is_claimed_about_a_process_of_another_machine() -> None:
    assert lives("elsewhere:boot:1:1") is None
