"""The functions of the page, without its layout.

They are those of the export, so the page gives the answers of a server and
refuses the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import itertools
import logging
import os
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _errors
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf import sheets
from alignflow_tf.export import codec
from alignflow_tf.export import servables
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

__all__ = ['MAX_SAMPLES', 'PlaygroundError', 'Playground', 'Translation']

MAX_SAMPLES = 64
_PICTURES = 100  # Held pictures a domain.
_COLUMNS = 8
_SIDE = 256  # Pictures are shown at least this high, pixels repeated.
_logger = logging.getLogger(__name__)


class PlaygroundError(_errors.UserError, ValueError):
  """Something that cannot be shown; says why."""


@dataclasses.dataclass(frozen=True)
class Translation:
  """A translation and the way back.

  Attributes:
    image: The image as the model gets it, float32 `[H, W, C]`.
    translated: Its translation, unclipped.
    back: The translation, translated back.
    error: Largest absolute error of a pixel of `back`, in units of [0, 1].
    text: The figures in words.
  """
  image: np.ndarray
  translated: np.ndarray
  back: np.ndarray
  error: float
  text: str


class Playground:
  """A trained model, and held pictures of its domains.

  Attributes:
    directory: The run directory.
    domains: Names of the domains.
    event_shape: `(height, width, channels)`.
    directions: Pairs (source, target) of domains, all of them.
    exact: Whether translations have an exact inverse.
    split: Name of the split of `held`; '' if there is none.
    held: By domain, uint8 images `[N, H, W, C]`, of the run's data or of a
      pretrained model's `pictures.npz`; empty if neither is here.
    missing: The reason why `held` is empty, or ''.
  """

  def __init__(self, run_dir: str, average: bool = True,
               max_pixels: int = codec.MAX_PIXELS):
    """Loads a run.

    Args:
      run_dir: The run directory of `python -m alignflow_tf.train`.
      average: Whether to load the moving average of the weights, or the newest
        weights.
      max_pixels: Largest width * height of a picture that is decoded.

    Raises:
      RunError: If there is no run or no checkpoint, or it is damaged.
      PlaygroundError: If the model's images cannot be shown.
    """
    run = runs.Run(run_dir)
    self.directory = run.directory
    self.domains: tuple[str, ...] = run.domains
    self.event_shape: tuple[int, int, int] = run.event_shape
    if self.event_shape[2] not in (1, 3):
      raise PlaygroundError(
          '`run` must be of images of 1 or 3 channels, to be shown, got '
          f'{self.event_shape[2]}.')
    self._max_pixels = max_pixels
    self.directions = list(itertools.permutations(self.domains, 2))
    self._preparations = run.preparations()
    model = runs.load(run_dir, average)
    if not isinstance(model, model_lib.HasLatents):
      raise PlaygroundError(
          f'`run` must be of a model with latents, got {type(model).__name__}, '
          'which has none to sample; see its evaluation instead.')
    self.exact = hasattr(model.translator(*self.directions[0]), 'inverse')
    factory = servables.Factory(
        model, servables.Options(preparations=self._preparations))
    self._translators = {
        pair: factory.translator(*pair).signatures for pair in self.directions}
    self._decoders = {d: self._decoder(d) for d in self.domains}
    self._domains = {d: factory.domain(d).signatures for d in self.domains}
    self.split = ''
    self.missing = ''
    self.held: dict[str, np.ndarray] = {}
    try:
      self.split, self.held = _held(run)
    except (data.DataError, OSError, ImportError) as e:
      self.missing = ' '.join(str(e).split())
      _logger.warning('No held pictures: %s', self.missing)

  def prepare(self, picture: bytes | np.ndarray | None, domain: str
             ) -> np.ndarray:
    """Brings a picture of any size to the model's, as in training.

    Args:
      picture: The bytes of a PNG or JPEG, or a drawing, uint8 `[h, w, c]`, c
        from 1 to 4.
      domain: The domain that it is taken to be of.

    Returns:
      uint8 `[H, W, C]`.

    Raises:
      PlaygroundError: If it is no such picture; says why.
    """
    if picture is None:
      raise PlaygroundError('There is no picture yet: draw or upload one.')
    if isinstance(picture, bytes):
      with _refusals():
        image = self._decoders[domain](tf.constant([picture]))
      return image[0].numpy()
    return self._preparations[domain].apply(
        tf.constant(picture), None, self.event_shape).numpy()

  def draw(self, domain: str, number: int) -> np.ndarray:
    """A held picture, uint8 `[H, W, C]`; `number` counts modulo theirs."""
    images = self.held[domain]
    return images[number % len(images)]

  def example(self, domain: str) -> np.ndarray:
    """A picture to begin with: a held one, or else a sample, uint8."""
    if self.held:
      return self.draw(domain, 0)
    return images_lib.to_uint8(self.sample(0, 1)[domain][0]).numpy()

  def is_dark(self, domain: str) -> bool:
    """Whether the domain's pictures have a dark ground, by their borders."""
    return bool(self.held) and _ground(self.held[domain]) < 128

  def translate(self, image: np.ndarray, source: str, target: str
               ) -> Translation:
    """Translates an image, and back.

    Args:
      image: uint8 `[H, W, C]`, as `prepare` gives it.
      source: Its domain.
      target: The domain to translate to.

    Returns:
      The translation.

    Raises:
      PlaygroundError: If the model refuses it.
    """
    x = self._batch(image)
    with _refusals():
      out = self._translators[source, target]['round_trip'](x)
    translated = out['translated'][0].numpy()
    error = float(out['error'][0])
    low, high = float(translated.min()), float(translated.max())
    text = (
        f'Largest error of a pixel on the way there and back: **{error:.1e}** '
        f'of the range from black to white, {error * 256:.1e} of a level of '
        f'256. Translated pixels lie from {low:.2f} to {high:.2f}; they are '
        'clipped to [0, 1] to be shown, but not for the way back.')
    if self.held and abs(
        _ground(image[np.newaxis]) - _ground(self.held[source])) > 191:
      text += (f' Pictures of {source} have a ground of another brightness: '
               'the model knows none like this one.')
    return Translation(x[0].numpy(), translated, out['image'][0].numpy(), error,
                       text)

  def interpolate(
      self, first: np.ndarray, last: np.ndarray, source: str, target: str,
      fractions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Frames between two images of one domain (section 5.3 of the paper).

    Args:
      first: uint8 `[H, W, C]`, where the fraction is 0.
      last: The same, where it is 1.
      source: Their domain.
      target: The domain that the path is shown in as well.
      fractions: K numbers in [0, 1].

    Returns:
      Frames in the source domain and in the target domain, float32
      `[K, H, W, C]`.

    Raises:
      PlaygroundError: If the model refuses them.
    """
    with _refusals():
      out = self._translators[source, target]['interpolate'](
          self._batch(first), self._batch(last),
          tf.constant(np.reshape(fractions, [1, -1]), tf.float32))
    return out['source'][0].numpy(), out['target'][0].numpy()

  def sample(self, seed: int, number: int, temperature: float = 1.
            ) -> dict[str, np.ndarray]:
    """Samples of all domains from the same latents (section 3.4).

    The i-th is what a server gives for the seed `[seed, i]`.

    Args:
      seed: An integer.
      number: How many.
      temperature: Standard deviation of the latents.

    Returns:
      By domain, float32 images `[number, H, W, C]`.

    Raises:
      PlaygroundError: If an argument is out of range.
    """
    if not _is_integer(number) or not 1 <= number <= MAX_SAMPLES:
      raise PlaygroundError(
          f'`number` must be an integer from 1 to {MAX_SAMPLES}, got '
          f'{number!r}.')
    if not _is_integer(seed) or not 0 <= seed < 2**31:
      raise PlaygroundError(
          f'`seed` must be an integer from 0 to {2**31 - 1}, got {seed!r}.')
    seeds = tf.constant(
        [[int(seed), i] for i in range(int(number))], tf.int64)
    with _refusals():
      return {
          d: self._domains[d]['sample'](
              seeds, tf.fill([int(number)], float(temperature))
          )['image'].numpy() for d in self.domains}

  def show(self, image: np.ndarray) -> np.ndarray:
    """An image as a picture to show: uint8 RGB, pixels repeated if small."""
    return sheets.grid([image[np.newaxis]], gap=0, scale=self._zoom(_SIDE))

  def strip(self, *rows: np.ndarray) -> np.ndarray:
    """Rows of frames `[K, H, W, C]` as a picture."""
    return sheets.grid(
        list(rows), gap=1, scale=self._zoom(_SIDE // 4))

  def pairs(self, samples: dict[str, np.ndarray]) -> np.ndarray:
    """Samples as a picture: pairs one above the other, in rows of pairs."""
    count = len(samples[self.domains[0]])
    columns = min(_COLUMNS, count)
    height, width, channels = self.event_shape
    blocks = []
    for start in range(0, count, columns):
      rows = []
      for domain in self.domains:
        part = samples[domain][start:start + columns]
        white = np.ones(
            (columns - len(part), height, width, channels), np.float32)
        rows.append(np.concatenate([part, white]))
      blocks.append(sheets.grid(rows, gap=1))
      blocks.append(np.full((max(1, height // 4), blocks[0].shape[1], 3), 255,
                            np.uint8))
    zoom = self._zoom(_SIDE // 2)
    return np.concatenate(blocks[:-1]).repeat(zoom, 0).repeat(zoom, 1)

  def _decoder(self, domain: str) -> Callable[[tf.Tensor], tf.Tensor]:
    rule = self._preparations[domain]
    return tf.function(
        lambda text: images_lib.to_uint8(codec.decode(
            text, self.event_shape, rule, self._max_pixels, 'picture')),
        input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

  def _zoom(self, side: int) -> int:
    return max(1, -(-side // min(self.event_shape[:2])))

  def _batch(self, image: np.ndarray) -> tf.Tensor:
    return images_lib.from_uint8(tf.constant(image[np.newaxis]))


def _ground(images: np.ndarray) -> float:
  """Median level of the borders of uint8 images `[N, H, W, C]`."""
  return float(np.median(np.concatenate([
      images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
  """Turns refusals of the graph into `PlaygroundError`."""
  try:
    yield
  except tf.errors.InvalidArgumentError as e:
    raise PlaygroundError(_reason(str(e))) from e


def _reason(text: str) -> str:
  """The text of our own check, without TensorFlow's words around it."""
  start = text.find('assertion failed: [')
  if start >= 0:
    text = text[start + len('assertion failed: ['):].partition(']')[0]
  else:
    text = text.split('}} ', 1)[-1].split(' [Op:')[0].strip()
    text = f'The picture cannot be decoded: {text.splitlines()[0]}'
  return text.replace('`picture` must hold PNG or JPEG pictures, but row 0',
                      'A picture must be a PNG or JPEG, but this one')


def _is_integer(value: Any) -> bool:
  return (isinstance(value, (int, float, np.integer)) and
          not isinstance(value, bool) and value == value // 1)


def _held(run: runs.Run) -> tuple[str, dict[str, np.ndarray]]:
  """Some test pictures of each domain, or validation pictures.

  Raises:
    DataError: If the data are not here, or are others than the run's.
  """
  path = os.path.join(run.directory, 'pictures.npz')
  if os.path.exists(path):
    with np.load(path, allow_pickle=False) as f:
      return 'test', {d: f[d] for d in run.domains}
  config = dataclasses.replace(run.config, download=False)
  try:
    # Of a folder, only the pictures that are shown are decoded.
    domains = inputs.load(dataclasses.replace(config, cache='none'))
  except data.DataError:
    domains = inputs.load(config)  # TFDS records need a cache.
  if (tuple(domains.domains) != run.domains or
      tuple(domains.event_shape) != run.event_shape):
    raise data.DataError(
        f'the data set has domains {tuple(domains.domains)} of shape '
        f'{domains.event_shape}, the run {run.domains} of {run.event_shape}')
  for split in ('test', 'validation'):
    try:
      return split, {
          d: domains.arrays(d, split, _PICTURES)['image'] for d in run.domains}
    except (data.DataError, IndexError):
      continue
  raise data.DataError('there are neither test nor validation pictures')
