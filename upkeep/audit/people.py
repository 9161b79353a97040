"""Who may view, start, approve and administer. Tokens are 256 random bits, shown once and kept as SHA-256."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable

from pydantic import TypeAdapter, ValidationError
from sqlmodel import Session, select

from upkeep.audit.history import History
from upkeep.audit.tables import PersonRow
from upkeep.domain.document import Name
from upkeep.domain.person import ROLES, Person, Role
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput

_PREFIX = "upkeep_"
_ROLES: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[Role, ...])
_NAMES: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[Name, ...])


class People:
    """The people of one controller; changes are events of its history. Raises AuditError when that cannot be used."""

    def __init__(self, history: History) -> None:
        self._history = history

    def everybody(self) -> list[Person]:
        """All people by name, revoked ones too."""
        with self._history.reading() as session:
            return [_person(row) for row in session.exec(select(PersonRow).order_by(PersonRow.name))]

    def anybody(self) -> bool:
        """Whether there is anyone who may sign in."""
        return any(person.revoked_at is None for person in self.everybody())

    def by_token(self, token: str) -> Person | None:
        """Whose token this is; None for nobody's and for one that was revoked."""
        with self._history.reading() as session:
            row = session.exec(select(PersonRow).where(PersonRow.token_sha256 == _hashed(token))).first()
        return _person(row) if row is not None and row.revoked_at is None else None

    def by_name(self, name: str) -> Person | None:
        """The person who may sign in under exactly this name."""
        with self._history.reading() as session:
            row = session.get(PersonRow, name)
        return _person(row) if row is not None and row.revoked_at is None else None

    def add(
        self, name: str, roles: Iterable[str], actor: Actor, *, logins: Iterable[str] = (), reason: str = ""
    ) -> str:
        """Let a person in, or give a known one a new token and these roles; the token, which nobody can read again.

        Raises:
            BadInput: not a name or role, or a name that another person has.
        """
        row = self._row(name, tuple(roles), tuple(logins))
        token = _PREFIX + secrets.token_urlsafe(32)
        row.token_sha256 = _hashed(token)
        self._history.mask(token)
        body = {"person": name, "roles": json.loads(row.roles), "logins": json.loads(row.logins)}
        self._history.change("person.added", _put(row), actor=actor, reason=reason, body=body)
        return token

    def revoke(self, name: str, actor: Actor, *, reason: str = "") -> None:
        """From here on the person's token opens nothing.

        Raises:
            BadInput: nobody of this name may sign in.
        """
        if self.by_name(name) is None:
            known = ", ".join(person.name for person in self.everybody() if person.revoked_at is None)
            raise BadInput(
                f"nobody called '{name}' may sign in", allowed=known or "nobody yet", remedy="upkeep people list"
            )
        self._history.change("person.revoked", _revoked(name), actor=actor, reason=reason, body={"person": name})

    def _row(self, name: str, roles: tuple[str, ...], logins: tuple[str, ...]) -> PersonRow:
        try:
            names = _NAMES.validate_python((name, *logins))
            duties = _ROLES.validate_python(roles)
        except ValidationError as error:
            first = error.errors()[0]
            allowed = ", ".join(ROLES) if first["type"] == "literal_error" else "letters, digits, '.', '_' and '-'"
            raise BadInput(
                "not a role" if first["type"] == "literal_error" else "not a name",
                found=first["input"],
                allowed=allowed,
            ) from error
        if not duties:
            raise BadInput("a person needs at least one role", allowed=", ".join(ROLES), remedy="give --role")
        for other in self.everybody():
            if other.name != name and other.revoked_at is None and (taken := [n for n in names if other.is_called(n)]):
                raise BadInput(f"{other.name} is called that already", found=taken[0], remedy="choose another name")
        return PersonRow(
            name=name,
            roles=json.dumps(sorted(set(duties), key=ROLES.index)),
            logins=json.dumps(names[1:]),
            token_sha256="",
            added_at="",
        )


def _put(wanted: PersonRow) -> Callable[[Session, str], None]:
    def apply(session: Session, at: str) -> None:
        row = session.get(PersonRow, wanted.name) or wanted
        row.roles, row.logins, row.token_sha256 = wanted.roles, wanted.logins, wanted.token_sha256
        row.added_at, row.revoked_at = at, None
        session.add(row)

    return apply


def _revoked(name: str) -> Callable[[Session, str], None]:
    def apply(session: Session, at: str) -> None:
        row = session.get(PersonRow, name)
        if row is None:
            raise AuditError(f"{name} is not in the history any more")
        row.revoked_at = at

    return apply


def _person(row: PersonRow) -> Person:
    return Person.model_validate(
        {
            "name": row.name,
            "roles": json.loads(row.roles),
            "logins": json.loads(row.logins),
            "added_at": row.added_at,
            "revoked_at": row.revoked_at,
        }
    )


def _hashed(token: str) -> str:
    """Plain SHA-256 is enough: a token is 256 random bits, which nobody guesses, so nothing is gained by a slow hash."""
    return hashlib.sha256(token.strip().encode()).hexdigest()
