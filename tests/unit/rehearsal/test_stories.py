"""Random stories of a fleet end well: promises 1 to 5 of issue 3 (faults 8, 28-30, 34, 38, 40-44, 47, 56)."""

from __future__ import annotations

from random import Random

import pytest

from tests.unit.rehearsal.fleets import fleet, plan, random_plan
from upkeep.rehearsal.story import tell


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_every_promise_is_kept(seed: int) -> None:
    random = Random(seed)
    story = tell(random_plan(random), fleet(random.randint(1, 25)), seed)
    assert not story.violations, story.troubles


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = (tell(plan(), fleet(12), 7) for _ in range(2))
    assert first.troubles == second.troubles
    assert first.world.store.lines == second.world.store.lines
