"""The evidence pack: one zip that tells a run, and proves it, without a network and without Upkeep."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import jinja2

from upkeep import __version__
from upkeep.audit.chain import canonical
from upkeep.audit.checkpoint import Checkpoint
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.history import History
from upkeep.audit.rotation import ROTATED
from upkeep.audit.story import GOOD, Story
from upkeep.errors import AuditError

MOST_SHOWN = 4000
_PARTS = resources.files("upkeep.audit") / "pack"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_TONES = {"warn": "warn", "unknown": "bad", "fail": "bad", "failed": "bad", "no result": "bad", "rolled back": "bad"}


def write_pack(
    history: History, checkpoints: Checkpoints, run_id: str, out: Path, *, rotations: str | None = None
) -> None:
    """Write the pack of one run; a run that no checkpoint covers yet is sealed first.

    `rotations`: changes of keys as JSON, where `history` is not all there is, but an archive that was opened.

    Raises:
        AuditError: the history cannot be read, a key cannot be used, or `out` cannot be written.
    """
    detail = history.run(run_id)
    story = Story(detail, history.events(detail.id))
    sealing = _sealing(history, checkpoints, story)
    files = {
        "index.html": _page(story, sealing[-1], out.name),
        "run.json": history.record_text(detail.id),
        "events.jsonl": "".join(_lines(history, sealing, detail.id)),
        "checkpoints.json": json.dumps([one.model_dump() for one in sealing], indent=1) + "\n",
        "rotations.json": rotations_of(history) if rotations is None else rotations,
        "verify.py": (_PARTS / "verify.py").read_text("utf-8"),
        **{f"{key.id}.pem": key.pem for key in checkpoints.keys.publics()},
    }
    key = checkpoints.keys.current()
    manifest = canonical(
        {
            "what": "upkeep evidence pack v1",
            "run": detail.id,
            "made_at": datetime.now(UTC).isoformat(),
            "upkeep": __version__,
            "key_id": key.id,
            "events": [event.seq for event in story.events],
            "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
        }
    )
    write_zip(out, sorted((files | {"manifest.json": manifest, "manifest.sig": key.sign(manifest)}).items()))


def rotations_of(history: History) -> str:
    """Every change of keys, as JSON."""
    return json.dumps([event.body for event in history.events("") if event.action == ROTATED]) + "\n"


def _sealing(history: History, checkpoints: Checkpoints, story: Story) -> Sequence[Checkpoint]:
    """The checkpoints whose stretches hold the run's events; of a run without an end up to the newest, so that none was cut off."""
    made = history.checkpoints()
    if not made or made[-1].upto_seq < story.last.seq:
        checkpoints.make()
        made = history.checkpoints()
    if story.closed is None:
        return [one for one in made if one.upto_seq >= story.opened.seq]
    last = next(number for number, one in enumerate(made) if one.upto_seq >= story.last.seq)
    return [one for one in made[: last + 1] if one.upto_seq >= story.opened.seq]


def _lines(history: History, sealing: Sequence[Checkpoint], run_id: str) -> Iterator[str]:
    """Every event of those stretches by number and hashes; the run's own with their bodies, other runs' stay at home."""
    first, last = sealing[0], sealing[-1]
    with history.event_rows(after=first.upto_seq - first.n, upto=last.upto_seq) as rows:
        for row in rows:
            line: dict[str, object] = {"seq": row.seq, "prev_hash": row.prev_hash, "hash": row.hash}
            yield canonical(line | ({"body": row.body} if row.run == run_id else {})) + "\n"


def _page(story: Story, checkpoint: Checkpoint, pack: str) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string((_PARTS / "index.html.j2").read_text("utf-8"))
    closed = story.closed
    return page.render(
        story=story,
        outcome=str(closed.body["outcome"]) if closed else "not ended",
        checkpoint=checkpoint,
        pack=pack,
        tone=_tone,
        bounded=_bounded,
        made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        version=__version__,
    )


def _tone(word: str) -> str:
    good = {"ok", "pass", "succeeded", "go", *(outcome.value for outcome in GOOD)}
    return "good" if word in good else _TONES.get(word, "warn")


def _bounded(body: object) -> str:
    text = json.dumps(body, indent=1, ensure_ascii=False)
    return (
        text
        if len(text) <= MOST_SHOWN
        else f"{text[:MOST_SHOWN]}\n… {len(text) - MOST_SHOWN} more characters in events.jsonl"
    )


def write_zip(out: Path, files: Iterable[tuple[str, str | Iterable[str]]]) -> None:
    """Write one zip, whole or not at all; the same files give the same bytes. What is given in parts is never held as a whole.

    Raises:
        AuditError: it cannot be written.
    """
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack:
                for name, content in files:
                    _put(pack, name, content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    except OSError as error:
        raise AuditError(f"the pack cannot be written to {out}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _put(pack: zipfile.ZipFile, name: str, content: str | Iterable[str]) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
    if isinstance(content, str):
        pack.writestr(entry, content.encode())
        return
    with pack.open(entry, "w", force_zip64=True) as file:
        for text in content:
            file.write(text.encode())
