"""What critics are shown."""

import numpy as np
import tensorflow as tf

from alignflow_tf import objectives
from alignflow_tf.train import trainer as trainer_lib
from tests.train import tiny

SHAPE = (8, 8, 1)


def test_the_gradient_penalty_takes_each_sources_translations(monkeypatch):
  domains = ('a', 'b', 'c')
  trainer = trainer_lib.Trainer(
      tiny.config(gan_loss='wasserstein', pool_size=0), domains, SHAPE)
  seen = []

  def penalty(critic, real, fake, seed):
    del critic, seed
    seen.append((real[:, 0, 0, 0].numpy(), fake[:, 0, 0, 0].numpy()))
    return tf.zeros([])

  monkeypatch.setattr(objectives, 'gradient_penalty', penalty)
  value = {d: 0.1 * i for i, d in enumerate(domains)}
  trainer.critics.update(
      {d: tf.fill([2, *SHAPE], value[d]) for d in domains},
      {(s, t): tf.fill([2, *SHAPE], value[s] + value[t])
       for s in domains for t in domains if s != t},
      tf.constant([0, 1]), tf.constant(1e-3), tf.constant(True))
  noise = 5. * trainer._config.critic_noise
  assert len(seen) == 3
  for t, (real, fake) in zip(domains, seen, strict=True):
    near = np.repeat([value[s] + value[t] for s in domains if s != t], 2)
    np.testing.assert_allclose(real, [2. * value[t] - 1.] * 4, atol=noise)
    np.testing.assert_array_equal(real[:2], real[2:])
    np.testing.assert_allclose(fake, 2. * near - 1., atol=noise)


def test_critics_see_shifted_images_if_asked_to():
  image = np.zeros([64, *SHAPE], np.float32)
  image[:, 4, 4] = 1.
  for most in (0, 3):
    config = tiny.config(critic_shift=most, critic_noise=0.)
    critics = trainer_lib.Trainer(config, ('a', 'b'), SHAPE).critics
    view = critics._view(tf.constant(image), tf.constant([0, 1])).numpy()
    places = np.argwhere(view[..., 0] > 0.)[:, 1:]
    assert len(places) == 64
    assert places.min() == 4 - most
    assert places.max() == 4 + most
