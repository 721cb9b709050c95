"""Settings under which a run takes seconds, and what a run has written."""

import json
import os

import tensorflow as tf

from alignflow_tf.train import config as config_lib

SETTINGS = dict(
    flow='short', image_size=8, num_scales=1, width=4, num_blocks=1,
    critic_width=4, critic_layers=1, batch_size=4, pool_size=4, steps=4,
    log_every=1, eval_every=4, checkpoint_every=2, deterministic=True)


def config(**overrides):
  return config_lib.resolve('cpu', **(SETTINGS | overrides))


def metrics(run_dir):
  with open(os.path.join(run_dir, 'metrics.jsonl')) as f:
    lines = [json.loads(line) for line in f]
  for line in lines:
    line.pop('steps_per_second', None)
  return lines


def events(run_dir):
  """(step, tag, value) of what TensorBoard shows, but for the speed."""
  found = []
  directory = os.path.join(run_dir, 'summaries')
  for name in os.listdir(directory):
    for record in tf.data.TFRecordDataset(os.path.join(directory, name)):
      event = tf.compat.v1.Event.FromString(record.numpy())
      found += [(event.step, v.tag, v.tensor.SerializeToString())
                for v in event.summary.value if v.tag != 'steps_per_second']
  return sorted(found)
