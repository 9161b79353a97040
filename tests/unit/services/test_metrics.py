"""A figure is a finite number or silence with a reason; nothing else reaches a gate."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from tests.unit.services.site import Site
from upkeep.domain.plan import MetricSource
from upkeep.services.metrics import read_figure
from upkeep.services.web import Limits

QUICK = Limits(connect=timedelta(seconds=0.3), idle=timedelta(seconds=0.3), total=timedelta(seconds=0.25))


def prometheus(site: Site, kind: str, result: object) -> MetricSource:
    told = {"status": "success", "data": {"resultType": kind, "result": result}}
    site.serve("/prom/api/v1/query", json.dumps(told).encode())
    return MetricSource(prometheus=f"{site.url}/prom/", query='rate(errors{env="prod"}[2m]) > 0')


def test_prometheus_answers_with_one_number(site: Site) -> None:
    source = prometheus(site, "vector", [{"metric": {}, "value": [1717243200.1, "0.25"]}])
    assert read_figure(source).value == 0.25
    assert site.asked[0][0] == "/prom/api/v1/query?query=rate%28errors%7Benv%3D%22prod%22%7D%5B2m%5D%29+%3E+0"
    assert read_figure(prometheus(site, "scalar", [1717243200.1, "3"])).value == 3


@pytest.mark.parametrize(
    ("kind", "result", "reason"),
    [
        ("vector", [], "no data"),
        ("vector", [{"value": [1, "NaN"]}], "nan is not a figure"),
        ("vector", [{"value": [1, "+Inf"]}], "inf is not a figure"),
        ("vector", [{"value": [1, "1"]}, {"value": [1, "2"]}], "2 series"),
        ("vector", [{}], "not .time, value"),
        ("vector", "x", "no data"),
        ("vector", ["x"], "not .time, value"),
        ("matrix", [], "matrix"),
        (None, None, "None"),
        ("scalar", [1], "not .time, value"),
        ("scalar", [1, {}], "not a number"),
    ],
)
def test_anything_but_one_finite_number_is_silence(site: Site, kind: str, result: object, reason: str) -> None:
    figure = read_figure(prometheus(site, kind, result))
    assert figure.value is None
    assert re.search(reason, figure.reason)


@pytest.mark.parametrize(
    ("told", "path", "value"),
    [
        ({"data": {"error_pct": 12.5}}, "data.error_pct", 12.5),
        ({"rows": [{"n": "7"}]}, "rows.0.n", 7),
        (4, "", 4),
        ({"n": True}, "n", None),
        ({"n": None}, "n", None),
        ({"n": "many"}, "n", None),
        ({"n": {}}, "n", None),
        ({"n": 10**400}, "n", None),
        ({}, "n", None),
        ({"rows": []}, "rows.0", None),
        ({"rows": [1]}, "rows.-1", None),
    ],
)
def test_a_json_path_leads_to_a_number_or_to_silence(site: Site, told: object, path: str, value: float | None) -> None:
    site.serve("/figures", json.dumps(told).encode())
    figure = read_figure(MetricSource(url=f"{site.url}/figures", json_path=path))
    assert figure.value == value
    assert bool(figure.reason) == (value is None)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[" * 100_000, b"\xff", b"NaN", b'{"n": Infinity}', b"9" * 5000],
    ids=["nothing", "html", "deep", "not UTF-8", "NaN", "infinity", "5000 digits"],
)
def test_bodies_that_hold_no_figure_are_silence(site: Site, body: bytes) -> None:
    site.serve("/figures", body)
    for path in ("", "n"):
        assert read_figure(MetricSource(url=f"{site.url}/figures", json_path=path)).value is None


def test_outages_are_silence_with_a_reason(site: Site) -> None:
    site.serve("/figures", b"down", 503)
    site.drip("/slow", stated_length=10**6)
    assert "503" in read_figure(MetricSource(url=f"{site.url}/figures")).reason
    assert "no complete answer" in read_figure(MetricSource(url=f"{site.url}/slow"), limits=QUICK).reason
    assert read_figure(MetricSource(url="http://127.0.0.1:1/"), limits=QUICK).reason
    assert read_figure(MetricSource(url="nonsense"), limits=QUICK).reason
    assert "missing.pem" in read_figure(MetricSource(url=site.url), ca="/missing.pem").reason


def test_a_failed_query_says_why(site: Site) -> None:
    source = prometheus(site, "vector", [])
    site.serve("/prom/api/v1/query", b'{"status": "error", "error": "parse error"}', 200)
    assert "parse error" in read_figure(source).reason
    site.serve("/prom/api/v1/query", b'{"status": "error", "error": "parse error"}', 400)
    assert "status 400" in read_figure(source).reason
    site.serve("/prom/api/v1/query", b"[]", 200)
    assert read_figure(source).value is None
