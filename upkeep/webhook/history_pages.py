"""The history to read: runs, one run while it goes on and afterwards, a host's life, the proof."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from upkeep.audit.approvals import waiting_among, waits_for
from upkeep.audit.browsing import OPEN, HostSearch, RunLine, RunSearch
from upkeep.audit.evidence import write_pack
from upkeep.domain.approval import Standing
from upkeep.domain.approval_rule import OVERRIDE
from upkeep.domain.change import HostOutcome, RunOutcome
from upkeep.domain.comparison import before_after
from upkeep.domain.finding import Verdict
from upkeep.domain.record import Actor
from upkeep.webhook.access import Access
from upkeep.webhook.proof import Proof
from upkeep.webhook.rendering import Query, environment, page
from upkeep.webhook.run_progress import Frozen, frozen, progress
from upkeep.wiring import Site

RUNS_A_PAGE = 25
HOSTS_A_PAGE = 100
MISSED_SHOWN = 20
OPERATOR = "operator"


def router(site: Site) -> APIRouter:
    """The pages."""
    return HistoryPages(site).routes()


class HistoryPages:
    """Everything here needs somebody signed in; whoever is may read all of it."""

    def __init__(self, site: Site) -> None:
        self._site, self._access, self._proof = site, Access(site), Proof(site)

    def routes(self) -> APIRouter:
        """What is answered where."""
        routes = APIRouter(include_in_schema=False)
        for path, answer in (
            ("/history", self.runs),
            ("/history/runs/{run_id}", self.run),
            ("/history/runs/{run_id}/live", self.live),
            ("/history/runs/{run_id}/hosts/{host}", self.host_in_run),
            ("/history/runs/{run_id}/pack", self.pack),
            ("/history/hosts/{host}", self.host),
            ("/history/proof", self.proof),
        ):
            routes.add_api_route(path, answer, methods=["GET"])
        routes.add_api_route("/history/runs/{run_id}/stop", self.stop, methods=["POST"])
        routes.add_api_route("/history/proof", self.prove, methods=["POST"])
        return routes

    def runs(self, request: Request) -> Response:
        """Runs, newest first, those that are looked for."""
        visitor = self._access.visitor(request)
        asked = request.query_params
        since, until = _day(asked.get("since", "")), _day(asked.get("until", ""))
        words = {key: asked.get(key, "").strip() for key in ("q", "host", "ticket", "person", "plan", "outcome")}
        search = RunSearch(**words, since=since, until=until + timedelta(days=1) if until else None)
        number = _number(asked.get("page"))
        found, total = self._site.history.search_runs(search, offset=(number - 1) * RUNS_A_PAGE, limit=RUNS_A_PAGE)
        return page(
            request,
            "runs.html.j2",
            visitor,
            runs=found,
            waiting=waiting_among(self._site.history, [run.id for run in found if not run.outcome]),
            total=total,
            pages=_pages(number, total, RUNS_A_PAGE),
            outcomes=[OPEN, *(outcome.value for outcome in RunOutcome)],
            known=self._site.history.known(),
            missed=[] if request.query_params else self._site.history.missed_starts(limit=MISSED_SHOWN),
            now=datetime.now(UTC),
        )

    def run(self, request: Request, run_id: str) -> Response:
        """One run."""
        visitor = self._access.visitor(request)
        line = self._line(run_id)
        story = frozen(self._site.history, line.id)
        findings, objections = self._site.history.objections(line.id)
        facts = self._live(request, line, story)
        return page(
            request,
            "run.html.j2",
            visitor,
            story=story,
            findings=findings,
            objections=objections,
            role=OPERATOR,
            **facts,
        )

    def live(self, request: Request, run_id: str) -> Response:
        """The part of a run's page that changes while it goes on; 304 when it is as the browser has it."""
        self._access.visitor(request)
        line = self._line(run_id)
        tag = f'"{self._site.history.last_seq(line.id)}"'
        headers = {"ETag": tag, "X-Run-Is": "over" if line.outcome else "open"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        facts = self._live(request, line, frozen(self._site.history, line.id))
        text = environment().get_template("run_live.html.j2").render(query=Query(request.query_params), **facts)
        return HTMLResponse(text, headers=headers)

    def host_in_run(self, request: Request, run_id: str, host: str) -> Response:
        """What one run did on one host."""
        visitor, history = self._access.visitor(request), self._site.history
        line = self._line(run_id)
        detail = history.host_in_run(line.id, host)
        if detail is None:
            raise _unknown(f"run {line.id} has not touched a host called {host}")
        findings = history.findings_of(line.id, host)
        phases = [[one.finding for one in findings if one.phase == phase] for phase in ("baseline", "verify")]
        return page(
            request,
            "run_host.html.j2",
            visitor,
            run=line,
            name=host,
            host=detail,
            steps=history.steps(line.id, host),
            objections=[one for one in findings if one.finding.verdict is not Verdict.PASS],
            passes=[one for one in findings if one.finding.verdict is Verdict.PASS],
            figures=list({row.figure: row for row in before_after(*phases)}.values()),
            backups=history.backups(line.id, host),
            deliveries=history.deliveries(line.id, host),
        )

    def host(self, request: Request, host: str) -> Response:
        """One host across runs."""
        visitor = self._access.visitor(request)
        number = _number(request.query_params.get("page"))
        life, total = self._site.history.life_of(host, offset=(number - 1) * RUNS_A_PAGE, limit=RUNS_A_PAGE)
        if not total:
            raise _unknown(f"no run in this history has touched a host called {host}")
        pages = _pages(number, total, RUNS_A_PAGE)
        return page(request, "host.html.j2", visitor, name=host, life=life, total=total, pages=pages)

    def pack(self, request: Request, run_id: str) -> Response:
        """The evidence pack."""
        self._access.visitor(request)
        run = self._line(run_id).id
        folder = TemporaryDirectory(prefix="upkeep-pack-")
        name = f"upkeep-{run}.zip"
        write_pack(self._site.history, self._site.checkpoints, run, Path(folder.name) / name)
        done = BackgroundTask(folder.cleanup)
        return FileResponse(Path(folder.name) / name, filename=name, media_type="application/zip", background=done)

    def stop(
        self, request: Request, run_id: str, csrf: Annotated[str, Form()] = "", reason: Annotated[str, Form()] = ""
    ) -> Response:
        """Ask a run to finish the hosts in work and to start no more."""
        visitor = self._access.acting(request, csrf, OPERATOR)
        line = self._line(run_id)
        if not reason.strip():
            raise HTTPException(400, "give the reason: it is kept in the history. Nothing was done")
        if line.outcome:
            raise HTTPException(409, f"run {line.id} is over ({line.outcome}); there is nothing to stop")
        self._site.history.request_stop(line.id, Actor(name=visitor.name), reason.strip())
        return RedirectResponse(f"/history/runs/{line.id}", 303)

    def proof(self, request: Request) -> Response:
        """Whether the history is whole, as it was last looked at."""
        visitor = self._access.visitor(request)
        events = self._site.history.last_seq()
        return page(request, "proof.html.j2", visitor, last=self._proof.last, events=events, now=datetime.now(UTC))

    def prove(self, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        """Look now."""
        self._access.acting(request, csrf)
        self._proof.look()
        return RedirectResponse("/history/proof", 303)

    def _line(self, run_id: str) -> RunLine:
        line = self._site.history.run_line(run_id)
        if line is None:
            archive = self._site.history.archive_of(run_id)
            where = (
                f"run {run_id} was archived on {archive.at[:10]}: its events lie in {archive.file}" if archive else ""
            )
            raise _unknown(where or f"there is no run {run_id} in this history")
        return line

    def _live(self, request: Request, line: RunLine, story: Frozen) -> dict[str, Any]:
        asked = request.query_params
        wanted = HostSearch(name=asked.get("name", ""), outcome=asked.get("hosts", ""), stage=asked.get("stage", ""))
        number, now = _number(asked.get("page")), datetime.now(UTC)
        standing = None if line.outcome else waits_for(self._site.history, line.id)
        rows, total = self._site.history.matrix(line.id, wanted, offset=(number - 1) * HOSTS_A_PAGE, limit=HOSTS_A_PAGE)
        return {
            "run": line,
            "now": now,
            "state": _state(line, standing),
            "waits": f"{_subject(standing)}: {standing.told(now)}" if standing else "",
            "progress": progress(self._site.history, line.id, story),
            "rows": rows,
            "total": total,
            "pages": _pages(number, total, HOSTS_A_PAGE),
            "outcomes": ["open", *(outcome.value for outcome in HostOutcome)],
            "here": f"/history/runs/{line.id}",
        }


def _state(run: RunLine, standing: Standing | None) -> str:
    if run.outcome:
        return run.outcome.value
    if standing:
        return f"waits for the approval of {_subject(standing)}"
    return "stopping" if run.stop_requested else "running"


def _subject(standing: Standing) -> str:
    return f"the {OVERRIDE}" if standing.subject == OVERRIDE else f"stage {standing.subject}"


def _pages(number: int, total: int, size: int) -> dict[str, int]:
    return {"number": number, "of": max(1, -(-total // size)), "first": (number - 1) * size + 1 if total else 0}


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text[:7]) == int(text) else 1


def _day(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError as error:
        raise HTTPException(400, f"a period is given by days like 2026-11-01; found: {text[:40]}") from error


def _unknown(what: str) -> HTTPException:
    return HTTPException(404, what)
