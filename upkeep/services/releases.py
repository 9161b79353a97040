"""Release manifests: read, proved to be signed, recent and the right ones; and their artifacts, fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

from upkeep.documents.reading import read_json
from upkeep.documents.source import decoded as decoded_text
from upkeep.domain.profile import Trust
from upkeep.domain.release import Artifact, Release
from upkeep.domain.version import VersionRule
from upkeep.errors import ArtifactError, BadInput, Place, UntrustedRelease
from upkeep.services.downloads import Patience, Wanted, copied, fetched
from upkeep.services.signatures import Key, load_keys, signers
from upkeep.services.web import Limits, get, public

MAX_MANIFEST_BYTES = 1024**2
_MAX_SIGNATURE_BYTES = 16 * 1024
_EARLIEST_CLOCK = datetime(2024, 1, 1, tzinfo=UTC)
_OK, _NOT_FOUND, _GONE = 200, 404, 410

SeenSeq = Callable[[str, str], int | None]
"""The highest release_seq accepted so far for (channel, key id); None when there was none."""


@dataclass(frozen=True)
class TrustedRelease:
    """A release whose manifest is signed by `key_ids`; `location` is the manifest's path or URL."""

    release: Release
    manifest_sha256: str
    key_ids: tuple[str, ...]
    location: str
    manifest: bytes
    signatures: Mapping[str, bytes] = field(default_factory=dict)
    ca: str | Path = ""


def read_release(
    location: str,
    relative_to: Path,
    trust: Trust,
    trust_dir: Path,
    *,
    product: str,
    now: datetime,
    seen_seq: SeenSeq,
    ca: str | Path = "",
    limits: Limits | None = None,
) -> TrustedRelease:
    """Read a manifest from a file (relative to a document or its folder) or a URL and prove that it may be used.

    Signatures lie beside it as `MANIFEST.sig` or `MANIFEST.KEY-ID.sig`, DER or base64 of DER, over its exact bytes.

    Raises:
        UntrustedRelease: unsigned, wrongly signed, expired, older than one seen before, damaged, or another product's.
        BadInput: the manifest cannot be read.
        ServiceError: the manifest's server does not answer.
    """
    _check_clock(now)
    ca = ca or (trust_dir / Path(trust.ca).expanduser() if trust.ca else "")
    keys = load_keys(trust, trust_dir)
    source = _Source(location, relative_to, ca, limits or Limits(body_bytes=MAX_MANIFEST_BYTES))
    manifest = source.manifest()
    signatures = dict(source.signatures(keys))
    signed_by = _enough(manifest, signatures, keys, trust.threshold, source)
    release = read_json(decoded_text(manifest, source.name), Release, file=source.name, kind=UntrustedRelease)
    _check_release(release, source.name, product, now)
    _check_sequence(release, source.name, signed_by, seen_seq)
    digest = hashlib.sha256(manifest).hexdigest()
    return TrustedRelease(release, digest, tuple(k.id for k in signed_by), source.location, manifest, signatures, ca)


def fetch_artifact(
    trusted: TrustedRelease,
    artifact: Artifact,
    cache: Path,
    *,
    ca: str | Path = "",
    patience: Patience | None = None,
) -> Path:
    """An artifact of a trusted release as a file in `cache`, complete and with the signed SHA-256.

    Raises:
        ChecksumMismatch: what is there is not what the manifest names.
        ArtifactError: it cannot be fetched or stored.
    """
    where = _artifact_location(trusted.location, artifact.url)
    wanted = Wanted(where, artifact.size_bytes, artifact.sha256)
    if _is_url(where):
        return fetched(wanted, cache, ca=ca or trusted.ca, patience=patience)
    return copied(Path(where), wanted, cache)


@dataclass(frozen=True)
class _Source:
    """Where a manifest and its signatures are read from."""

    given: str
    relative_to: Path
    ca: str | Path
    limits: Limits

    @property
    def location(self) -> str:
        if _is_url(self.given):
            return self.given
        folder = self.relative_to if self.relative_to.is_dir() else self.relative_to.parent
        return str(folder / Path(self.given).expanduser())

    @property
    def name(self) -> str:
        return public(self.location) if _is_url(self.location) else self.location

    def manifest(self) -> bytes:
        content = self._read(self.location, MAX_MANIFEST_BYTES)
        if content is None:
            remedy = "correct 'release' in the plan; a file is relative to the plan"
            raise BadInput("there is no such release manifest", place=Place(self.name), remedy=remedy)
        return content

    def signatures(self, keys: tuple[Key, ...]) -> Iterator[tuple[str, bytes]]:
        """The signatures that are there, by key id; "" for the one that names no key."""
        for owner in ("", *(key.id for key in keys)):
            suffix = f".{owner}.sig" if owner else ".sig"
            content = self._read(_beside(self.location, suffix), _MAX_SIGNATURE_BYTES)
            if content is not None:
                yield owner, content

    def _read(self, location: str, limit_bytes: int) -> bytes | None:
        return self._ask(location) if _is_url(location) else _read_file(Path(location), limit_bytes)

    def _ask(self, url: str) -> bytes | None:
        answer = get(url, ca=self.ca, limits=self.limits)
        if answer.status in {_NOT_FOUND, _GONE}:
            return None
        if answer.status != _OK:
            raise BadInput(
                "cannot be read", place=Place(public(url)), found=f"HTTP status {answer.status}", allowed="200"
            )
        return answer.body


def _read_file(path: Path, limit_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot be read: {error}", place=Place(str(path))) from error
    if len(content) > limit_bytes:
        raise UntrustedRelease("is too large", place=Place(str(path)), allowed=f"{limit_bytes} bytes")
    return content


def _beside(location: str, suffix: str) -> str:
    if not _is_url(location):
        return location + suffix
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc, parts.path + suffix, parts.query, ""))


def _is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def _artifact_location(manifest: str, url: str) -> str:
    if _is_url(url):
        return url
    if "://" in url:
        raise ArtifactError(f"{url.partition('://')[0]}:// is not an address for artifacts; allowed: http(s) or a path")
    return urljoin(manifest, url) if _is_url(manifest) else str(Path(manifest).parent / url)


def _enough(
    manifest: bytes, signatures: Mapping[str, bytes], keys: tuple[Key, ...], threshold: int, source: _Source
) -> tuple[Key, ...]:
    """The valid keys that signed, if they are as many as asked for."""
    place, allowed = Place(source.name), _allowed(keys, threshold)
    if not signatures:
        remedy = f"put the signature beside it as {_beside(source.name, '.sig')}"
        raise UntrustedRelease(
            "the release is not signed", place=place, found="no .sig file", allowed=allowed, remedy=remedy
        )
    signed = signers(manifest, signatures, tuple(key for key in keys if not key.revoked))
    if len(signed) >= threshold:
        return signed
    revoked = signers(manifest, signatures, tuple(key for key in keys if key.revoked))
    good = ", ".join(key.id for key in signed) or "no trusted key"
    bad = f"; signed by revoked {', '.join(key.id for key in revoked)}" if revoked else ""
    problem = "not enough signatures are valid" if signed else "the signature is not valid"
    raise UntrustedRelease(
        problem,
        place=place,
        found=f"valid from {good}, {len(signed)} of {threshold} needed{bad}",
        allowed=allowed,
        remedy=_signature_remedy(manifest, has_revoked=bool(revoked)),
    )


def _allowed(keys: tuple[Key, ...], threshold: int) -> str:
    names = ", ".join(key.id for key in keys if not key.revoked)
    return f"{threshold} ECDSA P-256 signature{'s' if threshold > 1 else ''} over the file's exact bytes by {names}"


def _signature_remedy(manifest: bytes, *, has_revoked: bool) -> str:
    if not manifest.rstrip().endswith(b"}"):
        return "the manifest is cut short: fetch it again"
    if has_revoked:
        return "ask the publisher for a release signed with a key that is still valid"
    return "fetch manifest and signature again; if it stays so, the release was changed after signing: do not use it"


def _check_clock(now: datetime) -> None:
    if now.astimezone(UTC) < _EARLIEST_CLOCK:
        raise UntrustedRelease(
            "this machine's clock is wrong, so no release's expiry can be judged",
            found=f"{now:%Y-%m-%d}",
            allowed="2024 or later",
            remedy="set the clock (chronyc makestep, or timedatectl set-ntp true)",
        )


def _check_release(release: Release, file: str, product: str, now: datetime) -> None:
    if release.product != product:
        raise UntrustedRelease(
            "the release is for another agent",
            place=Place(file, None, "product"),
            found=release.product,
            allowed=product,
            remedy="correct 'profile' or 'release' in the plan",
        )
    if release.expires <= now:
        raise UntrustedRelease(
            "the release manifest has expired",
            place=Place(file, None, "expires"),
            found=f"{release.expires:%Y-%m-%d %H:%M %Z}",
            allowed=f"after {now:%Y-%m-%d %H:%M %Z}",
            remedy="fetch the publisher's current manifest",
        )
    _check_rules(release, file)


def _check_rules(release: Release, file: str) -> None:
    """What a manifest's own fields cannot say about themselves."""
    platforms = [(a.os, a.arch, a.libc) for a in release.artifacts]
    if len(set(platforms)) < len(platforms):
        raise UntrustedRelease("two artifacts are for one platform", place=Place(file, None, "artifacts"))
    if not release.upgrade_from:
        return
    try:
        VersionRule(release.upgrade_from)
    except ValueError as error:
        place = Place(file, None, "upgrade_from")
        raise UntrustedRelease(str(error), place=place, found=release.upgrade_from) from error


def _check_sequence(release: Release, file: str, signed_by: tuple[Key, ...], seen_seq: SeenSeq) -> None:
    for key in signed_by:
        seen = seen_seq(release.channel, key.id)
        if seen is not None and release.release_seq < seen:
            raise UntrustedRelease(
                f"the release is older than one accepted before (channel {release.channel}, key {key.id})",
                place=Place(file, None, "release_seq"),
                found=release.release_seq,
                allowed=f"{seen} or more",
                remedy="use the current release; to go back on a host, roll back the run that upgraded it",
            )
