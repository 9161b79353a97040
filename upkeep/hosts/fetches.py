"""URLs that a host asks with one curl: starting it costs a host more than all it then does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_PATIENCE_SECONDS = 3.0
"""What takes longer is asked by itself, with all its time: one that hangs takes no other's answer away."""

CURL_TIMED_OUT = 28
"""As curl says it, of --max-time."""

# curl reads its own file of options for the first URL only, and older ones do not know --fail-early: then each is asked by itself.
_AT_ONCE = """\
[ -n "${{HOME-}}" ] && [ -z "${{CURL_HOME-}}${{XDG_CONFIG_HOME-}}" ] && [ ! -e "$HOME/.curlrc" ] && [ ! -e "$HOME/.config/curlrc" ] &&
command -v curl >/dev/null && curl --fail-early {words} || {{
{again}}}
"""


@dataclass(frozen=True)
class Fetch:
    """What curl is told so that what it prints is an answer: the URL with its options, and what is written after it (as for -w)."""

    options: tuple[str, ...]
    url: str
    seconds: float
    written: str = ""


def at_once(fetches: Sequence[Fetch], ends: Sequence[str], again: str) -> str:
    """Script that asks all with one curl, each answer followed by its end; where not all answered in good time, `again` is run."""
    last = len(fetches) - 1
    words = [
        _words(fetch, end, closed=place < last) for place, (fetch, end) in enumerate(zip(fetches, ends, strict=True))
    ]
    return _AT_ONCE.format(words=" --next ".join(words), again=again)


def _words(fetch: Fetch, end: str, *, closed: bool) -> str:
    """Every URL has a connection of its own: how long it takes to connect is part of the answer."""
    own = ("-H", "Connection: close") if closed else ()
    limit = f"{min(fetch.seconds, _PATIENCE_SECONDS):g}"
    return shlex.join([*fetch.options, *own, "--max-time", limit, "-w", fetch.written + end, fetch.url])
