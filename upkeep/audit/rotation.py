"""A change of keys: one event that the old and the new key sign."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from upkeep.audit.chain import canonical
from upkeep.audit.signing import PublicKey, SigningKey
from upkeep.audit.tables import EventRow

ROTATED = "history.key_rotated"


class Rotation(BaseModel):
    """The event's body: both public keys in base64, and both keys' signatures over them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    old_public: str
    new_public: str
    at: str
    signed_by_old: str = ""
    signed_by_new: str = ""

    @property
    def statement(self) -> str:
        """The text that both sign."""
        facts = {"old_public": self.old_public, "new_public": self.new_public, "at": self.at}
        return canonical(facts | {"what": "upkeep history key rotation v1"})

    def signed(self, old: SigningKey, new: SigningKey) -> Rotation:
        """The same, signed by both."""
        return self.model_copy(
            update={"signed_by_old": old.sign(self.statement), "signed_by_new": new.sign(self.statement)}
        )


@dataclass(frozen=True)
class KeyChange:
    """A rotation whose signatures are right, and the event that holds it."""

    seq: int
    old: PublicKey
    new: PublicKey


def rotation_in(row: EventRow) -> KeyChange | None:
    """The change of keys that an event announces; None when it does not, or is not signed by both."""
    if row.action != ROTATED:
        return None
    body: dict[str, Any] = json.loads(row.body)
    try:
        rotation = Rotation.model_validate(body["body"])
        old, new = PublicKey.of_raw(rotation.old_public), PublicKey.of_raw(rotation.new_public)
    except (ValidationError, ValueError):
        return None
    signed = old.signed(rotation.statement, rotation.signed_by_old) and new.signed(
        rotation.statement, rotation.signed_by_new
    )
    return KeyChange(row.seq, old, new) if signed else None


def trusted_through(given: Iterable[PublicKey], changes: Iterable[KeyChange]) -> dict[str, PublicKey]:
    """By id: the keys given, and those that a change signed by both ties to one of them."""
    trusted = {key.id: key for key in given}
    waiting = list(changes)
    while tied := [change for change in waiting if {change.old.id, change.new.id} & trusted.keys()]:
        for change in tied:
            trusted |= {change.old.id: change.old, change.new.id: change.new}
        waiting = [change for change in waiting if change not in tied]
    return trusted
