"""Draws the curves of docs/benchmarks.md from figures: small SVG files, no library.

python bench/proxy.py > figures.jsonl; python bench/plot.py figures.jsonl docs/
"""

import argparse
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 300, 62, 44, 34, 150
COLOURS = ("#1f6feb", "#d1242f", "#9a6700", "#1a7f37")


def sizes(figures: Mapping[str, float], pattern: str) -> list[tuple[float, float]]:
    """(size, value) of the figures that match; sizes are spelled 300 or 3k."""
    found = []
    for name, value in figures.items():
        if match := re.fullmatch(pattern, name):
            text = match[1]
            found.append((float(text[:-1]) * 1000 if text.endswith("k") else float(text), value))
    return sorted(found)


def curves(title: str, unit: str, series: Series) -> str:
    """Both axes are logarithmic."""
    points = [point for line in series.values() for point in line]
    x0, x1 = _decades(x for x, _ in points)
    y0, y1 = _decades(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        up = (math.log10(y) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">{title}</text>',
    ]
    for power in range(x0, x1 + 1):
        x, y = place(10**power, 10**y0)
        parts.append(f'<path d="M{x} {TOP}V{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{10**power:,}</text>')
    for power in range(y0, y1 + 1):
        x, y = place(10**x0, 10**power)
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{10**power:g} {unit}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">Services</text>')
    for (name, line), colour in zip(series.items(), COLOURS, strict=False):
        placed = [place(x, y) for x, y in line]
        path = " ".join(f"{x},{y}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in placed]
        x, y = placed[-1]
        parts.append(f'<text x="{x + 8}" y="{y + 4}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _decades(values: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(value) for value in values]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return low, max(high, low + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.figures.read_text().splitlines() if line.startswith("{")]
    figures = {line["figure"]: float(line["value"]) for line in lines}
    plots = {
        "proxy-sync.svg": (
            "Full sync from empty, 10 endpoints each",
            "s",
            {
                "pybernetes": sizes(figures, r"full_sync_(\d+k?)x10_curve_s"),
                "chain per service": sizes(figures, r"other_service_chains_(\d+)x10_s"),
                "chain per endpoint": sizes(figures, r"other_endpoint_chains_(\d+)x10_s"),
            },
        ),
        "proxy-change.svg": (
            "One endpoint changes: event to kernel",
            "ms",
            {"pybernetes": sizes(figures, r"one_change_at_(\d+k?)_ms")},
        ),
    }
    for name, (title, unit, series) in plots.items():
        drawn = {label: line for label, line in series.items() if line}
        if drawn:
            (options.directory / name).write_text(curves(title, unit, drawn))


if __name__ == "__main__":
    main()
