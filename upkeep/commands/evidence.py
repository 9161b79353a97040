"""`upkeep history verify`, `rotate-key` and `export`: proving what the history says, to somebody who trusts nobody here."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path

from upkeep.audit.copies import Copies
from upkeep.audit.signing import PublicKey
from upkeep.audit.verifying import verify_history
from upkeep.console.screen import screen
from upkeep.domain.record import Actor
from upkeep.errors import BadInput
from upkeep.wiring import site


def verify(*, checkpoints: str, keys: list[Path], as_json: bool) -> int:
    """Print whether events, checkpoints and copies agree; 1 when they do not."""
    here = site()
    copies = Copies(checkpoints) if checkpoints else here.checkpoints.copies
    if checkpoints and not copies.read():
        raise BadInput(
            "there are no copies of checkpoints", found=copies.where, remedy="name the folder they are copied to"
        )
    trusted = [PublicKey.read(path) for path in keys] if keys else here.checkpoints.keys.publics()
    state = verify_history(here.history, copies, trusted)
    if as_json:
        facts = {"ok": state.ok, "reason": state.reason, "events": state.events, "checkpoints": state.checkpoints}
        problems = [{"reason": one.reason, "event": one.seq, "checkpoint": one.checkpoint} for one in state.problems]
        sys.stdout.write(json.dumps(facts | {"problems": problems, "notes": state.notes}, indent=2) + "\n")
        return 0 if state.ok else 1
    for line in [problem.reason for problem in state.problems] or [state.reason]:
        screen().print(line, markup=False)
    for note in state.notes:
        screen().print(f"note: {note}", markup=False)
    return 0 if state.ok else 1


def rotate_key(reason: str) -> None:
    """Sign with a new key from here on."""
    here = site()
    event = here.history.rotate_key(here.checkpoints, Actor(name=getpass.getuser()), reason)
    key = here.checkpoints.keys.current()
    screen().print(f"event {event.seq}: checkpoints are signed with key {key.id} from here on", markup=False)
    screen().print(
        f"→ give {here.checkpoints.keys.path / key.id}.pem to whoever verifies; the old public key stays beside it",
        markup=False,
    )
