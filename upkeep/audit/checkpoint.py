"""A checkpoint: a signed statement that the history reached an event, and which events there were since the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from upkeep.audit.chain import canonical
from upkeep.audit.signing import SigningKey
from upkeep.audit.tables import CheckpointRow


class Checkpoint(BaseModel):
    """What is signed, and the signature.

    `hashes_sha256` covers the hash of every event since the checkpoint before: so one run is proved without the bodies of the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int
    upto_seq: int
    head_hash: str
    n: int
    hashes_sha256: str
    at: str
    key_id: str
    prev_sig: str
    sig: str = ""

    @classmethod
    def of(cls, row: CheckpointRow) -> Checkpoint:
        """Read from a row."""
        return cls.model_validate(row.model_dump(exclude={"exported_to"}))

    @property
    def statement(self) -> str:
        """The text that is signed."""
        return canonical(self.model_dump(exclude={"sig"}) | {"what": "upkeep history checkpoint v1"})

    @property
    def file_name(self) -> str:
        """Its copy's name: two different checkpoints of one number never share a file, so a fork leaves both."""
        return f"checkpoint-{self.id:08d}-{hashlib.sha256(self.sig.encode()).hexdigest()[:16]}.json"

    def signed(self, key: SigningKey) -> Checkpoint:
        """The same, signed."""
        return self.model_copy(update={"sig": key.sign(self.statement)})

    def text(self) -> str:
        """Its copy's content."""
        return canonical(self.model_dump()) + "\n"


def read_checkpoint(content: bytes) -> Checkpoint | None:
    """A copy read back; None when it is not a checkpoint."""
    try:
        return Checkpoint.model_validate_json(content)
    except ValidationError:
        return None


def digest_of(hashes: Iterable[str]) -> str:
    """SHA-256, in hex, over the events' hashes, each on a line."""
    digest = hashlib.sha256()
    for text in hashes:
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()
