"""Keeping secrets out of the history: known values and the forms secrets usually have."""

from __future__ import annotations

import re
import threading

MASK = "***"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_FORMS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?i)((?:authorization|proxy-authorization)\s*[:=]\s*(?:bearer|basic|token)?\s*)[^\s'\",;]+"),
    re.compile(r"(?i)(\b(?:password|passwd|secret|token|api[_-]?key)\b\s*[=:]\s*)[^\s'\",;]+"),
    re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^@\s/]+(?=@)"),
)
_MARKS = re.compile("[:=]|-----BEGIN")
"""Without one of these a text has none of the forms: most texts are looked at once only."""


class Redaction:
    """Masks registered values and well-known forms; safe for many threads."""

    def __init__(self) -> None:
        self._values: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def mask(self, secret: str) -> None:
        """Never let `secret` through; shorter than four characters it would mask half of every text and is left to the forms."""
        if len(secret) >= 4:  # noqa: PLR2004 - see above
            with self._lock:
                self._values = tuple(sorted({*self._values, secret}, key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` with every secret replaced, and what no database keeps: NUL and halves of surrogate pairs."""
        text = _UNSTORABLE.sub("\ufffd", text)
        for value in self._values:
            text = text.replace(value, MASK)
        for form in _FORMS if _MARKS.search(text) else ():
            text = form.sub(lambda match: (match[1] if match.re.groups else "") + MASK, text)
        return text

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
        named = re.fullmatch(r"(?i).*(password|passwd|secret|api_?key|private_key)", key)
        return MASK if named and isinstance(item, str) and item else self.data(item)
