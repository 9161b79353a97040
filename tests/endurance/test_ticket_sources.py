"""From approval to closed with every product's desk, signature and API (issue 5: 4, "Shown by"; R3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.lab.ticketed import from_approval_to_closed
from upkeep.domain.ticket_source import Kind
from upkeep.lab.lab import Lab


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["jira", "generic"])
def test_an_approved_ticket_becomes_a_run_whose_story_is_in_the_ticket_and_which_closes_it(
    lab: Lab, tmp_path: Path, kind: Kind
) -> None:
    from_approval_to_closed(lab, tmp_path, kind)
