"""The drawing of the benchmark's figures shows every tool and number of hosts (issue 4: 1)."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.bench.plot import drawing
from tests.bench.report import TITLES


def test_every_figure_of_every_tool_is_drawn_to_one_scale() -> None:
    tools = {
        "raw": {"wall": 5.0, "controller_cpu": 1.0, "host_cpu": 10.0},
        "upkeep": {"wall": 20.0, "controller_cpu": 4.0, "host_cpu": 8.0},
    }
    picture = ET.fromstring(drawing({"hosts": {"50": {"tools": tools}, "10": {"tools": {}}}}))  # noqa: S314 - our own text
    words = [element.text for element in picture.iter() if element.tag.endswith("text")]
    assert {"10 hosts, seconds", "50 hosts, seconds", TITLES["raw"], TITLES["upkeep"], "20.0", "1.0"} <= set(words)
    bars = [float(element.attrib["width"]) for element in picture.iter() if element.attrib.get("height") == "9"][3:]
    assert [round(bar / max(bars), 2) for bar in bars] == [1.0, 0.2, 0.4, 0.25, 0.05, 0.5]
