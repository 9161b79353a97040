"""Starting and ending a run costs little CPU (issue 4: 5)."""

from __future__ import annotations

import subprocess
import sys

ASK = """
import gc, sys
from upkeep.garbage import collect_seldom, keep_for_good
collect_seldom()
loaded = [[] for _ in range(20_000)]
before = sum(generation["collections"] for generation in gc.get_stats())
more = [[] for _ in range(20_000)]
after = sum(generation["collections"] for generation in gc.get_stats())
keep_for_good()
known = set(map(id, gc.get_objects()))
print(after - before, any(id(one) in known for one in loaded))
class Knot: pass
knot = Knot(); knot.own = knot; own = __import__("weakref").ref(knot); del knot
gc.collect()
print(own() is None)
"""


def test_what_is_loaded_is_not_looked_through_again_and_new_garbage_still_goes() -> None:
    said = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
    assert said == "0 False\nTrue\n"
