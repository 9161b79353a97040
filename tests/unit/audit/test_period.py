"""Events of a period for other systems: CloudEvents and CSV."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, timezone

import pytest

from upkeep.audit.history import History
from upkeep.audit.period import COLUMNS, cloud_events, comma_separated


@pytest.fixture
def told(history: History) -> History:
    history.record("r1", "note", host="h1", reason='=HYPERLINK("x")', body={"a": "ä, \n"})
    history.record("r1", "note", reason="later")
    return history


def test_every_event_has_a_cloud_events_envelope_and_its_place_in_the_chain(told: History) -> None:
    with told.event_rows() as rows:
        lines = [json.loads(line) for line in cloud_events(rows)]
    assert [line["data"]["seq"] for line in lines] == [1, 2, 3]
    for line, before in zip(lines[1:], lines, strict=False):
        assert {"specversion", "id", "source", "type"} <= line.keys()
        assert line["prevhash"] == before["hash"]
    assert (lines[1]["type"], lines[1]["source"], lines[1]["subject"]) == ("upkeep.note", "/upkeep/runs/r1", "h1")
    assert all(name.isalnum() and name.islower() for name in lines[0])


def test_a_spreadsheet_gets_every_event_and_takes_none_for_a_formula(told: History) -> None:
    with told.event_rows() as rows:
        cells = list(csv.DictReader(io.StringIO("".join(comma_separated(rows)), newline="")))
    assert list(cells[0]) == list(COLUMNS)
    assert cells[1]["reason"] == '\'=HYPERLINK("x")'
    assert json.loads(cells[1]["body"]) == {"a": "ä, \n"}
    assert [cell["actor"] for cell in cells] == ["ann"] * 3


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last_whatever_the_zone(told: History) -> None:
    moments = [event.at for event in told.events("r1")]
    east = timezone(timedelta(hours=9))

    def seqs(since: datetime | None, until: datetime | None) -> list[int]:
        with told.event_rows(since=since, until=until) as rows:
            return [row.seq for row in rows]

    assert seqs(moments[1].astimezone(east), None) == [2, 3]
    assert seqs(None, moments[1].astimezone(east)) == [1]
    assert seqs(moments[0], moments[2]) == [1, 2]
    assert seqs(moments[2] + timedelta(seconds=1), None) == []
