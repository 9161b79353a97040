"""Keeping secrets out of the history: known values and the forms secrets usually have."""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections.abc import Sequence
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 4

_WORD = r"(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|["']?[^\s'",;]+)"""

_CERTAIN = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(://[^/\s:@]{0,200}:)[^\s/]{1,400}(?=@)"),
    re.compile(r"\b(?:gh[opsu]_|github_pat_|glpat-|xox[abprs]-|hvs\.)[\w.-]{10,}"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
)
_LIKELY = (
    re.compile(r"""(?i)(authorization["']?\s{0,9}[:=]\s{0,9}["']?)(?:(?:bearer|basic|digest|token)\s+)?[^\s'",;]+"""),
    re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{16,}"),
    re.compile(rf"""(?i)({_WORD}["']?\s{{0,9}}[=:]\s{{0,9}}){_VALUE}"""),
    re.compile(rf"(?i)(--[\w-]{{0,40}}{_WORD}\s{{1,9}}){_VALUE}"),
)
_NAMED = re.compile(rf"(?i)(?:.*[._-])?(?:{_WORD}|authorization|cookie)|.*password")


class Redaction:
    """Masks registered values and well-known forms; safe for many threads and for signal handlers."""

    def __init__(self) -> None:
        self._values: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def mask(self, secret: str) -> None:
        """Never let `secret` through, plain or encoded; one of under four characters would mask half of every text and is left to the forms."""
        if len(secret) >= SHORTEST_SECRET:
            with self._lock:
                self._values = tuple(sorted({*self._values, *_spellings(secret)}, key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` with every secret replaced, and without characters that no database stores."""
        return self._masked(text, (*_CERTAIN, *_LIKELY))

    def data(self, value: object) -> object:
        """Plain JSON values with every text in them, keys too, redacted; a figure that is not finite becomes its name."""
        return self._plain(value, (*_CERTAIN, *_LIKELY))

    def document(self, value: object) -> object:
        """Like `data` for what is read back and acted on: a log pattern that looks for `password: wrong` stays what it is."""
        return self._plain(value, _CERTAIN)

    def _plain(self, value: object, forms: Sequence[re.Pattern[str]]) -> object:
        if isinstance(value, str):
            return self._masked(value, forms)
        if isinstance(value, dict):
            return {self._masked(str(key), forms): self._entry(str(key), item, forms) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._plain(item, forms) for item in value]
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    def _entry(self, key: str, item: object, forms: Sequence[re.Pattern[str]]) -> object:
        return _hidden(item) if _NAMED.fullmatch(key) else self._plain(item, forms)

    def _masked(self, text: str, forms: Sequence[re.Pattern[str]]) -> str:
        text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        for value in self._values:
            text = text.replace(value, MASK)
        for form in forms:
            text = form.sub(lambda match: (match[1] if match.re.groups else "") + MASK, text)
        return text


def _spellings(secret: str) -> set[str]:
    """How a secret may look in what programs print: as it is, on one line, in a URL, in JSON, in Base64."""
    plain = secret.encode("utf-8", "surrogateescape")
    return {
        secret.encode("utf-8", "replace").decode(),
        " ".join(secret.split()) or secret,
        quote(plain, safe=""),
        json.dumps(secret)[1:-1],
        base64.b64encode(plain).decode().rstrip("="),
    }


def _hidden(item: object) -> object:
    if isinstance(item, str):
        return MASK if item else item
    if isinstance(item, dict):
        return {key: _hidden(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_hidden(value) for value in item]
    return item
