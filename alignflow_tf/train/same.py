"""Whether a run, its configuration and its data are the same as before."""

from __future__ import annotations

from typing import Any

from absl import logging

from alignflow_tf import data
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import runs
from alignflow_tf.train import strategies

__all__ = ['check_configuration', 'check_data', 'check_data_of_all']


def check_configuration(run: runs.Run, config: config_lib.Config) -> None:
  """Refuses a configuration that would make it another run."""
  differences = run.differences(config)
  if differences:
    lines = '\n'.join(f'  {name}: {saved!r} in the run, {given!r} given'
                      for name, (saved, given) in differences.items())
    raise runs.RunError(
        f'`run_dir` {run.directory!r} holds a run of another configuration:\n'
        f'{lines}\nUse another --run_dir, or leave those flags away to go on.')


def check_data_of_all(domains: data.DomainSet, team: strategies.Team) -> None:
  """Refuses processes of a run that have different data, in all of them."""
  facts: dict[str, Any] = {
      'domains': domains.domains, 'image shape': domains.event_shape}
  for name, found in domains.describe()['domains'].items():
    facts |= {
        f'images of {name!r}': found['sizes'],
        f'names and sizes of the files of {name!r}': found.get('files'),
        f'whether {name!r} is grey, copied to 3 channels':
            found['grey_copied']}
  differences = team.differences(facts)
  if differences:
    raise data.DataError(
        f'the processes of a run must have the same data, got\n{differences}\n'
        'Bring the same to all of them, and start them again.')


def check_data(run: runs.Run, domains: data.DomainSet) -> None:
  """Refuses other data, and says so where there are other images."""
  for name, saved, found in (
      ('domains', run.domains, domains.domains),
      ('image shape', run.event_shape, domains.event_shape)):
    if tuple(saved) != tuple(found):
      raise runs.RunError(
          f'`run_dir` {run.directory!r}: the data have changed under the run, '
          f'{name} {tuple(saved)} in the run, {tuple(found)} now.')
  files = run.files()
  facts = domains.describe()['domains']
  for domain, sizes in run.sizes().items():
    now = domains.sizes[domain]
    if sizes != now:
      changed = f'images of {domain!r} {sizes} in the run, {now} now'
    elif domain in files and files[domain] != facts[domain].get('files'):
      changed = (f'there are as many files of {domain!r} as before, but with '
                 'other names or sizes')
    else:
      continue
    text = f'the data have changed under the run: {changed}'
    if run.config.deterministic:
      raise runs.RunError(
          f'`run_dir` {run.directory!r}: {text}. With --deterministic, bring '
          'them back, or start another --run_dir.')
    logging.warning(
        '%s: %s. The run goes on, but is no longer what it would have been.',
        run.directory, text)
