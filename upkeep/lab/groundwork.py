"""Everything that lies on disk before a lab starts: keys, releases, hosts, documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec

from upkeep.domain.version import Version
from upkeep.lab.certificates import new_server_identity, private_pem, public_pem, write_private
from upkeep.lab.host_files import install_host
from upkeep.lab.layout import LabPaths
from upkeep.lab.releases import VARIANTS, build_release, load_private_key
from upkeep.lab.site_files import write_site
from upkeep.lab.spec import LOOPBACK, LabSpec
from upkeep.lab.ssh_keys import new_ssh_key

RELEASE_LIFETIME = timedelta(days=365)


def lay_out(paths: LabPaths, spec: LabSpec) -> None:
    """Write everything that a lab consists of; its spec comes last."""
    for folder in (paths.directory, paths.keys, paths.hosts, paths.releases):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_keys(paths)
    make_releases(paths, spec)
    for host in spec.hosts:
        install_host(paths, spec, host)
    write_site(paths, spec)
    paths.spec.write_text(spec.model_dump_json(indent=2), encoding="utf-8")


def make_keys(paths: LabPaths) -> None:
    """Fresh keys: SSH client, release signing, control centre with its authority."""
    new_ssh_key(paths.client_key, "upkeep-lab")
    signing = ec.generate_private_key(ec.SECP256R1())
    write_private(paths.release_key, private_pem(signing))
    paths.release_public_key.write_bytes(public_pem(signing))
    identity = new_server_identity((LOOPBACK,))
    write_private(paths.server_key, identity.key)
    paths.server_chain.write_bytes(identity.chain)
    paths.authority.write_bytes(identity.authority)


def make_releases(paths: LabPaths, spec: LabSpec) -> None:
    """The lab's first version, the version to go to, and that one in every misbehaving variant."""
    key = load_private_key(paths.release_key)
    wanted = [(spec.version, ""), (spec.target_version, ""), *((spec.target_version, variant) for variant in VARIANTS)]
    for version, variant in wanted:
        folder = paths.releases / (f"{version}-{variant}" if variant else version)
        expires = datetime.now(UTC) + RELEASE_LIFETIME
        build_release(folder, version, variant=variant, seq=release_seq(version), expires=expires, key=key)


def release_seq(version: str) -> int:
    """A sequence number that rises with the version: 10402 for 1.4.2."""
    major, minor, patch = [*Version.parse(version).numbers, 0, 0][:3]
    return major * 10000 + minor * 100 + patch
