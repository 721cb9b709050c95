"""Settings under which all of an adaptation takes seconds."""

from alignflow_tf.adapt import config as config_lib

FLOW = ('preset=cpu', 'flow=short', 'num_scales=1', 'width=4', 'num_blocks=1',
        'critic_width=4', 'critic_layers=1', 'batch_size=4', 'steps=3',
        'pool_size=4', 'eval_every=100')


def settings(**overrides):
  values = dict(
      network='strided', batch_size=32, classifier_steps=60, feature_steps=5,
      target_steps=5, translator=FLOW,
      cyclegan=('num_scales=2', 'flow=real_nvp'),
      unit=('num_scales=2', 'flow=real_nvp'))
  return config_lib.Settings(**(values | overrides))


def warped(**overrides):
  return settings(
      **({'classifier_augment': True, 'semantic_augment': True} | overrides))
