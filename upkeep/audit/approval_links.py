"""Links that approve or reject: signed by this controller for one person, one run, one stage and a time; no password is in them."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import AwareDatetime, ValidationError

from upkeep.audit.signing import write_once
from upkeep.domain.document import Document
from upkeep.errors import AuditError, Refused

PATH = "/approvals/link"


class Invitation(Document):
    """What a link is for; a copy of it is good for nothing else, and for nobody twice."""

    person: str
    run: str
    subject: str
    plan_hash: str
    expires: AwareDatetime


class ApprovalLinks:
    """Makes and reads links; its key is kept beside those of the history, with mode 0600."""

    def __init__(self, keys: Path) -> None:
        self._path = keys / "links.key"

    def make(self, site_url: str, invitation: Invitation) -> str:
        """The address of the confirmation page."""
        return f"{site_url}{PATH}?code={self._signer().dumps(invitation.model_dump(mode='json'))}"

    def read(self, code: str, now: datetime | None = None) -> Invitation:
        """What a code is for.

        Raises:
            Refused: this controller did not sign it, or it is too old.
        """
        try:
            invitation = Invitation.model_validate(self._signer().loads(code))
        except (BadSignature, ValidationError, ValueError) as error:
            raise Refused(
                "this link was not made by this controller", remedy="ask for a new one, or use upkeep approve"
            ) from error
        if (now or datetime.now(UTC)) >= invitation.expires:
            raise Refused(f"this link expired on {invitation.expires:%Y-%m-%d %H:%M} UTC", remedy="use upkeep approve")
        return invitation

    def _signer(self) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._key(),
            salt="upkeep approval link",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _key(self) -> bytes:
        try:
            if not self._path.exists():
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_once(self._path, secrets.token_bytes(32))
            if self._path.stat().st_mode & 0o077:
                raise AuditError(
                    f"others may read {self._path}; do: remove it, a new key is made and old links are void"
                )
            return self._path.read_bytes()
        except OSError as error:
            raise AuditError(
                f"the key in {self._path} cannot be used: {error}; do: give this user the folder"
            ) from error
