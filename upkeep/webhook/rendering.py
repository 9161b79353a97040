"""Pages from templates: escaped, strict about what is missing, times in UTC."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from importlib import resources
from urllib.parse import urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from upkeep.audit.story import GOOD
from upkeep.domain.document import words
from upkeep.webhook.access import Visitor
from upkeep.webhook.static_files import address_of

_GOOD = {"ok", "pass", "succeeded", "go", *(outcome.value for outcome in GOOD)}
_BAD = {"fail", "failed", "unknown", "rolled back", "quarantined", "roll back", "refused"}
_QUIET = {"not started", "running", "open", "waiting", "intent"}


class Query(dict[str, str]):
    """What stands after the question mark; what does not is empty."""

    def __missing__(self, _key: str) -> str:
        """Nothing was asked."""
        return ""


def page(
    request: Request, template: str, visitor: Visitor | None = None, *, status: int = 200, **facts: object
) -> HTMLResponse:
    """A whole page; `request` says which part of the navigation is current."""
    navigation = [("/history", "Runs"), *request.app.state.navigation, ("/history/proof", "Proof")]
    text = (
        environment()
        .get_template(template)
        .render(
            visitor=visitor, navigation=navigation, path=request.url.path, query=Query(request.query_params), **facts
        )
    )
    return HTMLResponse(text, status)


@functools.cache
def environment() -> jinja2.Environment:
    """Where templates come from; one a process, with every template compiled, so that no visitor waits for that."""
    folder = resources.files("upkeep.webhook") / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(folder)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"when": when, "took": took, "tone": tone}
    made.globals |= {"static": address_of, "linked": linked}
    for name in made.list_templates():
        made.get_template(name)
    return made


def when(moment: datetime | None) -> str:
    """Date and time in UTC, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"


def took(time: timedelta | float | None) -> str:
    """A duration as people say it; below ten seconds with a tenth."""
    if time is None:
        return "-"
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    return f"{seconds:.1f} s" if seconds < 10 else words(timedelta(seconds=round(seconds)))  # noqa: PLR2004


def tone(word: object) -> str:
    """How a word is coloured; what it says never hangs on the colour."""
    text = str(word)
    if text in _GOOD:
        return "good"
    if text in _BAD:
        return "bad"
    return "quiet" if text in _QUIET else "warn"


def linked(path: str, query: dict[str, str], **changes: object) -> str:
    """An address with the query as it is, some of it changed."""
    wanted = {key: value for key, value in {**query, **changes}.items() if value not in {"", None}}
    return f"{path}?{urlencode(wanted)}" if wanted else path
