"""Keeping secrets that a script was given out of what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from urllib.parse import urlsplit

from upkeep.hosts.transport import Reply

HIDDEN = "(hidden)"
_SHORTEST = 8


def secrets_of(url: str, headers: Iterable[str] = (), *, one_time: bool = False) -> tuple[str, ...]:
    """What of an address and of headers' values must not be repeated, longest first; all of it when it works just once."""
    parts = urlsplit(url)
    pieces = {parts.query, parts.password or "", *headers}
    if one_time:
        pieces |= {url, parts.path, parts.path.rpartition("/")[2]}
    return tuple(sorted((piece for piece in pieces if len(piece) >= _SHORTEST), key=len, reverse=True))


def without(reply: Reply, hidden: Iterable[str]) -> Reply:
    """The reply with every hidden text blotted out."""
    stdout, stderr = reply.stdout, reply.stderr
    for text in hidden:
        stdout, stderr = stdout.replace(text.encode(), HIDDEN.encode()), stderr.replace(text, HIDDEN)
    return dataclasses.replace(reply, stdout=stdout, stderr=stderr)
