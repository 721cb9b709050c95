"""A scatter plot as SVG, without a library or a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import html
import math

_COLOURS = ('#0b6bcb', '#c8511b')
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 30
# More points than a screen has pixels show nothing more.
_MOST = 400


Points = Sequence[tuple[float, float]]


def scatter(series: Mapping[str, Points], title: str,
            line: tuple[tuple[float, float], tuple[float, float]]) -> str:
  """A scatter plot of two series.

  Args:
    series: Points (x, y) by name; those that are not finite are left out.
    title: Title of the plot.
    line: The ends of a line that the points should lie on.

  Returns:
    An SVG element with its caption, or '' where there is nothing to draw.
  """
  kept = {}
  for name, points in series.items():
    finite = [p for p in points if all(map(math.isfinite, p))]
    if finite:
      kept[name] = finite[::max(1, len(finite) // _MOST)]
  if not kept:
    return ''
  frame = _Frame([*(p for points in kept.values() for p in points), *line])
  (x0, y0), (x1, y1) = line
  parts = [
      frame.axes(),
      f'<line x1="{frame.x(x0):.1f}" y1="{frame.y(y0):.1f}" '
      f'x2="{frame.x(x1):.1f}" y2="{frame.y(y1):.1f}" stroke="#888" '
      'stroke-dasharray="4 3"/>']
  keys = []
  for colour, (name, points) in zip(_COLOURS, kept.items(), strict=False):
    parts += [
        f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2" '
        f'fill="{colour}" fill-opacity="0.5"/>' for x, y in points]
    keys.append(f'<span><i style="background:{colour}"></i>'
                f'{html.escape(name)}</span>')
  title = html.escape(title)
  return (
      f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
      f'aria-label="{title}">{"".join(parts)}</svg>'
      f'<figcaption>{title}<br/>{" ".join(keys)}</figcaption></figure>')


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
