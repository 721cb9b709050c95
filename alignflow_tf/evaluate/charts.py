"""Charts as SVG for a narrow screen, without a library or a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import html
import math

_COLOURS = ('#0b6bcb', '#c8511b', '#2a8a4a', '#8a3fa0', '#a08000', '#555555')
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 30
# More points than a screen has pixels show nothing more.
_MOST = 400


def lines(series: Mapping[str, Sequence[tuple[float, float]]], title: str,
          unit: str = '') -> str:
  """A line chart.

  Args:
    series: Points (x, y) by name, x ascending; values that are not finite are
      left out.
    title: Title of the chart.
    unit: Unit of y.

  Returns:
    An SVG element with its caption, or '' where there is nothing to draw.
  """
  kept = {}
  for name, points in series.items():
    finite = [p for p in points if all(map(math.isfinite, p))]
    finite = finite[::max(1, len(finite) // _MOST)]
    if finite:
      kept[name] = finite
  if not kept:
    return ''
  frame = _Frame([p for points in kept.values() for p in points])
  parts = [frame.axes()]
  for colour, points in zip(_cycle(), kept.values(), strict=False):
    if len(points) == 1:
      x, y = points[0]
      parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" '
                   f'fill="{colour}"/>')
    path = ' '.join(f'{frame.x(x):.1f},{frame.y(y):.1f}' for x, y in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                 'stroke-width="1.5"/>')
  return _figure(parts, title, unit, kept)


def scatter(series: Mapping[str, Sequence[tuple[float, float]]], title: str,
            line: tuple[tuple[float, float], tuple[float, float]] | None = None
           ) -> str:
  """A scatter plot.

  Args:
    series: Points (x, y) by name; those that are not finite are left out.
    title: Title of the chart.
    line: Ends of a line that the points should lie on.

  Returns:
    An SVG element with its caption, or '' where there is nothing to draw.
  """
  series = {name: [p for p in found if all(map(math.isfinite, p))]
            for name, found in series.items()}
  points = [p for s in series.values() for p in s] + list(line or ())
  if not points:
    return ''
  frame = _Frame(points)
  parts = [frame.axes()]
  if line:
    (x0, y0), (x1, y1) = line
    parts.append(
        f'<line x1="{frame.x(x0):.1f}" y1="{frame.y(y0):.1f}" '
        f'x2="{frame.x(x1):.1f}" y2="{frame.y(y1):.1f}" stroke="#888" '
        'stroke-dasharray="4 3"/>')
  for colour, found in zip(_cycle(), series.values(), strict=False):
    step = max(1, len(found) // _MOST)
    parts += [
        f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2" '
        f'fill="{colour}" fill-opacity="0.5"/>' for x, y in found[::step]]
  return _figure(parts, title, '', series)


def _cycle() -> list[str]:
  return list(_COLOURS) * 4


class _Frame:
  """Coordinates of values in the picture."""

  def __init__(self, points: Sequence[tuple[float, float]]):
    self._xs = _range([x for x, _ in points])
    self._ys = _range([y for _, y in points])

  def x(self, value: float) -> float:
    low, high = self._xs
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

  def y(self, value: float) -> float:
    low, high = self._ys
    return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (
        _HEIGHT - _TOP - _BOTTOM)

  def axes(self) -> str:
    parts = []
    for value in _ticks(*self._ys):
      y = self.y(value)
      parts.append(
          f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" '
          f'y2="{y:.1f}" stroke="#ddd"/><text x="{_LEFT - 5}" y="{y + 4:.1f}" '
          f'text-anchor="end">{value:g}</text>')
    for value in _ticks(*self._xs):
      parts.append(
          f'<text x="{self.x(value):.1f}" y="{_HEIGHT - 10}" '
          f'text-anchor="middle">{value:g}</text>')
    return ''.join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
  low, high = min(values), max(values)
  if high - low < 1e-12 * max(1., abs(high)):
    return low - 0.5, high + 0.5
  margin = 0.03 * (high - low)
  return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
  """Three to six round values within a range."""
  step = 10.**math.floor(math.log10(high - low))
  for factor in (0.2, 0.5, 1., 2., 5.):
    first = math.ceil(low / (step * factor))
    last = math.floor(high / (step * factor))
    if last - first < 6:
      return [round(i * step * factor, 12) for i in range(first, last + 1)]
  return [low, high]


def _figure(parts: Sequence[str], title: str, unit: str,
            names: Sequence[str] | Mapping[str, object]) -> str:
  keys = ' '.join(
      f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
      for colour, name in zip(_cycle(), names, strict=False))
  what = html.escape(title) + (f' ({html.escape(unit)})' if unit else '')
  return (
      f'<figure class="chart"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
      f'aria-label="{what}">{"".join(parts)}</svg>'
      f'<figcaption>{what}<br/>{keys}</figcaption></figure>')
