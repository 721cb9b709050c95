"""CUT: a generator for each direction, held to its input patch by patch."""

from __future__ import annotations

from collections.abc import Iterator
import functools
import itertools
from typing import Any

import keras
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.baselines import base

__all__ = ['CUT', 'PRESETS', 'build', 'patch_nce', 'terms']

_NUM_PATCHES = 256
_PATCH_FEATURES = 256
_TEMPERATURE = 0.07


class CUT(base.Generators):
  """Contrastive unpaired translation: independent generators.

  Each direction is trained by itself: given a patch of a translation, the patch
  of the input in the same place shall be found among patches of the input, by
  features of the generator's own encoder. So there is no cycle, and nothing
  ties G_{A->B} and G_{B->A}; the paper trains one of them. It is a
  `protocols.Translates`, without densities, latents or inverses.

  ```python
  model = baselines.CUT(('maps', 'aerial'), (64, 64, 3))
  photographs = model.translator('maps', 'aerial').forward(maps)
  ```

  #### References

  [1]: Taesung Park, Alexei A. Efros, Richard Zhang, Jun-Yan Zhu. Contrastive
       Learning for Unpaired Image-to-Image Translation. In _ECCV_, 2020.
       https://arxiv.org/abs/2007.15651
  """

  def __init__(self, *args: Any, **kwargs: Any):
    """Builds the model; arguments and errors are those of `base.Generators`."""
    super().__init__(*args, **kwargs)
    # Beyond those of the generators' layers.
    seeds = itertools.count(256 * 997 * (self._seed + 1))
    self._heads = {
        '_to_'.join(direction): [
            _head(features.shape[-1], seeds, name=f'head_{i}')
            for i, features in enumerate(self._encoder(direction).outputs)]
        for direction in self._generators}

  def patches(self, images: tf.Tensor, domain: str, direction: tuple[str, str],
              seed: tf.Tensor) -> list[tf.Tensor]:
    """Features of patches by the encoder of one direction's generator.

    Args:
      images: `[B, H, W, C]` in [0, 1].
      domain: Their domain.
      direction: The (source, target) of the generator.
      seed: Stateless seed of the places; equal seeds give equal places.

    Returns:
      For each of four layers, `[B, S, 256]`, each of norm 1: those of S places
      (256, or all) that are the same for all images.
    """
    framed = images_lib.to_critic(self.frame(images, domain))
    found = []
    for i, (features, head) in enumerate(zip(
        self._encoder(direction)(framed),
        self._heads['_to_'.join(direction)], strict=True)):
      num, channels = features.shape[1] * features.shape[2], features.shape[3]
      # XLA has no op that shuffles.
      places = tf.argsort(tf.random.stateless_uniform(
          [num], tf.random.experimental.stateless_fold_in(seed, i)))
      chosen = tf.gather(tf.reshape(features, [-1, num, channels]),
                         places[:_NUM_PATCHES], axis=1)
      found.append(tf.math.l2_normalize(
          head(tf.cast(chosen, tf.float32)), axis=-1, epsilon=1e-7))
    return found

  def _encoder(self, direction: tuple[str, str]) -> keras.Model:
    """Pixels, halved, and after two of the residual blocks, of a generator.

    The blocks are the first and number `n // 2 + 1` of n, which are 1 and 5 of
    9 in the published code. Its other layers are the pixels and both halving
    convolutions, before their normalisation.
    """
    generator = self._generators[direction].network.layer
    blocks = [layer for layer in generator.layers
              if isinstance(layer, keras.layers.Add)]
    return keras.Model(
        generator.inputs,
        [generator.inputs[0], blocks[0].input[0], blocks[0].output,
         blocks[len(blocks) // 2].output])


def _head(channels: int, seeds: Iterator[int], name: str) -> networks.Tracked:
  """A perceptron on features, which training alone uses."""
  layers = [keras.layers.Dense(_PATCH_FEATURES, activation, dtype='float32',
                               kernel_initializer=keras.initializers.Orthogonal(
                                   seed=next(seeds)))
            for activation in ('relu', None)]
  return networks.Tracked(
      keras.Sequential(layers), [None, None, channels], name=name)


def patch_nce(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  """Cross entropy of finding each query's own key among its image's keys.

  `-log(exp(q_i . k_i / 0.07) / sum_j exp(q_i . k_j / 0.07))`, a mean over all
  patches (equation 3 of the paper; negatives are of the same image).

  Args:
    queries: `[B, S, D]` of norm 1, of translations.
    keys: `[B, S, D]` of norm 1, of the images translated, in the same places.

  Returns:
    A scalar; `log(S)` where features tell nothing.
  """
  logits = tf.matmul(queries, keys, transpose_b=True) / _TEMPERATURE
  own = tf.linalg.diag_part(logits)
  return tf.reduce_mean(tf.reduce_logsumexp(logits, axis=-1) - own)


build = functools.partial(base.build, CUT)


def terms(config: Any, model: CUT) -> list[objectives.Term]:
  """Adversarial losses, and PatchNCE of translations and of the target's own.

  Equation 5 of the paper for each direction: L_GAN + lambda_X L_PatchNCE(G, H,
  X) + lambda_Y L_PatchNCE(G, H, Y), where lambda_X is `nce_weight` and lambda_Y
  is `nce_weight * identity_weight`. (The published code halves both weights.)
  """

  def contrast(index: int, s: str, t: str, of: str) -> Any:
    """PatchNCE of the generator to `t`, given images of `s` or of `t`."""

    def loss(state: objectives.State) -> tf.Tensor:
      images = state.real[of]
      translated = state.fakes[s, t] if of == s else model.translator(
          s, t)._replace(source=t).forward(images)
      seed = tf.random.experimental.stateless_fold_in(state.seed, index)
      keys = model.patches(images, of, (s, t), seed)
      queries = model.patches(translated, t, (s, t), seed)
      # Keys are targets: translations move, and what they came from does not.
      return tf.add_n([patch_nce(q, tf.stop_gradient(k))
                       for q, k in zip(queries, keys, strict=True)]) / len(keys)

    return loss

  found = objectives.adversarial_terms(model.domains)
  for i, (s, t) in enumerate(itertools.permutations(model.domains, 2)):
    found.append(objectives.Term(
        f'nce_loss/{s}_to_{t}', config.nce_weight,
        contrast(2 * i, s, t, s), direction=(s, t)))
    if config.identity_weight:
      found.append(objectives.Term(
          f'identity_nce_loss/{s}_to_{t}',
          config.nce_weight * config.identity_weight,
          contrast(2 * i + 1, s, t, t), direction=(s, t)))
  return found


# `cut` has the widths, blocks and weights of the paper, with AlignFlow's
# batches and steps.
PRESETS: dict[str, dict[str, Any]] = {
    'cut': {
        'num_scales': 3, 'width': 64, 'num_blocks': 9, 'steps': 13_800,
        'clip_norm': 0., 'nce_weight': 1., 'identity_weight': 1.,
        'pool_size': 0,
    },
    'cut_digits': {
        'num_scales': 2, 'width': 16, 'num_blocks': 4, 'batch_size': 16,
        'critic_width': 32, 'critic_layers': 2, 'critic_noise': 0.15,
        'steps': 1_200, 'ema_decay': 0.995, 'clip_norm': 0., 'nce_weight': 1.,
        'identity_weight': 1., 'pool_size': 0, 'checkpoint_every': 200,
        'eval_every': 400,
    },
}
