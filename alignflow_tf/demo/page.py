"""Layout of the page; its functions are in `playground`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import importlib
import os
import pathlib
import random
from types import ModuleType
from typing import Any

import numpy as np

from alignflow_tf import _errors
from alignflow_tf.demo import playground

__all__ = ['PageError', 'build', 'load_gradio', 'serve']

_INSTALL = "pip install 'alignflow_tf[page]'"
_FRAMES = 9
_CANVAS = 280  # Fits into a phone.
_BRUSH = 22
# The page talks only to the server that it came from.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'self'")
_CSS = """
.pixels img {
  image-rendering: pixelated; box-sizing: border-box; padding-top: 32px;
}
.gradio-container {
  width: 100% !important; max-width: 1000px !important;
  margin: 0 auto !important;
}
footer { display: none !important; }
@media (max-width: 640px) {
  .results { order: -1; }
  .results .row { gap: 8px; }
  .results [data-testid='block-label'] span, .results .icon-button-wrapper {
    display: none;
  }
}
"""


class PageError(_errors.UserError, RuntimeError):
  """A page that cannot be shown; names the reason and a way out."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Choice:
  """The user's choice: bytes or pixels of a picture, or a held picture."""
  picture: bytes | np.ndarray | None = None
  number: int | None = None

  @property
  def is_nothing(self) -> bool:
    """Whether nothing has been chosen yet."""
    return self.picture is None and self.number is None

  def image(self, play: playground.Playground, domain: str) -> np.ndarray:
    """The model's input; see `Playground.prepare`."""
    if self.number is not None:
      return play.draw(domain, self.number)
    return play.prepare(self.picture, domain)


def load_gradio() -> ModuleType:
  """Imports Gradio with all reporting to others turned off.

  Raises:
    PageError: If it is not installed.
  """
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
  os.environ['HF_HUB_OFFLINE'] = '1'
  try:
    return importlib.import_module('gradio')
  except ImportError as e:
    raise PageError(
        f'the page needs Gradio, which is missing ({e}): {_INSTALL}') from e


def build(play: playground.Playground) -> Any:
  """Lays the page out.

  Args:
    play: The model.

  Returns:
    `gradio.Blocks`.

  Raises:
    PageError: If Gradio is missing.
  """
  gr = load_gradio()
  name = os.path.basename(os.path.abspath(play.directory))
  height, width, channels = play.event_shape
  with gr.Blocks(title=f'AlignFlow: {name}', analytics_enabled=False) as page:
    gr.Markdown(
        f'# AlignFlow: {name}\n'
        f'Translation between {" and ".join(play.domains)} in '
        f'{height}x{width} pixels, {"grey" if channels == 1 else "colour"}. ' +
        ('Translations are invertible: the way back is exact.' if play.exact
         else 'The way back is not exact.'))
    if play.missing:
      gr.Markdown(f'No pictures from the data: {play.missing}')
    with gr.Tab('Translate'):
      _translate_tab(gr, play)
    with gr.Tab('Interpolate') as tab:
      _interpolate_tab(gr, play, tab)
    with gr.Tab('Sample') as tab:
      _sample_tab(gr, play, tab)
  return page


def serve(page: Any, port: int, block: bool = True) -> str:
  """Serves a page to this computer only.

  Args:
    page: The result of `build`.
    port: Port of 127.0.0.1.
    block: Whether to wait until interrupted.

  Returns:
    The address.

  Raises:
    PageError: If the port is taken.
  """
  gr = load_gradio()
  middleware = importlib.import_module('starlette.middleware')
  try:
    _, url, _ = page.launch(
        server_name='127.0.0.1', server_port=port, share=False, quiet=True,
        show_error=True, footer_links=[], ssr_mode=False, pwa=False,
        mcp_server=False, enable_monitoring=False, inbrowser=False,
        max_file_size='64mb', css=_CSS,
        theme=gr.themes.Default(font=('system-ui', 'sans-serif'),
                                font_mono=('ui-monospace', 'monospace')),
        app_kwargs={'middleware': [middleware.Middleware(_Policy)]},
        prevent_thread_lock=True)
  except OSError as e:
    raise PageError(
        f'`port` {port} of 127.0.0.1 cannot be had; choose another with '
        f'--port ({e})') from e
  if block:
    print(f'{url} (Ctrl-C ends it)', flush=True)
    page.block_thread()
  return url


class _Policy:
  """Adds the policy above to every answer."""

  def __init__(self, app: Any):
    self._app = app

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    async def send_with_policy(message: Any) -> None:
      if message['type'] == 'http.response.start':
        message['headers'] = [
            *message.get('headers', ()),
            (b'content-security-policy', _POLICY.encode())]
      await send(message)

    await self._app(scope, receive, send_with_policy)


def _saying(gr: ModuleType, fn: Callable[..., Any]) -> Callable[..., Any]:
  """Shows the reason of an error in the page, in place of "Error"."""

  @functools.wraps(fn)
  def wrapped(*args: Any) -> Any:
    try:
      return fn(*args)
    except playground.PlaygroundError as e:
      raise gr.Error(str(e), title='This cannot be done',
                     print_exception=False) from e

  return wrapped


def _directions(gr: ModuleType, play: playground.Playground) -> Any:
  return gr.Radio(
      [(f'{s} → {t}', i) for i, (s, t) in enumerate(play.directions)],
      value=0, label='Direction')


def _shown(gr: ModuleType, label: str, elem_id: str, **kwargs: Any) -> Any:
  return gr.Image(
      label=label, elem_id=elem_id, elem_classes='pixels', format='png',
      interactive=False, buttons=['download'], **kwargs)


def _upload(gr: ModuleType, label: str, elem_id: str, **kwargs: Any) -> Any:
  found = gr.Image(
      label=label, elem_id=elem_id, type='filepath', image_mode=None,
      format='png', sources=['upload', 'clipboard'], buttons=[], **kwargs)
  # Gradio would open the file, and report a damaged one in words of its own.
  found.preprocess = lambda file: None if file is None else file.path
  return found


def _from_file(path: str | None) -> _Choice:
  return _Choice(None if path is None else pathlib.Path(path).read_bytes())


def _translate_tab(gr: ModuleType, play: playground.Playground) -> None:
  direction = _directions(gr, play)
  source, target = play.directions[0]
  # The page opens with a picture, its translation and the way back.
  example = play.example(source)
  first = play.translate(example, source, target)
  choice = gr.State(
      _Choice(number=0) if play.held else _Choice(example))
  with gr.Row():
    with gr.Column(scale=2, min_width=320):
      with gr.Tab('Draw'):
        ground = 0 if play.is_dark(play.domains[0]) else 255
        sketch = _sketch(gr, play, ground)
      with gr.Tab('Upload'):
        upload = _upload(gr, 'PNG or JPEG, any size', 'upload', height=300)
      again = gr.Button(
          f'{play.split.capitalize()} picture', visible=bool(play.held),
          elem_id='held')
    with gr.Column(scale=3, min_width=320, elem_classes='results'):
      with gr.Row():
        seen, translated, back = (
            _shown(gr, label, name, min_width=100, value=play.show(image))
            for label, name, image in (
                ('Model input', 'seen', first.image),
                ('Translation', 'translated', first.translated),
                ('The way back', 'back', first.back)))
      text = gr.Markdown(first.text, elem_id='figures')

  def translate(i: int, what: _Choice) -> tuple[Any, ...]:
    if what.is_nothing:
      return None, None, None, ''
    source, target = play.directions[i]
    result = play.translate(what.image(play, source), source, target)
    return (*map(play.show, (result.image, result.translated, result.back)),
            result.text)

  def drawn(i: int, value: dict[str, Any] | None) -> tuple[Any, ...]:
    if not value or not _is_drawn(value):
      return gr.skip()
    what = _Choice(np.asarray(value['composite'], np.uint8))
    return what, *translate(i, what)

  def uploaded(i: int, path: str | None) -> tuple[Any, ...]:
    what = _from_file(path)
    return what, *translate(i, what)

  def held(i: int) -> tuple[Any, ...]:
    what = _Choice(number=random.randrange(2**16))
    return what, *translate(i, what)

  outputs = [seen, translated, back, text]
  listen = functools.partial(_listen, gr)
  # Gradio does not report the first stroke as a change, but as an input.
  for event in (sketch.change, sketch.input):
    listen(event, drawn, [direction, sketch], [choice, *outputs],
           trigger_mode='always_last')
  listen(sketch.clear, lambda: _blank(ground), [], [sketch])
  listen(upload.upload, uploaded, [direction, upload], [choice, *outputs])
  listen(again.click, held, [direction], [choice, *outputs])
  listen(direction.change, translate, [direction, choice], outputs)


def _sketch(gr: ModuleType, play: playground.Playground, ground: int) -> Any:
  if play.event_shape[2] == 1:
    tones = ['#ffffff', '#808080', '#000000']
    colors = tones if ground == 0 else tones[::-1]
  else:
    colors = ['#000000', '#ffffff', '#c02020', '#20a040', '#2050c0', '#e0b020',
              '#805030']
    colors = colors if ground else ['#ffffff', '#000000', *colors[2:]]
  return gr.ImageEditor(
      value=_blank(ground), label='Draw', elem_id='sketch', type='numpy',
      image_mode='RGB', format='png', sources=(), transforms=(), layers=False,
      brush=gr.Brush(default_size=_BRUSH, colors=colors,
                     color_mode='fixed' if len(colors) == 3 else 'defaults'),
      eraser=gr.Eraser(default_size=_BRUSH), buttons=[], height=400,
      canvas_size=(_CANVAS, _CANVAS), fixed_canvas=True)


def _blank(ground: int) -> dict[str, Any]:
  plain = np.full((_CANVAS, _CANVAS, 3), ground, np.uint8)
  return {'background': plain, 'layers': [], 'composite': plain}


def _is_drawn(value: dict[str, Any]) -> bool:
  """Whether there is a line: a page that was just opened has none."""
  composite = value['composite']
  return composite is not None and bool(np.ptp(composite) > 0)


def _interpolate_tab(gr: ModuleType, play: playground.Playground, tab: Any
                    ) -> None:
  direction = _directions(gr, play)
  ends, choices, buttons = [], [], []
  with gr.Row():
    for i, word in enumerate(('First', 'Last')):
      with gr.Column(min_width=140):
        first = play.draw(play.directions[0][0], i) if play.held else None
        ends.append(_upload(
            gr, word, f'end{i}', height=220, elem_classes='pixels',
            value=None if first is None else play.show(first)))
        choices.append(gr.State(_Choice(number=i if play.held else None)))
        buttons.append(gr.Button(
            f'{play.split.capitalize()} picture', visible=bool(play.held),
            elem_id=f'held{i}'))
  fraction = gr.Slider(
      0., 1., 0.5, step=0.01, label='Fraction of the way', elem_id='fraction')
  with gr.Row():
    source_frame = _shown(gr, 'Their domain', 'source_frame',
                          min_width=140, height=280)
    target_frame = _shown(gr, 'Other domain', 'target_frame',
                          min_width=140, height=280)
  strip = _shown(gr, 'The whole way in both', 'strip')

  def frames(i: int, at: Any, *both: _Choice) -> Any:
    source, target = play.directions[i]
    first, last = (what.image(play, source) for what in both)
    return play.interpolate(first, last, source, target, at)

  def slide(i: int, at: float, *both: _Choice) -> Any:
    if any(what.is_nothing for what in both):
      return None, None
    return tuple(play.show(x[0]) for x in frames(i, [at], *both))

  def every(i: int, at: float, *both: _Choice) -> Any:
    if any(what.is_nothing for what in both):
      return None, None, None
    return (*slide(i, at, *both),
            play.strip(*frames(i, np.linspace(0., 1., _FRAMES), *both)))

  def turned(i: int, at: float, *both: _Choice) -> Any:
    shown = [None if what.is_nothing else
             play.show(what.image(play, play.directions[i][0]))
             for what in both]
    return (*shown, *every(i, at, *both))

  def chosen(end: int, what: _Choice, i: int, at: float, *both: _Choice) -> Any:
    all_ends = list(both)
    all_ends[end] = what
    shown = None if what.is_nothing else play.show(
        what.image(play, play.directions[i][0]))
    return (what, shown, *every(i, at, *all_ends))

  listen = functools.partial(_listen, gr)
  outputs = [source_frame, target_frame, strip]
  inputs = [direction, fraction, *choices]
  for end in range(2):
    listen(ends[end].upload,
           lambda path, *rest, end=end: chosen(end, _from_file(path), *rest),
           [ends[end], *inputs], [choices[end], ends[end], *outputs])
    listen(ends[end].clear,
           lambda *rest, end=end: chosen(end, _Choice(), *rest),
           inputs, [choices[end], ends[end], *outputs])
    listen(buttons[end].click,
           lambda *rest, end=end: chosen(
               end, _Choice(number=random.randrange(2**16)), *rest),
           inputs, [choices[end], ends[end], *outputs])
  listen(fraction.change, slide, inputs, [source_frame, target_frame],
         trigger_mode='always_last')
  listen(direction.change, turned, inputs, [*ends, *outputs])
  listen(tab.select, every, inputs, outputs)


def _sample_tab(gr: ModuleType, play: playground.Playground, tab: Any) -> None:
  with gr.Row():
    seed = gr.Number(0, label='Seed', precision=0, minimum=0, min_width=100,
                     elem_id='seed')
    number = gr.Slider(1, playground.MAX_SAMPLES, 16, step=1, label='Pairs',
                       min_width=200)
    temperature = gr.Slider(
        0., 1.5, 1., step=0.05, label='Temperature', min_width=200)
  draw = gr.Button('Sample', variant='primary', elem_id='draw')
  sheet = _shown(gr, 'From above: ' +
                 ', '.join(play.domains), 'samples')

  def sample(seed: int | None, number: int, temperature: float) -> Any:
    return play.pairs(play.sample(
        -1 if seed is None else seed, number, temperature))

  for event in (draw.click, tab.select):
    _listen(gr, event, sample, [seed, number, temperature], [sheet])


def _listen(gr: ModuleType, event: Callable[..., Any], fn: Callable[..., Any],
            inputs: Sequence[Any], outputs: Sequence[Any], **kwargs: Any
           ) -> None:
  # A sign of waiting would flicker while a line is drawn.
  event(_saying(gr, fn), list(inputs), list(outputs), api_visibility='private',
        show_progress='hidden' if kwargs else 'minimal', **kwargs)
