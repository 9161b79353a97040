"""Every planted cause on a made-up host is named first (issue 7: 3; C2 C6); the cases are tests/unit/tasks/test_diagnose_host.py's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tasks.test_diagnose_host import CASES, Case, judge_case, make_chains


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_chains(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.cause}" for number, case in enumerate(CASES)])
def test_every_planted_cause_comes_first(case: Case, tmp_path: Path, chains: dict[str, str]) -> None:
    judge_case(case, tmp_path, chains)
