"""One shell on a host for many scripts: each runs in a process of its own, and what many have in common is sent once.

Starting a shell over SSH costs a host more than most scripts do: a channel, two shells, the whole library.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from typing import Literal, NamedTuple

from upkeep.hosts.bootstrap import MARKER, SCRIPT_CUT, framed

_ENDED = "upkeep-ended"
_MOST_DIGITS = 12

GO = b"go\n"

Kind = Literal["plain", "shared", "keep"]
"""`plain`: a script as it is. `shared`: after what was kept. `keep`: what later scripts have in common."""

# Reads only what belongs to a call: `read` takes a line from a pipe byte by byte, and dd whole blocks.
# A script waits for one word more after it has said that it is there: what has not begun may safely be sent again elsewhere.
# What is kept is read once, by the loop itself: reading the library costs a host more than most scripts do.
LOOP = f"""
forget='' code=0
while IFS= read -r call; do
    # shellcheck disable=SC2086 # words
    set -- $call
    [ "$1" = upkeep-call ] || continue
    text=$(dd bs=4096 count="$3" iflag=fullblock 2>/dev/null) || text=$(dd bs=1 count=$(($3 * 4096)) 2>/dev/null)
    case $text in *"#$2") ;; *) exit {SCRIPT_CUT} ;; esac
    echo "{MARKER}:$2:$$"
    echo "{MARKER}:$2:$$" >&2
    [ "$4" = keep ] || read -r go || exit {SCRIPT_CUT}
    case $4 in
    keep) eval "$text" ;;
    shared) (eval "unset forget code call text go; set --; $text") </dev/null ;;
    *) (eval "$forget"; eval "unset forget code call text go; set --; $text") </dev/null ;;
    esac
    code=$?
    printf '{_ENDED}:%s:%s\\n' "$2" "$code"
    printf '{_ENDED}:%s:%s\\n' "$2" "$code" >&2
done
"""


class Kept(NamedTuple):
    """What many scripts have in common, and the command that undoes it for one that has not."""

    text: str
    forget: str


@dataclass(frozen=True)
class Frame:
    """One call of a kept shell as it is sent."""

    lead: bytes
    nonce: bytes

    @classmethod
    def of(cls, script: str, kind: Kind) -> Frame:
        """Wrap a script; raises BadInput when it holds a NUL byte."""
        nonce = secrets.token_hex(16)
        return cls(framed(script, nonce, kind), nonce.encode())

    @classmethod
    def keeping(cls, kept: Kept) -> Frame:
        """What every later `shared` script finds, and no `plain` one."""
        return cls.of(f"{kept.text}\nforget={shlex.quote(kept.forget)}\n", "keep")


class Ending:
    """One stream of one call: hands on what the script printed, and finds where it ended and with which exit code."""

    def __init__(self, nonce: bytes) -> None:
        self._sign = f"{_ENDED}:".encode() + nonce + b":"
        self._held = b""
        self.code: int | None = None

    def feed(self, piece: bytes) -> bytes:
        """What of the stream is certainly the script's."""
        if self.code is not None:
            return b""
        data = self._held + piece
        start = data.find(self._sign)
        if start < 0:
            start = len(data) - self._begun(data)
        self._held = data[start:]
        digits, line_end, _ = data[start + len(self._sign) :][:_MOST_DIGITS].partition(b"\n")
        if line_end:
            self.code = int(digits)
        return data[:start]

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of the sign."""
        longest = min(len(data), len(self._sign) - 1)
        return next((size for size in range(longest, 0, -1) if data.endswith(self._sign[:size])), 0)

    def rest(self) -> bytes:
        """What was held back, when the shell ended without a word."""
        held, self._held = self._held, b""
        return held
