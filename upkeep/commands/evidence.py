"""`upkeep history verify`, `rotate-key` and `export`: proving what the history says, to somebody who trusts nobody here."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path

from upkeep.audit.copies import Copies
from upkeep.audit.database import shown_address
from upkeep.audit.evidence import rotations_of, write_pack
from upkeep.audit.history import History
from upkeep.audit.moving import facts, move
from upkeep.audit.period import cloud_events, comma_separated
from upkeep.audit.rebuilding import rebuild
from upkeep.audit.signing import PublicKey
from upkeep.audit.verifying import verify_history
from upkeep.commands.archiving import archived_within, moment, reading
from upkeep.console.screen import screen
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput
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


def rebuild_models(*, check: bool, as_json: bool) -> int:
    """Make the read models anew from the events; with `check` only say whether they differ, 1 when they do."""
    models = rebuild(site().history, keep=not check)
    different = [model for model in models if not model.same]
    if as_json:
        told = [{"model": one.name, "rows": one.rows, "same": one.same, "sha256": one.after} for one in models]
        sys.stdout.write(json.dumps({"same": not different, "kept": not check, "models": told}, indent=2) + "\n")
    else:
        for one in models:
            said = "the same bytes" if one.same else "other than the events say"
            screen().print(
                f"{one.name}: {one.rows} rows, {said if check or one.same else said + '; corrected'}", markup=False
            )
    return 1 if check and different else 0


def move_history(to: str, reason: str, *, as_json: bool) -> None:
    """Move the history into another database, prove it there, and say how to go on."""
    here = site()
    moved = move(here.history, to, Actor(name=getpass.getuser()), reason)
    new = History.open(to)
    try:
        checkpoints = new.seal(here.checkpoints.keys, here.checkpoints.copies)
        checkpoints.make()
        state = verify_history(new, checkpoints.copies, checkpoints.keys.publics())
    finally:
        new.close()
    if not state.ok:
        raise AuditError(f"the history is in {shown_address(to)}, and {state.reason}; do: upkeep history verify")
    if as_json:
        sys.stdout.write(json.dumps(facts(moved) | {"proved": state.reason}, indent=2) + "\n")
        return
    screen().print(f"the history is in {shown_address(to)}: {state.reason}", markup=False)
    screen().print(
        "→ set UPKEEP_DATABASE_URL to it for every process of Upkeep; nothing is written to the old one any more",
        markup=False,
    )


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


def export_run(run_id: str, out: Path | None, archive: Path | None = None) -> None:
    """Write one run's evidence pack and say where it is."""
    here = site()
    with reading(here, archive) as history:
        run = history.run(run_id).id
        pack = out or Path(f"upkeep-{run}.zip")
        write_pack(history, here.checkpoints, run, pack, rotations=rotations_of(here.history))
    key = here.checkpoints.keys.current()
    screen().print(f"{pack}: run {run}, signed with key {key.id}", markup=False)
    screen().print(
        f"→ unzip it and open index.html; to prove it: python3 verify.py {pack.name} --key {key.id}.pem", markup=False
    )


def export_period(since: str, until: str, kind: str, out: Path | None) -> None:
    """Write a period's events, to standard output when no file is named."""
    if kind not in _KINDS:
        raise BadInput("there is no such format", found=kind, allowed=" or ".join(_KINDS))
    period = moment("--since", since), moment("--until", until)
    for one in archived_within(site().history, *period):
        sys.stderr.write(f"not in it: events {one.first_seq} to {one.upto_seq}, which are archived in {one.file}\n")
    with site().history.event_rows(since=period[0], until=period[1]) as rows:
        lines = _KINDS[kind](rows)
        if out is None:
            sys.stdout.writelines(lines)
            return
        try:
            with out.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
        except OSError as error:
            raise BadInput(f"{out} cannot be written", found=error) from error


_KINDS = {"jsonl": cloud_events, "csv": comma_separated}
