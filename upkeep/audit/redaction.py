"""Keeping secrets out of the history: known values and the forms secrets usually have."""

from __future__ import annotations

import functools
import json
import re
import threading

MASK = "***"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HEADER = re.compile(r"(?i)((?:authorization|proxy-authorization)\s*[:=]\s*(?:bearer|basic|token)?\s*)[^\s'\",;]+")
_SETTING = re.compile(r"(?i)(\b(?:password|passwd|secret|token|api[_-]?key)\b\s*[=:]\s*)[^\s'\",;]+")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^@\s/]+(?=@)")
_FORMS = (
    (("-----begin",), _KEY),
    (("authorization",), _HEADER),
    (("password", "passwd", "secret", "token", "api"), _SETTING),
    (("://",), _ADDRESS),
)
"""Each form, and words of which it needs one, in lower case: most texts hold none and are only searched for those."""

_WORDS = (
    *("-----begin", "authorization", "password", "passwd", "secret", "token"),
    *("apikey", "api_key", "api-key", "private_key"),
)
"""Without one of these, and without an address that names a user, no ASCII text has a form and no key names a secret."""


class Redaction:
    """Masks registered values and well-known forms; safe for many threads."""

    def __init__(self) -> None:
        self._values: tuple[str, ...] = ()
        self._escaped: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def mask(self, secret: str) -> None:
        """Never let `secret` through; shorter than four characters it would mask half of every text and is left to the forms."""
        if len(secret) >= 4:  # noqa: PLR2004 - see above
            with self._lock:
                self._values = tuple(sorted({*self._values, secret}, key=len, reverse=True))
                self._escaped = tuple(json.dumps(value, ensure_ascii=False)[1:-1] for value in self._values)

    def may_change(self, text: str) -> bool:
        """Whether `data` could change anything in data whose JSON is `text`; most events hold nothing that comes near a secret."""
        if not text.isascii() or "\\u0000" in text or any(value in text for value in self._escaped):
            return True
        lowered = text.lower()
        return ("://" in text and "@" in text) or any(word in lowered for word in _WORDS)

    def text(self, text: str) -> str:
        """`text` with every secret replaced, and what no database keeps: NUL and halves of surrogate pairs."""
        if not text.isascii() or "\0" in text:
            text = _UNSTORABLE.sub("\ufffd", text)
        for value in self._values:
            text = text.replace(value, MASK)
        return _without_forms(text) if ":" in text or "=" in text or "-----" in text else text

    def data(self, value: object) -> object:
        """The same structure with every text in it, keys too, redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self._entry(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value

    def _entry(self, key: str, item: object) -> object:
        return MASK if isinstance(item, str) and item and _names_secret(key) else self.data(item)


def _without_forms(text: str) -> str:
    plain, lowered = text.isascii(), text.lower()
    for words, form in _FORMS:
        if not plain or any(word in lowered for word in words):  # beyond ASCII other letters count as these, too
            text = form.sub(lambda match: (match[1] if match.re.groups else "") + MASK, text)
    return text


@functools.lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    return bool(re.fullmatch(r"(?i).*(password|passwd|secret|api_?key|private_key)", key))
