"""Settings of a run that contradict each other."""

from __future__ import annotations

from typing import Any

from alignflow_tf.train import settings

__all__ = ['check']


def check(config: Any) -> None:
  """Raises ConfigError where settings of a `Config` contradict each other."""

  def demand(good: bool, name: str, expected: str) -> None:
    settings.check(good, name, getattr(config, name), expected)

  if config.objective == 'hybrid' and not config.lambda_a + config.lambda_b:
    raise settings.ConfigError(
        '`objective=hybrid` needs `lambda_a` or `lambda_b` above 0, got 0 for'
        ' both: use `objective=adversarial`.')
  if config.objective == 'adversarial':
    for name in ('lambda_a', 'lambda_b'):
      demand(not getattr(config, name), name,
             '0 where `objective=adversarial`, which has no likelihood')
  demand(config.objective == 'hybrid' or not config.lambda_until,
         'lambda_until', '0 where `objective` is not hybrid')
  if config.trunk == 'none':
    demand(not config.trunk_steps, 'trunk_steps', '0 where `trunk` is none')
    demand(not config.hub, 'hub', 'False where `trunk` is none')
  elif config.share != 'none':
    raise settings.ConfigError(
        "`share` must be 'none' where there is a `trunk`, which is shared, "
        f'got {config.share!r}.')
  if config.train_domains:
    demand(config.init_from is not None, 'init_from',
           'a run that has the other domains where there are `train_domains`')
    demand(config.share == 'none', 'share',
           "'none' where there are `train_domains`")
    for name in ('trunk_steps', 'trunk_later'):
      demand(not getattr(config, name), name,
             '0 where there are `train_domains`: the trunk stays as it is')
  demand(config.trunk_steps < config.steps, 'trunk_steps',
         f'below `steps`, {config.steps}')
  demand(config.objective != 'mle' or not config.eight_bit_weight,
         'eight_bit_weight',
         '0 where `objective=mle`, which translates nothing')
  if config.many:
    for name in ('trunk', 'share'):
      demand(getattr(config, name) == 'none', name,
             "'none' where there are `many`")
    demand(config.objective == 'mle' or config.eight_bit_weight > 0.,
           'eight_bit_weight',
           'above 0 where there are `many`, whose way back it trains')
  demand(config.strategy == 'default' or not config.xla, 'strategy',
         "'default' where steps are compiled with `xla`")
