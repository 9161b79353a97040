"""Charts as inline SVG, drawn from numbers; they read without colour and without a script."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 160, 28
_BAR_WIDTH, _BAR_HEIGHT = 640, 22


def line(values: Sequence[float], title: str) -> Markup:
    """One figure over the last inspections; empty with fewer than two."""
    if len(values) < 2:  # noqa: PLR2004 - a line needs two points
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = _WIDTH / (len(values) - 1)
    points = " ".join(
        f"{number * step:.1f},{_HEIGHT - 3 - (value - low) / span * (_HEIGHT - 6):.1f}"
        for number, value in enumerate(values)
    )
    words = f"{title}: {values[0]:g} to {values[-1]:g}, between {low:g} and {high:g}"
    return Markup(  # noqa: S704 - the only foreign text in it is escaped
        f'<svg class="line" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
        f"<title>{escape(words)}</title>"
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def shares(parts: Sequence[tuple[str, int]], title: str) -> Markup:
    """How many of each kind, as one bar; kinds are classes of the page and named in the bar."""
    total = sum(number for _, number in parts)
    if not total:
        return Markup("")
    drawn, left = [], 0.0
    for kind, number in parts:
        width = _BAR_WIDTH * number / total
        if number:
            place = f'x="{left:.1f}" y="0" width="{width:.1f}" height="{_BAR_HEIGHT}"'
            drawn.append(f'<rect class="{escape(kind)}" {place}><title>{escape(kind)}: {number}</title></rect>')
        left += width
    words = f"{title}: " + ", ".join(f"{number} {kind}" for kind, number in parts)
    return Markup(  # noqa: S704 - the only foreign text in it is escaped
        f'<svg class="shares" role="img" viewBox="0 0 {_BAR_WIDTH} {_BAR_HEIGHT}" width="100%" height="{_BAR_HEIGHT}"'
        f' preserveAspectRatio="none">'
        f"<title>{escape(words)}</title>{''.join(drawn)}</svg>"
    )
