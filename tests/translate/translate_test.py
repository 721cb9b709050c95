"""Folders of pictures through a run and through its exports."""

import csv
import json
import os
import shutil

from absl import flags
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import inference
from alignflow_tf import train
from alignflow_tf.translate import __main__ as program
from alignflow_tf.translate import models
from alignflow_tf.translate import tiles as tiles_lib


@pytest.fixture(name='wide', scope='module')
def _wide(tmp_path_factory):
  """A run of convolutions alone: it takes pictures of their own size."""
  directory = tmp_path_factory.mktemp('wide') / 'run'
  config = train.resolve(
      'cpu_pictures', dataset='folders', flow='short', num_scales=1, width=4,
      image_size=8, domain=('day:a', 'night:b'), objective='mle',
      many=('night',), many_every=2)
  domains, shape = ('day', 'night'), (8, 8, 3)
  run = train.Run.create(
      str(directory), config, domains, shape, dict.fromkeys(domains, False))
  model = baselines.get(config.model).build(config, domains, shape)
  random = np.random.RandomState(1)
  for variable in model.trainable_variables:
    variable.assign_add(0.03 * random.randn(*variable.shape))
  tf.train.Checkpoint(average=model).save(
      str(directory / 'checkpoints' / 'ckpt'))
  return run.directory


@pytest.fixture(name='photos')
def _photos(tmp_path):
  """Five pictures of different sizes, one damaged, one file not read."""
  folder = tmp_path / 'photos'
  (folder / 'trip').mkdir(parents=True)
  random = np.random.RandomState(0)
  for name, size in (('a.jpg', (30, 20)), ('a.png', (9, 8)),
                     ('trip/b.webp', (13, 21)), ('trip/c.png', (8, 8))):
    levels = random.randint(40, 216, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(levels).save(folder / name)
  (folder / 'bad.png').write_bytes(b'\x89PNG\r\n\x1a\nnothing')
  (folder / 'notes.txt').write_text('none')
  return folder


def _run(*arguments, code=0, **values):
  """Runs the program in this process; checks its exit code."""
  # Flags of its own: other programs have flags of these names.
  parsed = flags.FlagValues()
  program.define(parsed)
  given = []
  for name, value in {'batch_size': 4, **values}.items():
    given += [f'--{name}={v}' for v in (
        value if isinstance(value, list) else [value])]
  with pytest.raises(SystemExit) as e:
    program.main(parsed(['translate', *given, *map(str, arguments)]), parsed)
  if isinstance(code, str):
    assert code in e.value.code
  else:
    assert e.value.code == code


def _files(folder):
  return sorted(str(p.relative_to(folder)) for p in folder.rglob('*')
                if p.is_file() and p.name != 'translate.json')


def _levels(path):
  return np.asarray(Image.open(path))


def _arguments(run, output, source, target, **values):
  return {'run': str(run), 'output': str(output), 'from': source,
          'to': target, **values}


def test_a_folder_keeps_names_and_resumes(wide, photos, tmp_path, capsys):
  out = tmp_path / 'out'
  arguments = _arguments(wide, out, 'day', 'night', input=[str(photos)])
  _run(code=3, **arguments)
  assert _files(out) == [
      'a.jpg.png', 'a.png.png', 'trip/b.png', 'trip/c.png']
  text = capsys.readouterr().out
  assert 'Not read: 1 .txt' in text
  assert str(photos / 'bad.png') in text
  assert '4 done, 0 there already, 1 could not be read' in text
  assert 'The way back from 8 bits, first picture: ' in text
  assert _levels(out / 'trip/b.png').shape == (8, 8, 3)
  # What was stopped goes on; a picture that has changed is translated again.
  before = {n: os.stat(out / n).st_mtime_ns for n in _files(out)}
  (out / 'trip/c.png').unlink()
  later = os.stat(out / 'trip/b.png').st_mtime + 5
  os.utime(photos / 'trip' / 'b.webp', (later, later))
  (photos / 'bad.png').unlink()
  _run(**arguments)
  assert '2 done, 2 there already, 0 could' in capsys.readouterr().out
  assert {n for n in _files(out)
          if os.stat(out / n).st_mtime_ns != before[n]} == {
              'trip/b.png', 'trip/c.png'}
  # Results of other settings do not mix.
  _run(code=f'`output` {str(out)!r} holds outputs of other settings '
       "(size: 'model' there, 'original' here); name another folder",
       size='original', **arguments)


def test_exact_values_give_the_source_back_in_its_own_size(
    wide, photos, tmp_path, capsys):
  (photos / 'bad.png').unlink()
  there, back = tmp_path / 'there', tmp_path / 'back'
  _run(**_arguments(wide, there, 'day', 'night', input=[str(photos)],
                    exact=True, size='original'))
  error = float(capsys.readouterr().out.split('largest error ')[1].split()[0])
  assert error < 1e-4
  _run(**_arguments(wide, back, 'night', 'day', input=[str(there)],
                    exact=True, size='original'))
  assert '4 done (4 from exact values), 0' in capsys.readouterr().out
  for name, source in (('a.jpg', 'a.jpg'), ('a.png', 'a.png'),
                       ('trip/b', 'trip/b.webp'), ('trip/c', 'trip/c.png')):
    want = _levels(photos / source)
    assert _levels(there / f'{name}.png').shape == want.shape
    assert (_levels(there / f'{name}.png') != want).any()
    np.testing.assert_array_equal(_levels(back / f'{name}.png'), want)
    with np.load(back / f'{name}.npz') as f:
      layout = tiles_lib.Layout(
          tuple(f['size']), f['tiles'].shape[1:3], f['tops'], f['lefts'])
      np.testing.assert_allclose(
          layout.join(f['tiles']), (want + 0.5) / 256., atol=1e-4)
  # A picture that was edited since counts, and not its old exact values.
  Image.fromarray(255 - _levels(there / 'trip/c.png')).save(
      there / 'trip/c.png')
  capsys.readouterr()
  _run(**_arguments(wide, back, 'night', 'day', input=[str(there)],
                    exact=True, size='original'))
  text = capsys.readouterr().out
  assert 'c.npz belongs to another picture' in text
  assert '1 done, 3 there' in text


def test_many_translations_of_each_picture(wide, photos, tmp_path, capsys):
  (photos / 'bad.png').unlink()
  out = tmp_path / 'out'
  arguments = _arguments(
      wide, out, 'day', 'night', input=[str(photos)], many=2)
  _run(**arguments)
  names = ['a.jpg.png', 'a.png.png', 'trip/b.png', 'trip/c.png']
  assert _files(out) == [f'{i}/{name}' for i in (0, 1) for name in names]
  assert '8 done, 0 there already' in capsys.readouterr().out
  for name in names:
    first, second = (_levels(out / str(i) / name).astype(int) for i in (0, 1))
    assert np.abs(first - second).max() > 1
  _run(**arguments)
  assert '0 done, 8 there already' in capsys.readouterr().out
  _run(code='`many` needs a run that was trained with --many=day',
       **_arguments(wide, tmp_path / 'other', 'night', 'day', many=2,
                    input=[str(photos)]))


def test_windows_cover_a_picture_and_join_without_seams():
  random = np.random.RandomState(0)
  for size in ((8, 8), (5, 30), (17, 8), (40, 23)):
    image = random.rand(*size, 3).astype(np.float32)
    for layout in (tiles_lib.plan(size, (8, 8)),
                   tiles_lib.plan(size, (16, 16), 4)):
      tiles = layout.split(image)
      assert tiles.shape[1:] == (*layout.tile, 3)
      np.testing.assert_allclose(layout.join(tiles), image, atol=1e-6)
  assert tiles_lib.plan((5, 30), (16, 16), 4).tile == (8, 16)


def test_an_export_alone_translates_as_its_run_does(
    exported, photos, tmp_path, capsys):
  (photos / 'bad.png').unlink()
  outputs = []
  # A version of one servable, copied elsewhere, is enough.
  copied = tmp_path / 'copied' / 'ink_to_chalk' / '1'
  shutil.copytree(exported.paths['ink_to_chalk'], copied)
  for run in (exported.base, copied.parent):
    assert models.domains_of(str(run)) == ('ink', 'chalk')
  for i, run in enumerate((exported.run.directory, copied)):
    outputs.append(tmp_path / f'out{i}')
    _run(**_arguments(run, outputs[-1], 'ink', 'chalk', input=[str(photos)],
                      size='original'))
  text = capsys.readouterr().out
  assert text.count('The way back from 8 bits') == 1
  assert "must hold the servable 'chalk_to_ink'" in text
  for name in _files(outputs[0]):
    want = _levels(outputs[0] / name)
    assert want.ndim == 2  # The model is grey.
    for output in outputs[1:]:
      assert np.abs(_levels(output / name).astype(int) - want).max() <= 1


def test_an_export_draws_as_its_run_does(exported, photos, tmp_path):
  (photos / 'bad.png').unlink()
  outputs = [tmp_path / 'run', tmp_path / 'export']
  for run, output in zip(
      (exported.run.directory, exported.base), outputs, strict=True):
    _run(**_arguments(
        run, output, 'ink', 'chalk', input=[str(photos)], many=2))
  names = _files(outputs[0])
  assert len(names) == 8
  assert _files(outputs[1]) == names
  for name in names:
    first, second = (_levels(output / name).astype(int) for output in outputs)
    assert np.abs(first - second).max() <= 1


def test_latents_come_back(exported, photos, tmp_path):
  (photos / 'bad.png').unlink()
  latents, there, direct = (tmp_path / n for n in ('z', 'there', 'direct'))
  _run(photos / 'a.jpg', photos / 'trip', **_arguments(
      exported.run.directory, latents, 'ink', 'latent'))
  assert _files(latents) == ['a.npz', 'b.npz', 'c.npz']
  _run(latents, **_arguments(
      exported.run.directory, there, 'latent', 'chalk'))
  _run(photos / 'a.jpg', photos / 'trip', **_arguments(
      exported.run.directory, direct, 'ink', 'chalk'))
  for name in ('a', 'b', 'c'):
    gap = _levels(there / f'{name}.png').astype(int) - _levels(
        direct / f'{name}.png')
    assert np.abs(gap).max() <= 1


def test_scores_are_a_table_that_goes_on(exported, photos, tmp_path, capsys):
  values = {'run': str(exported.base), 'output': str(tmp_path / 'out'),
            'from': 'ink', 'score': True, 'input': [str(photos)]}
  _run(code=3, **values)
  with open(tmp_path / 'out' / 'scores.csv', newline='') as f:
    rows = {r['file']: float(r['bits_per_dim']) for r in csv.DictReader(f)}
  assert set(rows) == {'a.jpg', 'a.png', 'trip/b.webp', 'trip/c.png'}
  assert all(0. < bits < 20. for bits in rows.values())
  _run(code=3, **values)
  assert '0 done, 4 there already, 1' in capsys.readouterr().out


def test_samples_and_interpolations(exported, photos, tmp_path):
  run = exported.run.directory
  _run(run=run, output=str(tmp_path / 'samples'), sample=3)
  assert _files(tmp_path / 'samples') == [
      f'{d}/000{i}.png' for d in ('chalk', 'ink') for i in range(3)]
  _run(photos / 'a.jpg', photos / 'trip' / 'c.png', run=run,
       output=str(tmp_path / 'path'), interpolate=True, **{'from': 'ink'})
  assert _files(tmp_path / 'path') == ['interpolation.gif', 'interpolation.png']


@pytest.mark.parametrize(('values', 'message'), [
    ({}, 'give one of `to`, `score`, `interpolate` and `sample`, got none'),
    ({'to': 'chalk', 'score': True}, 'got to, score'),
    ({'to': 'coal', 'from': 'ink'}, '`to` must be one of ink, chalk, latent'),
    ({'to': 'chalk'}, '`from` must be one of ink, chalk, latent, got None'),
    ({'to': 'ink', 'from': 'ink'}, '`to` must differ from `from`'),
    ({'score': True, 'from': 'latent'}, 'must be one of ink, chalk, got'),
    ({'to': 'chalk', 'from': 'ink', 'size': 'original', 'fit': 'pad'},
     '`size=original` goes with `to`, and without `fit`'),
    ({'to': 'latent', 'from': 'ink', 'exact': True}, '`exact` goes with'),
    ({'to': 'chalk', 'from': 'ink', 'input': ['nowhere']},
     "`input` must name files and folders, got 'nowhere'"),
    ({'to': 'chalk', 'from': 'ink'}, '`input` must hold pictures'),
    ({'to': 'chalk', 'from': 'ink', 'input': ['photos'],
      'output': 'photos/out'}, '`output` must not be where `input`'),
    ({'to': 'chalk', 'from': 'ink', 'input': ['photos/a.png'],
      'output': 'photos'}, '`output` must not be where `input`'),
    ({'to': 'latent', 'from': 'ink', 'many': 2}, '`many` goes with'),
    ({'to': 'chalk', 'from': 'ink', 'many': 2, 'exact': True},
     '`exact` does not go with `many`'),
    ({'to': 'chalk', 'from': 'ink', 'run': 'photos'},
     '`run` must be a directory made by'),
])
def test_mistakes_are_answered_before_tensorflow_is_loaded(
    tmp_path, photos, monkeypatch, values, message):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'config.json').write_text(json.dumps(
      {'domains': ['ink', 'chalk'], 'event_shape': [8, 8, 1]}))
  monkeypatch.setattr(program, '_run', lambda *found: pytest.fail('loaded'))
  values = {'run': 'run', 'output': 'out', **values}
  _run(code=message, **values)


def test_a_picture_that_the_model_does_not_bear_is_named(
    exported, photos, tmp_path, monkeypatch, capsys):
  (photos / 'bad.png').unlink()
  translate = inference.Evaluator.translate

  def broken(self, images, source, target):
    result = translate(self, images, source, target)
    result[0] = np.nan
    return result

  monkeypatch.setattr(inference.Evaluator, 'translate', broken)
  out = tmp_path / 'out'
  _run(code=3, **_arguments(
      exported.run.directory, out, 'ink', 'chalk', input=[str(photos)]))
  assert 'a.jpg: its translation has NaN' in capsys.readouterr().out
  assert len(_files(out)) == 3
