"""Every planted cause of a failed install is named first (issue 7: 4; U8 B1); the cases are tests/unit/tasks/test_first_aid.py's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tasks.test_first_aid import CASES, Case, judge_case


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.cause}" for number, case in enumerate(CASES)])
def test_every_planted_cause_of_a_failed_install_comes_first(case: Case, tmp_path: Path) -> None:
    judge_case(case, tmp_path)
