"""Sheets: the layout of pictures of a model."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import inference
from alignflow_tf import model as model_lib
from alignflow_tf import sheets

tfb = tfp.bijectors

SHAPE = (4, 4, 1)


def _model():
  return model_lib.AlignFlow(
      ('a', 'b'), SHAPE, adapter={'a': tfb.Identity(), 'b': tfb.Shift(0.25)})


def _images(num=7):
  return np.random.RandomState(0).rand(num, *SHAPE).astype(np.float32)


def test_grid_layout():
  grey = np.stack([np.full([2, 3, 1], v) for v in (0., 0.5, 2.)])
  colour = np.zeros([1, 2, 3, 3], np.uint8)
  colour[..., 0] = 7
  sheet = sheets.grid([grey, colour], gap=1)
  assert sheet.dtype == np.uint8
  # Two rows of 2 pixels and three columns of 3, a gap around each.
  assert sheet.shape == (2 * 3 + 1, 3 * 4 + 1, 3)
  np.testing.assert_array_equal(sheet[1:3, 1:4], np.zeros([2, 3, 3]))
  np.testing.assert_array_equal(sheet[1:3, 5:8], np.full([2, 3, 3], 128))
  np.testing.assert_array_equal(sheet[1:3, 9:12], np.full([2, 3, 3], 255))
  np.testing.assert_array_equal(
      sheet[4:6, 1:4], np.broadcast_to([7, 0, 0], [2, 3, 3]))
  white = np.ones(sheet.shape[:2], bool)
  for top, left in ((1, 1), (1, 5), (1, 9), (4, 1)):
    white[top:top + 2, left:left + 3] = False
  assert np.all(sheet[white] == 255)


def test_grid_scale_repeats_pixels():
  row = np.random.RandomState(0).uniform(size=(2, 3, 3, 1))
  small, large = sheets.grid([row]), sheets.grid([row], scale=3)
  np.testing.assert_array_equal(large[1::3, 1::3], small)
  assert large.shape == (3 * small.shape[0], 3 * small.shape[1], 3)


def test_sheets(tmp_path):
  evaluator = inference.Evaluator(_model())
  images = _images(6)
  paths = sheets.write_all(str(tmp_path), evaluator, {
      'a': images, 'b': images})
  assert sorted(p.split('/')[-1] for p in paths) == [
      'a_to_b.png', 'b_to_a.png', 'interpolation_a.gif', 'interpolation_a.png',
      'interpolation_b.gif', 'interpolation_b.png', 'samples.png',
      'worst_a_to_b.png', 'worst_b_to_a.png']
  sheet = tf.io.decode_png(tf.io.read_file(str(tmp_path / 'a_to_b.png')))
  zoom = 64 // 4
  assert sheet.shape == ((3 * 6 + 2) * zoom, (6 * 6 + 2) * zoom, 3)
  pixels = sheet.numpy()[::zoom, ::zoom, 0]
  first = np.floor(images[0, ..., 0] * 256).astype(np.uint8)
  np.testing.assert_array_equal(pixels[2:6, 2:6], first)
  # The third row is the way back.
  np.testing.assert_allclose(pixels[14:18, 2:6], first, atol=1)


def test_the_ends_of_an_interpolation_are_the_images():
  images = _images(2)
  sheet = sheets.interpolation(
      inference.Evaluator(_model()), images[:1], images[1:], 'b')
  pixels = sheet[::16, ::16, 0].astype(int)
  for image, left in ((images[0], 2), (images[1], 2 + 10 * 6)):
    want = np.floor(image[..., 0] * 256).astype(int)
    assert np.abs(pixels[2:6, left:left + 4] - want).max() <= 1
