"""Figures for gates, from Prometheus or from a JSON body; a source without a number is silent, never an error."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from upkeep.domain.plan import MetricSource
from upkeep.errors import UpkeepError, shorten
from upkeep.services.web import Limits, get

_OK = 200
_LIMITS = Limits(connect=timedelta(seconds=5), idle=timedelta(seconds=10), total=timedelta(seconds=15))


@dataclass(frozen=True)
class Figure:
    """One look at a source; `value` is None when it was silent, and `reason` says why."""

    value: float | None
    reason: str = ""


class _Silent(Exception):
    """The body holds no figure; the message says why."""


def read_figure(source: MetricSource, *, ca: str | Path = "", limits: Limits = _LIMITS) -> Figure:
    """Ask a source once. No answer, an empty result, NaN and infinity are silence, with the reason; nothing is raised."""
    url = source.url or f"{source.prometheus.rstrip('/')}/api/v1/query?{urlencode({'query': source.query})}"
    try:
        answer = get(url, headers={"Accept": "application/json"}, ca=ca, limits=limits)
        if answer.status != _OK:
            return Figure(None, f"{answer.url}: answered with status {answer.status}: {_excerpt(answer.body)}")
        body = json.loads(answer.body)
        value = _number(_of_prometheus(body) if source.prometheus else _at_path(body, source.json_path))
    except _Silent as silence:
        return Figure(None, f"{answer.url}: {silence}")
    except UpkeepError as error:
        return Figure(None, str(error))
    except (ValueError, RecursionError):
        return Figure(None, f"{answer.url}: the answer is not JSON: {_excerpt(answer.body)}")
    return Figure(value)


def _of_prometheus(body: object) -> object:
    """The one sample of an instant query."""
    if not isinstance(body, dict) or body.get("status") != "success" or not isinstance(body.get("data"), dict):
        reason = body.get("error", "no 'success'") if isinstance(body, dict) else "not an object"
        raise _Silent(f"Prometheus did not answer the query: {shorten(str(reason), 120)}")
    kind, result = body["data"].get("resultType"), body["data"].get("result")
    if kind == "vector":
        result = _only_series(result)
    elif kind != "scalar":
        raise _Silent(f"the query gives a {kind}; it must give one number")
    if not isinstance(result, list) or len(result) != 2:  # noqa: PLR2004 - a sample is [time, value]
        raise _Silent("the sample is not [time, value]")
    return result[1]


def _only_series(result: object) -> object:
    if not isinstance(result, list) or not result:
        raise _Silent("the query has no data")
    if len(result) > 1:
        raise _Silent(f"the query gives {len(result)} series; aggregate it to one, e.g. with sum() or max()")
    return result[0].get("value") if isinstance(result[0], dict) else None


def _at_path(body: object, path: str) -> object:
    """What lies at a dotted path; numbers count list positions."""
    value = body
    for part in path.split(".") if path else []:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise _Silent(f"there is no '{part}' of {path} in the answer")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _Silent(f"'{shorten(str(value), 80)}' is not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _Silent(f"'{shorten(str(value), 80)}' is not a number") from error
    if not math.isfinite(number):
        raise _Silent(f"{number} is not a figure")
    return number


def _excerpt(body: bytes) -> str:
    return shorten(body[:500].decode("utf-8", "replace"), 120)
