"""`upkeep history`: what was done, by whom, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upkeep.cli.options import Json, Reason, RunId
from upkeep.errors import BadInput

FromArchive = Annotated[Path | None, typer.Option("--archive", metavar="FILE", help="Read the run there")]

app = typer.Typer(help="What was done, by whom, and what came of it.", no_args_is_help=True)


@app.command("list")
def history_list(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Newest first, this many")] = 20,
    host: Annotated[str, typer.Option(help="Only runs with this host")] = "",
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    from upkeep.commands import inspecting  # noqa: PLC0415

    inspecting.list_runs(limit=limit, host=host, as_json=as_json)


@app.command("show")
def history_show(
    run_id: RunId = "last",
    *,
    host: Annotated[str, typer.Option(help="Everything about one host")] = "",
    archive: FromArchive = None,
    as_json: Json = False,
) -> None:
    """One run: who, why, stages, hosts, steps, findings."""
    from upkeep.commands import inspecting  # noqa: PLC0415

    inspecting.show_run(run_id, host=host, as_json=as_json, archive=archive)


@app.command("verify")
def history_verify(
    *,
    checkpoints: Annotated[
        str, typer.Option(metavar="DIR", help="Copies of checkpoints; default: where this controller puts them")
    ] = "",
    key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PUBLIC.pem", help="Trust only this key and its rotations; repeatable; default: keys here"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check events, signed checkpoints and their copies. Exit code 1 and the first bad event or checkpoint if they do not agree."""
    from upkeep.commands import evidence  # noqa: PLC0415

    raise typer.Exit(evidence.verify(checkpoints=checkpoints, keys=key or [], as_json=as_json))


@app.command("export")
def history_export(
    run_id: Annotated[str, typer.Argument(metavar="[RUN]", help="Run id, a unique beginning of one, or 'last'")] = "",
    *,
    out: Annotated[
        Path | None, typer.Option(help="File; default upkeep-RUN.zip here, or standard output for a period")
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="Events from then on, e.g. 2026-11-01")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Events before then; without a zone it is UTC")] = "",
    kind: Annotated[str, typer.Option("--format", help="Of a period: jsonl (CloudEvents) or csv")] = "jsonl",
    archive: FromArchive = None,
) -> None:
    """One run as an evidence pack (zip: a page, the events, signatures, a verifier), or the events of a period."""
    from upkeep.commands import evidence  # noqa: PLC0415

    if run_id and (since or until):
        raise BadInput("a run or a period, not both", found=run_id, remedy="leave out the run, or --since and --until")
    if run_id:
        evidence.export_run(run_id, out, archive)
    elif since or until:
        evidence.export_period(since, until, kind, out)
    else:
        raise BadInput("nothing was named", allowed="RUN, or --since and --until", remedy="upkeep history export last")


@app.command("rebuild")
def history_rebuild(
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 when they differ")] = False,
    as_json: Json = False,
) -> None:
    """Make the tables about runs anew from the events: hosts, steps, findings, backups, deliveries …; and say what was different."""
    from upkeep.commands import evidence  # noqa: PLC0415

    raise typer.Exit(evidence.rebuild_models(check=check, as_json=as_json))


@app.command("move")
def history_move(
    to: Annotated[str, typer.Argument(metavar="DATABASE", help="postgresql://USER@HOST/NAME or sqlite:///FILE, empty")],
    *,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Move the history, people and all that is kept beside it into another database, chain intact; the old one is closed."""
    from upkeep.commands import evidence  # noqa: PLC0415

    evidence.move_history(to, reason, as_json=as_json)


@app.command("rotate-key")
def history_rotate_key(*, reason: Reason = "") -> None:
    """Sign checkpoints with a new key from here on; old and new key both sign the change."""
    from upkeep.commands import evidence  # noqa: PLC0415

    evidence.rotate_key(reason)


@app.command("archive")
def history_archive(
    *,
    before: Annotated[
        str, typer.Option(metavar="DATE", help="What ended before then; default: UPKEEP_KEEP_HISTORY days ago")
    ] = "",
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the files; default: UPKEEP_ARCHIVES")
    ] = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be archived")] = False,
    as_json: Json = False,
) -> None:
    """Write whole sealed stretches of old runs to files, prove those, then take their texts out of the database; hashes stay."""
    from upkeep.commands import archiving  # noqa: PLC0415

    archiving.archive_history(before, to, reason, dry_run=dry_run, as_json=as_json)


@app.command("archived")
def history_archived(
    file: Annotated[Path | None, typer.Argument(help="One archive: prove it and list its runs")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Which runs lie in which archives; or prove one and list what it holds. Exit code 1 when it is not what was signed."""
    from upkeep.commands import archiving  # noqa: PLC0415

    raise typer.Exit(archiving.show_archives(file, as_json=as_json))


@app.command("restore")
def history_restore(
    file: Annotated[Path, typer.Argument(help="The archive")],
    *,
    reason: Reason = "",
) -> None:
    """Put an archive's runs back into the database, where they were. To read one run, `history show RUN --archive FILE` is enough."""
    from upkeep.commands import archiving  # noqa: PLC0415

    archiving.restore_archive(file, reason)
