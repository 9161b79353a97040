"""Is the history what was signed? The chain, every checkpoint in the database, and every copy of one outside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from upkeep.audit.chain import GENESIS, verify_chain
from upkeep.audit.checkpoint import Checkpoint, read_checkpoint
from upkeep.audit.copies import Copies
from upkeep.audit.queries import Queries
from upkeep.audit.rotation import KeyChange, rotation_in, trusted_through
from upkeep.audit.signing import PublicKey
from upkeep.audit.tables import CheckpointRow, EventRow
from upkeep.errors import AuditError


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was signed; the first event or checkpoint that is not."""

    reason: str
    seq: int | None = None
    checkpoint: int | None = None


@dataclass(frozen=True)
class HistoryState:
    """Whether the history is whole; the first problem comes first. `notes` are no proof of tampering."""

    events: int
    checkpoints: int
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing contradicts what was signed."""
        return not self.problems

    @property
    def reason(self) -> str:
        """One sentence."""
        if self.problems:
            return self.problems[0].reason
        return f"{self.events} events, the chain is whole; {self.checkpoints} checkpoints agree with it"


@dataclass
class Walk:
    """What one pass over the events has seen."""

    wanted: frozenset[int]
    last: int = 0
    heads: dict[int, str] = field(default_factory=lambda: {0: GENESIS})
    digests: dict[tuple[int, int], str] = field(default_factory=dict)
    changes: list[KeyChange] = field(default_factory=list)

    def over(self, rows: Iterable[EventRow]) -> Iterator[EventRow]:
        """The rows as they come."""
        since, digest = 0, hashlib.sha256()
        for row in rows:
            yield row
            self.last = row.seq
            digest.update(f"{row.hash}\n".encode())
            if row.seq in self.wanted:
                self.heads[row.seq] = row.hash
                self.digests[since, row.seq] = digest.hexdigest()
                since, digest = row.seq, hashlib.sha256()
            if change := rotation_in(row):
                self.changes.append(change)


def verify_history(history: Queries, copies: Copies, keys: Sequence[PublicKey]) -> HistoryState:
    """Compare events, checkpoints and copies; `keys` and those tied to them by rotations are trusted, no others.

    Raises:
        AuditError: the database cannot be read.
    """
    outside: list[Checkpoint] = []
    strange: list[Problem] = []
    notes = []
    try:
        outside, strange = _outside(copies)
    except AuditError as error:
        notes = [f"{error}; without them a tail that was cut off does not show"]
    rows = history.checkpoint_rows()
    inside = [Checkpoint.of(row) for row in rows]
    walk = Walk(frozenset(one.upto_seq for one in (*inside, *outside)))
    with history.event_rows() as events:
        chain = verify_chain(walk.over(events))
    problems = [] if chain.ok else [Problem(chain.reason, seq=chain.bad_seq)]
    trust = _Trust(trusted_through(keys, walk.changes), {change.old.id: change.seq for change in walk.changes})
    problems += _Comparison(walk, trust, limit=chain.bad_seq).all(inside, outside)
    problems += _sequence(inside)
    if not notes:
        problems += [*_against_copies(rows, inside, outside, copies), *strange]
    problems.sort(key=lambda problem: (problem.seq is None, problem.seq or 0))
    told = (*notes, *_waiting(rows, copies), *_archived(history))
    return HistoryState(walk.last, len(inside), tuple(problems), told)


@dataclass(frozen=True)
class _Trust:
    keys: dict[str, PublicKey]
    retired: dict[str, int]

    def objection(self, checkpoint: Checkpoint) -> str:
        """Why the checkpoint's signature counts for nothing; empty when it counts."""
        key = self.keys.get(checkpoint.key_id)
        if key is None:
            return f"was signed with key {checkpoint.key_id}, which is not one to trust"
        if not key.signed(checkpoint.statement, checkpoint.sig):
            return "was changed after it was signed"
        retired = self.retired.get(key.id)
        if retired is not None and checkpoint.upto_seq >= retired:
            return f"was signed with key {key.id} after event {retired} had retired it"
        return ""


@dataclass(frozen=True)
class _Comparison:
    """Checkpoints against the events that were walked; nothing is known about events from `limit` on."""

    walk: Walk
    trust: _Trust
    limit: int | None

    def all(self, inside: Sequence[Checkpoint], outside: Sequence[Checkpoint]) -> list[Problem]:
        """What is wrong with each; a copy that says what its original says is looked at once."""
        proved = {"": 0}  # by signature: up to where its line of checkpoints agrees with the events
        problems = []
        for checkpoint in sorted(dict.fromkeys((*inside, *outside)), key=lambda one: one.id):
            before = proved.get(checkpoint.prev_sig, 0)
            problem = self._one(checkpoint, before)
            if problem:
                problems.append(problem)
            good = problem is None and self._reached(checkpoint)
            proved[checkpoint.sig] = checkpoint.upto_seq if good else before
        return problems

    def _reached(self, checkpoint: Checkpoint) -> bool:
        return self.limit is None or checkpoint.upto_seq < self.limit

    def _one(self, checkpoint: Checkpoint, proved: int) -> Problem | None:
        if objection := self.trust.objection(checkpoint):
            return Problem(f"checkpoint {checkpoint.id} {objection}", checkpoint=checkpoint.id)
        if not self._reached(checkpoint):
            return None
        if checkpoint.upto_seq > self.walk.last:
            first = self.walk.last + 1
            text = f"event {first} is missing: checkpoint {checkpoint.id} of {checkpoint.at} covers {checkpoint.upto_seq} events"
            return Problem(text, seq=first, checkpoint=checkpoint.id)
        if self.walk.heads[checkpoint.upto_seq] != checkpoint.head_hash:
            first, last = min(proved + 1, checkpoint.upto_seq), checkpoint.upto_seq
            which = f"event {first}" if first == last else f"an event from {first} to {last}"
            text = f"{which} is not the one that checkpoint {checkpoint.id} of {checkpoint.at} was signed over: the chain was rewritten"
            return Problem(text, seq=first, checkpoint=checkpoint.id)
        first = checkpoint.upto_seq - checkpoint.n + 1
        sealed = self.walk.digests.get((first - 1, checkpoint.upto_seq), checkpoint.hashes_sha256)
        if sealed != checkpoint.hashes_sha256:
            text = f"an event from {first} to {checkpoint.upto_seq} is not one that checkpoint {checkpoint.id} was signed over"
            return Problem(text, seq=first, checkpoint=checkpoint.id)
        return None


def _sequence(inside: Sequence[Checkpoint]) -> Iterator[Problem]:
    """Each follows the one before."""
    number, upto, sig = 1, 0, ""
    for checkpoint in inside:
        if checkpoint.id != number:
            yield Problem(f"checkpoint {number} is missing from the database", checkpoint=number)
        elif checkpoint.prev_sig != sig or checkpoint.n != checkpoint.upto_seq - upto:
            yield Problem(f"checkpoint {number} does not follow the one before it", checkpoint=number)
        number, upto, sig = checkpoint.id + 1, checkpoint.upto_seq, checkpoint.sig


def _against_copies(
    rows: Sequence[CheckpointRow], inside: Sequence[Checkpoint], outside: Sequence[Checkpoint], copies: Copies
) -> Iterator[Problem]:
    """Every copy has its original, and every original that was copied there its copy."""
    originals = {one.id: one for one in inside}
    for copy in outside:
        original = originals.get(copy.id)
        if original is None:
            yield Problem(
                f"checkpoint {copy.id} is missing from the database; its copy is in {copies.where}", checkpoint=copy.id
            )
        elif original != copy:
            text = f"checkpoint {copy.id} is not the one that was copied to {copies.where}: the history forked there"
            yield Problem(text, checkpoint=copy.id)
    there = {copy.id for copy in outside}
    for row in rows:
        if row.exported_to == copies.where and row.id not in there:
            yield Problem(f"the copy of checkpoint {row.id} is gone from {copies.where}", checkpoint=row.id)


def _outside(copies: Copies) -> tuple[list[Checkpoint], list[Problem]]:
    read = copies.read()
    found = {name: read_checkpoint(content) for name, content in read.items()}
    strange = [f"{name} in {copies.where} is not a checkpoint" for name, one in found.items() if one is None]
    return [one for one in found.values() if one], [Problem(text) for text in strange]


def _waiting(rows: Sequence[CheckpointRow], copies: Copies) -> Iterator[str]:
    waiting = [str(row.id) for row in rows if not row.exported_to]
    if waiting:
        yield f"{len(waiting)} checkpoints from {waiting[0]} on have no copy yet; the next one tries {copies.where} again"


def _archived(history: Queries) -> Iterator[str]:
    for one in history.archives():
        text = (
            f"events {one.first_seq} to {one.upto_seq} are archived in {one.file} (SHA-256 {one.sha256}) by {one.by} "
            f"on {one.at[:10]}: their hashes are proved here, their texts by `upkeep history archived FILE`"
        )
        yield text if Path(one.file).is_file() else f"{text}; the file is not there now"
