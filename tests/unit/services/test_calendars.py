"""Freezes from iCalendar files and addresses; what cannot be read counts as closed (issue 5: 3; fault 45)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.services.site import Site
from upkeep.domain.plan import Plan
from upkeep.domain.schedule import Freeze
from upkeep.domain.window import FreezeCalendar
from upkeep.errors import ServiceError
from upkeep.services.calendars import Calendars, read_freezes

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def calendar(*events: tuple[str, ...]) -> str:
    blocks = ["\r\n".join(["BEGIN:VEVENT", f"UID:{n}", *lines, "END:VEVENT"]) for n, lines in enumerate(events)]
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test", *blocks, "END:VCALENDAR", ""])


def read(folder: Path, text: str | bytes, *, zone: str = "Europe/Berlin") -> tuple[Freeze, ...]:
    (folder / "f.ics").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_freezes(FreezeCalendar(file="f.ics"), folder, NOW, zone=zone)


def test_a_whole_day_is_the_zones_day_and_returns_every_year(tmp_path: Path) -> None:
    text = calendar(("SUMMARY:Christmas", "DTSTART;VALUE=DATE:20201224", "DURATION:P3D", "RRULE:FREQ=YEARLY"))
    found = sorted(read(tmp_path, text))
    assert found[0] == Freeze(
        datetime(2026, 12, 23, 23, tzinfo=UTC), datetime(2026, 12, 26, 23, tzinfo=UTC), "Christmas", "f.ics"
    )
    assert [freeze.start.year for freeze in found] == [2026, 2027, 2028, 2029, 2030]


def test_a_freeze_that_began_long_ago_still_holds_and_past_ones_are_left_out(tmp_path: Path) -> None:
    text = calendar(
        ("SUMMARY:long", "DTSTART:20260101T000000Z", "DTEND:20270101T000000Z"),
        ("SUMMARY:past", "DTSTART:20260101T000000Z", "DTEND:20260201T000000Z"),
    )
    assert [freeze.name for freeze in read(tmp_path, text)] == ["long"]


def test_times_without_zone_are_the_calendars_and_cancelled_events_freeze_nothing(tmp_path: Path) -> None:
    text = calendar(
        ("SUMMARY:local", "DTSTART:20261224T100000", "DTEND:20261224T110000", "TRANSP:TRANSPARENT"),
        ("SUMMARY:off", "DTSTART:20261225T100000Z", "DTEND:20261225T110000Z", "STATUS:CANCELLED"),
        ("SUMMARY:outlook", "DTSTART;TZID=W. Europe Standard Time:20261226T100000", "DURATION:PT1H"),
    )
    assert [(f.name, f.start.hour) for f in sorted(read(tmp_path, text))] == [("local", 9), ("outlook", 9)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "component"),
        ("<html><body>Sign in</body></html>", "html"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (calendar(("DTSTART:20261224T100000Z", "DURATION:PT1H"))[:-20], ""),
        ("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20261224T100000Z\r\nEND:VEVENT\r\n", "no VCALENDAR"),
        (calendar(("SUMMARY:x", "DTSTART:garbage", "DURATION:PT1H")), "DTSTART"),
        (calendar(("SUMMARY:x", "DTEND:20261224T100000Z")), "has no start"),
        (calendar(("SUMMARY:x", "DTSTART:20261224T100000Z")), "'x' does not end after it starts"),
        (calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DTEND:20261224T090000Z")), "does not end after it starts"),
        (
            calendar(("SUMMARY:x", "DTSTART;TZID=Mars/Base:20261224T100000", "DTEND;TZID=Mars/Base:20261224T110000")),
            "unknown time zone 'Mars/Base'",
        ),
        (
            calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H", "RRULE:FREQ=SECONDLY")),
            "more often than daily",
        ),
        (
            calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;BYMINUTE=1,2")),
            "more often than daily",
        ),
        (calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H", "RRULE:FREQ=BOGUS")), "RRULE"),
    ],
    ids=lambda _: "",
)
def test_a_calendar_not_understood_to_its_last_event_cannot_be_read(tmp_path: Path, text, says: str) -> None:
    with pytest.raises(ServiceError, match=r"^f\.ics: ") as error:
        read(tmp_path, text)
    assert says in str(error.value)


def test_a_missing_or_huge_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"none\.ics: No such file"):
        read_freezes(FreezeCalendar(file="none.ics"), tmp_path, NOW)
    with pytest.raises(ServiceError, match="larger than"):
        read(tmp_path, b" " * (4 * 1024**2 + 1))


def test_addresses_are_read_and_what_is_not_a_calendar_is_refused(site: Site, tmp_path: Path) -> None:
    good = calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H"))
    site.answers["/f.ics"] = lambda request: request.reply(200, good.encode())
    site.answers["/down"] = lambda request: request.reply(503, b"")
    site.answers["/login"] = lambda request: request.reply(200, b"<html>")
    assert len(read_freezes(FreezeCalendar(url=f"{site.url}/f.ics"), tmp_path, NOW)) == 1
    for path, says in (("/down", "status 503"), ("/login", "html"), ("/none", "status 404")):
        with pytest.raises(ServiceError, match=says):
            read_freezes(FreezeCalendar(url=f"{site.url}{path}"), tmp_path, NOW)


def plan(**changes: object) -> Plan:
    return Plan.model_validate({"name": "p", "profile": "ms-720", "release": "r.json", **changes})


def test_a_calendar_that_becomes_unreadable_during_a_run_closes(site: Site, tmp_path: Path) -> None:
    text = calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H")).encode()
    site.answers["/f.ics"] = lambda request: request.reply(200, text)
    calendars = Calendars(plan(freezes=f"{site.url}/f.ics"), tmp_path)
    assert calendars.schedule(NOW).decide(NOW).open
    del site.answers["/f.ics"]
    later = NOW + timedelta(minutes=5)
    standing = calendars.schedule(later).decide(later)
    assert not standing.open
    assert "status 404" in standing.reason
    assert not Calendars(plan(freezes=f"{site.url}/f.ics"), tmp_path).schedule(NOW).decide(NOW).open


def test_a_freeze_that_is_declared_during_a_run_binds_within_minutes(tmp_path: Path) -> None:
    (tmp_path / "f.ics").write_text(calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H")))
    calendars = Calendars(plan(freezes=["f.ics"]), tmp_path)
    assert calendars.schedule(NOW).decide(NOW).open
    (tmp_path / "f.ics").write_text(calendar(("SUMMARY:incident", "DTSTART:20261121T120000Z", "DURATION:P1D")))
    later = NOW + timedelta(minutes=5)
    assert "incident" in calendars.schedule(later).decide(later).reason


def test_all_calendars_must_be_open(tmp_path: Path) -> None:
    (tmp_path / "open.ics").write_text(calendar(("SUMMARY:x", "DTSTART:20261224T100000Z", "DURATION:PT1H")))
    (tmp_path / "shut.ics").write_text(calendar(("SUMMARY:now", "DTSTART:20261121T110000Z", "DURATION:PT2H")))
    assert Calendars(plan(freezes=["open.ics"]), tmp_path).schedule(NOW).decide(NOW).open
    for order in (["open.ics", "shut.ics"], ["shut.ics", "open.ics"]):
        assert not Calendars(plan(freezes=order), tmp_path).schedule(NOW).decide(NOW).open


def test_a_calendar_whose_series_would_take_minutes_to_expand_is_refused_at_once(tmp_path: Path) -> None:
    daily = ("SUMMARY:x", "DTSTART:20200101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")
    with pytest.raises(ServiceError, match="series repeat about"):
        read(tmp_path, calendar(*[daily] * 60))
    ancient = ("SUMMARY:x", "DTSTART:00010101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")
    with pytest.raises(ServiceError, match="series repeat about"):
        read(tmp_path, calendar(ancient))
    holidays = ("SUMMARY:x", "DTSTART;VALUE=DATE:19000101", "RRULE:FREQ=YEARLY")
    assert read(tmp_path, calendar(*[holidays] * 20))
