"""Reference networks: baselines and feature extractors of evaluations.

They depend on the data, not on a run, so each is trained once and kept for all
runs on the same data, in `<directory>/<dataset>_<size>_<hash>/`.
"""

from __future__ import annotations

from collections.abc import Callable
import hashlib
import json
import os

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import classification
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf.evaluate import probes

# Updates, images an update, and updates between looks at validation pairs.
STEPS = 1500
BATCH = 16
LOOK = 100
# Part of the hash; raise it when the training here changes.
_VERSION = 2

Features = Callable[[np.ndarray], np.ndarray]


def default_directory() -> str:
  """Where references are kept by default."""
  return os.path.expanduser('~/.cache/alignflow_tf/references')


def place(directory: str | None) -> str:
  """Absolute path of a directory of references; of the default for None."""
  return os.path.abspath(os.path.expanduser(directory or default_directory()))


class References:
  """The reference networks of one set of domains.

  Attributes:
    directory: Where they are kept.
  """

  def __init__(self, domains: data.DomainSet, directory: str | None = None):
    """Finds the directory; nothing is trained until it is asked for.

    Args:
      domains: The domains.
      directory: Where directories of references stand; `default_directory()`
        where None.
    """
    self._domains = domains
    facts = json.dumps([_VERSION, STEPS, domains.describe()], sort_keys=True,
                       default=str)
    height, width, channels = domains.event_shape
    self.directory = os.path.join(
        place(directory),
        f'{domains.name}_{height}x{width}x{channels}_'
        f'{hashlib.sha256(facts.encode()).hexdigest()[:10]}')
    self._networks: dict[str, keras.Model] = {}

  @property
  def from_pairs(self) -> bool:
    """Whether there can be regression networks: of pairs of sizes 4 divides."""
    height, width, _ = self._domains.event_shape
    return self._domains.paired and not (height % 4 or width % 4)

  def supervised(self, source: str, target: str) -> Features:
    """A regression network from source to target, trained on training pairs.

    It bounds the MSE that a translation can reach, as it sees the pairs that
    unpaired training does not. It is trained by Adam, whose rate falls from
    1e-3 to 0 by a cosine, on pairs half of which are mirrored. Every `LOOK`
    updates its MSE on validation pairs is measured; the best weights are kept.

    Returns:
      A function of images `[N, H, W, C]` in [0, 1] to as many.

    Raises:
      DataError: If there is none; see `from_pairs`.
    """
    if not self.from_pairs:
      raise data.DataError(
          '`domains` must be paired, and 4 must divide the size of the images, '
          f'for a supervised network, got {self._domains.name!r}, '
          f'{self._domains.event_shape}.')
    network = self._regressor(source, target)
    return lambda images: _predict(network, images, 'image') / 2. + 0.5

  def features(self, domain: str) -> tuple[Features, str] | None:
    """Features that measure realism in a domain, if the data allow.

    Returns:
      A function of images `[N, H, W, C]` in [0, 1] to features `[N, d]`, and a
      description of it; None where the domain has neither labels nor partners
      of a suitable size.
    """
    if self.from_pairs:
      other = next(d for d in self._domains.domains if d != domain)
      network = self._regressor(domain, other)
      return (lambda images: _predict(network, images, 'features'),
              f'innermost channels of the supervised network {domain} to '
              f'{other}: mean and standard deviation')
    classifier = self.classifier(domain)
    if classifier is None:
      return None
    last = keras.Model(classifier.inputs, classifier.layers[-2].output)
    return (lambda images: _predict(last, images),
            f'last hidden layer of a LeNet trained on the labels of {domain}')

  def classifier(self, domain: str) -> keras.Model | None:
    """A LeNet trained on a domain's own labels; None if there are none."""
    if not self._domains.num_classes or min(
        self._domains.event_shape[:2]) < 16:
      return None

    def make() -> keras.Model:
      return networks.lenet(
          self._domains.event_shape, self._domains.num_classes or 0)

    def train() -> keras.Model:
      images = self._domains.arrays(
          domain, 'train', limit=probes.MAX_IMAGES)
      return probes.train_classifier(
          images['image'], images['label'], self._domains.num_classes or 0)

    store = self._domains.batches(domain, 'validation', 1, limit=1)
    if 'label' not in store.element_spec:
      return None
    return self._kept(f'classifier_{domain}', make, train)

  def _regressor(self, source: str, target: str) -> keras.Model:
    def make() -> keras.Model:
      return networks.regressor(self._domains.event_shape)

    def train() -> keras.Model:
      network = make()
      _train(network, _pairs(self._domains, 'train', source, target),
             _pairs(self._domains, 'validation', source, target), STEPS)
      return network

    return self._kept(f'{source}_to_{target}', make, train)

  def _kept(self, name: str, make: Callable[[], keras.Model],
            train: Callable[[], keras.Model]) -> keras.Model:
    """A network from memory, from the directory, or trained and kept."""
    if name in self._networks:
      return self._networks[name]
    path = os.path.join(self.directory, f'{name}.weights.h5')
    if os.path.exists(path):
      network = make()
      try:
        network.load_weights(path)
      except (OSError, ValueError, KeyError) as e:
        raise data.DataError(
            f'`references`: {path} is damaged ({e}); remove it.') from e
    else:
      print(f'Training the reference {name}, once for these data.', flush=True)
      network = train()
      os.makedirs(self.directory, exist_ok=True)
      with _io.temporary_folder(self.directory, '.partial-') as folder:
        partial = os.path.join(folder, os.path.basename(path))
        network.save_weights(partial)
        os.replace(partial, path)
    self._networks[name] = network
    return network


def inception_features(weights: str) -> Features:
  """Features of InceptionV3, as FID and KID are usually measured.

  Args:
    weights: Path of Keras' InceptionV3 weights without the top
      (`inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5`).

  Returns:
    A function of images `[N, H, W, C]` in [0, 1] to features `[N, 2048]`.

  Raises:
    DataError: If the file is not there, or holds something else.
  """
  weights = os.path.expanduser(weights)
  if not os.path.isfile(weights):
    raise data.DataError(
        f'`inception_weights` must be a file, got {weights!r}.')
  try:
    network = keras.applications.InceptionV3(
        include_top=False, weights=weights, pooling='avg',
        input_shape=(299, 299, 3))
  except (OSError, ValueError, KeyError) as e:
    raise data.DataError(
        f'`inception_weights`: {weights!r} are no weights of InceptionV3 '
        f'without its top: {e}') from e

  def features(images: np.ndarray) -> np.ndarray:
    parts = []
    for i in range(0, len(images), 32):
      x = tf.image.resize(images[i:i + 32], (299, 299))
      if x.shape[-1] == 1:
        x = tf.image.grayscale_to_rgb(x)
      parts.append(np.asarray(network(images_lib.to_critic(x))))
    return np.concatenate(parts)

  return features


def _pairs(domains: data.DomainSet, split: str, source: str, target: str
          ) -> tuple[np.ndarray, np.ndarray]:
  """All pairs of a split, as uint8 levels."""
  parts = list(domains.pairs(split, 256).as_numpy_iterator())
  x, y = (np.concatenate([p[d] for p in parts]) for d in (source, target))
  return x, y


def _predict(network: keras.Model, images: np.ndarray,
             output: str | None = None) -> np.ndarray:
  inputs = classification.view(tf.constant(images)).numpy()
  result = network.predict(inputs, batch_size=100, verbose=0)
  return result if output is None else result[output]


def _train(network: keras.Model, train: tuple[np.ndarray, np.ndarray],
           validation: tuple[np.ndarray, np.ndarray], steps: int) -> None:
  """Least squares; keeps the weights of the least validation error."""
  x, y = map(classification.on_cpu, train)
  optimizer = keras.optimizers.Adam(
      keras.optimizers.schedules.CosineDecay(1e-3, steps))
  optimizer.build(network.trainable_variables)

  @tf.function
  def update(step: tf.Tensor) -> None:
    index, mirror = (
        tf.random.stateless_uniform([BATCH], [step, i]) for i in range(2))
    index = tf.cast(index * len(train[0]), tf.int32)
    pair = classification.view(
        tf.stack([tf.gather(x, index), tf.gather(y, index)]))
    pair = tf.where(mirror[:, None, None, None] < 0.5, pair[..., ::-1, :], pair)
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(
          tf.square(network(pair[0], training=True)['image'] - pair[1]))
    optimizer.apply(tape.gradient(loss, network.trainable_variables),
                    network.trainable_variables)

  wanted = classification.view(tf.constant(validation[1])).numpy()
  best, weights = np.inf, network.get_weights()
  for step in range(1, steps + 1):
    update(tf.constant(step))
    if step % LOOK == 0 or step == steps:
      error = float(np.mean(np.square(
          _predict(network, validation[0], 'image') - wanted)))
      if error < best:
        best, weights = error, network.get_weights()
  network.set_weights(weights)
