"""The data of a configuration; does not load TensorFlow before data do."""

from __future__ import annotations

from typing import Any

from alignflow_tf import data
from alignflow_tf.train import config as config_lib


def load(config: config_lib.Config, **kwargs: Any) -> data.DomainSet:
  """Loads the domains of a configuration.

  Args:
    config: The configuration.
    **kwargs: Further arguments of `data.load`; `batch_size`, for training.

  Raises:
    DataError: If the data cannot be had.
  """
  domain_dirs = None
  if config.domain:
    domain_dirs = dict(d.split(':', 1) for d in config.domain)
  return data.load(
      config.dataset, data_dir=config.data_dir, image_size=config.image_size,
      channels=config.channels, seed=config.seed, domain_dirs=domain_dirs,
      fit=config.fit, load_size=config.load_size, flip=config.flip,
      standard_levels=config.standard_levels,
      label_by_folder=config.label_by_folder, download=config.download,
      cache=config.cache, cache_dir=config.cache_dir,
      max_pixels=config.max_pixels, skip_unreadable=config.skip_unreadable,
      **kwargs)


def check(config: config_lib.Config, domains: data.DomainSet) -> None:
  """Checks a configuration against its data.

  Raises:
    ConfigError: If a domain has fewer training images than a step takes, or a
      setting names a domain that is not there.
  """
  adapted = domains.domains[:-1] if config.hub else domains.domains
  for domain in config.train_domains:
    if domain not in adapted:
      raise config_lib.ConfigError(
          '`train_domains` must name domains that have an adapter, of '
          f'{", ".join(adapted)}, got {domain!r}.')
  for domain in config.many:
    if domain not in domains.domains:
      raise config_lib.ConfigError(
          f'`many` must name domains, of {", ".join(domains.domains)}, got '
          f'{domain!r}.')
  taken = config.images_per_step()
  steps = '' if taken == config.batch_size else (
      f' times `critic_steps`, {config.critic_steps},')
  for domain, sizes in domains.sizes.items():
    if sizes.get('train', 0) < taken:
      raise config_lib.ConfigError(
          f'`batch_size`{steps} must be at most the {sizes.get("train", 0)} '
          f'training images of domain {domain!r}, got {config.batch_size}.')
