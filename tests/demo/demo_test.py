"""The page: its functions without a browser, and once in a browser."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import types

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import train
from alignflow_tf.demo import page
from alignflow_tf.demo import playground
from tests.data import fakes
from tests.exported import DOMAINS
from tests.exported import SHAPE

_CHROMIUM_FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage')


@pytest.fixture(scope='module', name='play')
def _play(exported):
  return playground.Playground(exported.run.directory)


@pytest.fixture(scope='module', name='translate_encoded')
def _translate_encoded(exported):
  served = tf.saved_model.load(exported.paths['ink_to_chalk'])
  return served.signatures['translate_encoded']


def _pixels(height, width, channels, seed=0):
  return np.random.RandomState(seed).randint(
      0, 256, (height, width, channels)).astype(np.uint8)


def _encoded(pixels, kind='PNG'):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, kind)
  return stream.getvalue()


@pytest.mark.parametrize('size', [(8, 8), (1, 1), (90, 31), (500, 700)])
@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
def test_pictures_of_any_size_are_those_of_the_server(
    play, translate_encoded, size, kind):
  picture = _encoded(_pixels(*size, 3), kind)
  image = play.prepare(picture, 'ink')
  assert image.shape == SHAPE
  assert image.dtype == np.uint8
  png = translate_encoded(
      image_bytes=tf.constant([picture]))['image_bytes'][0]
  want = tf.io.decode_png(png).numpy()
  got = images_lib.to_uint8(
      play.translate(image, 'ink', 'chalk').translated).numpy()
  np.testing.assert_allclose(got.astype(int), want, atol=1)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_drawings_are_prepared_as_files_are(play, channels):
  pixels = _pixels(40, 30, channels)
  file = _encoded(pixels[..., 0] if channels == 1 else pixels)
  np.testing.assert_array_equal(
      play.prepare(pixels, 'chalk'), play.prepare(file, 'chalk'))


def test_translation_and_back(exported, play):
  image = play.prepare(_pixels(8, 8, 1), 'ink')
  result = play.translate(image, 'ink', 'chalk')
  want = exported.model.translator('ink', 'chalk').forward(result.image[None])
  np.testing.assert_allclose(result.translated, want[0], atol=1e-5)
  np.testing.assert_array_equal(
      images_lib.to_uint8(result.image).numpy(), image)
  assert np.abs(result.translated - result.image).max() > 1e-3
  assert result.error == np.abs(result.back - result.image).max()
  assert 0. < result.error < 1e-4
  assert f'{result.error:.1e}' in result.text


def test_interpolation_ends_at_the_two_pictures(play):
  first, last = _pixels(*SHAPE, seed=1), _pixels(*SHAPE, seed=2)
  source, target = play.interpolate(
      first, last, 'chalk', 'ink', np.linspace(0., 1., 5))
  assert source.shape == target.shape == (5, *SHAPE)
  for frame, image in ((0, first), (-1, last)):
    result = play.translate(image, 'chalk', 'ink')
    np.testing.assert_allclose(source[frame], result.image, atol=1e-4)
    np.testing.assert_allclose(target[frame], result.translated, atol=1e-4)
  middle, _ = play.interpolate(first, last, 'chalk', 'ink', [0.5])
  np.testing.assert_allclose(middle[0], source[2], atol=1e-5)


def test_samples_are_pairs(exported, play):
  samples = play.sample(3, 5)
  assert {d: x.shape for d, x in samples.items()} == {
      d: (5, *SHAPE) for d in DOMAINS}
  paired = exported.model.translator('ink', 'chalk').forward(samples['ink'])
  np.testing.assert_allclose(samples['chalk'], paired, atol=1e-3)
  np.testing.assert_allclose(
      play.sample(3, 2)['ink'], samples['ink'][:2], atol=1e-5)
  assert np.abs(play.sample(4, 5)['ink'] - samples['ink']).max() > 1e-2


def test_what_is_shown(play):
  image = np.linspace(-1., 2., 64, dtype=np.float32).reshape(SHAPE)
  shown = play.show(image)
  assert shown.shape == (256, 256, 3)
  assert shown.dtype == np.uint8
  assert shown.min() == 0
  assert shown.max() == 255
  frames = np.zeros((4, *SHAPE), np.float32)
  strip = play.strip(frames, frames)
  assert strip.shape[1] > strip.shape[0] > 64
  for number in (1, 8, 9, 64):
    assert play.pairs(play.sample(0, number)).ndim == 3


@pytest.mark.parametrize(('picture', 'words'), [
    (None, 'draw or upload'),
    (b'', 'empty string'),
    (b'GIF89a and more', 'PNG or JPEG, but this one is something else'),
    (_encoded(_pixels(50, 50, 3))[:400], 'cannot be decoded'),
])
def test_bad_pictures_say_what_is_wrong(play, picture, words):
  with pytest.raises(playground.PlaygroundError, match=words):
    play.prepare(picture, 'ink')


def test_bad_arguments_say_what_is_wrong(play):
  image = np.zeros(SHAPE, np.uint8)
  with pytest.raises(playground.PlaygroundError, match='from 0 to 1, got'):
    play.interpolate(image, image, 'ink', 'chalk', [1.5])
  for number in (0, 65, 1.5, 'many'):
    with pytest.raises(playground.PlaygroundError, match='`number` must be'):
      play.sample(0, number)
  for seed in (-1, 2**31, None):
    with pytest.raises(playground.PlaygroundError, match='`seed` must be'):
      play.sample(seed, 1)
  with pytest.raises(playground.PlaygroundError, match='`temperature` must'):
    play.sample(0, 1, 50.)


def test_without_the_data_the_rest_works(play):
  # The run's configuration names digits, whose domains are others.
  assert play.missing
  assert not play.held
  assert not play.is_dark('ink')


def test_pictures_of_tfds_records_are_held(tmp_path):
  fakes.write_records(tmp_path, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 20, 'test': 5})
  fakes.write_usps(tmp_path / 'usps', 20, 6)
  run = types.SimpleNamespace(
      directory=str(tmp_path), domains=('mnist', 'usps'),
      event_shape=(8, 8, 1), config=train.resolve(
          'cpu', dataset='mnist_usps', data_dir=str(tmp_path), image_size=8))
  split, held = playground._held(run)
  assert split == 'test'
  assert {d: x.shape for d, x in held.items()} == {
      'mnist': (5, 8, 8, 1), 'usps': (6, 8, 8, 1)}


def test_a_picture_of_another_ground_is_told(exported):
  play = playground.Playground(exported.run.directory)
  play.held = {d: np.zeros((2, *SHAPE), np.uint8) for d in DOMAINS}
  dark, bright = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 255, np.uint8)
  words = 'Pictures of ink have a ground of another brightness'
  assert words not in play.translate(dark, 'ink', 'chalk').text
  assert words in play.translate(bright, 'ink', 'chalk').text


def test_the_limit_of_pixels_is_the_users(exported):
  play = playground.Playground(exported.run.directory, max_pixels=100)
  with pytest.raises(playground.PlaygroundError, match='from 1 to 100 are'):
    play.prepare(_encoded(_pixels(20, 20, 3)), 'ink')
  assert play.prepare(_pixels(10, 10, 1), 'ink').shape == SHAPE


def test_a_bad_run_says_so(tmp_path):
  with pytest.raises(train.RunError, match='config.json'):
    playground.Playground(str(tmp_path))


def test_gradio_missing_says_how_to_get_it(monkeypatch):
  monkeypatch.setitem(sys.modules, 'gradio', None)
  with pytest.raises(page.PageError, match=r"'alignflow_tf\[page\]'"):
    page.load_gradio()


def test_the_page_opens_with_a_picture_there_and_back(exported):
  pytest.importorskip('gradio')
  code = f"""
from alignflow_tf.demo import page, playground
play = playground.Playground({exported.run.directory!r})
for part in page.build(play).get_config_file()['components']:
  print(part['props'].get('elem_id'), part['props'].get('value'))
"""
  # A process of its own: Gradio leaves an event loop open.
  shown = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True,
      timeout=300, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}).stdout
  for name in ('seen', 'translated', 'back'):
    assert f"\n{name} {{'path'" in shown
  assert 'figures Largest error' in shown


def _free_port():
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


@pytest.fixture(name='url')
def _url(exported, tmp_path):
  pytest.importorskip('gradio')
  port = _free_port()
  log = tmp_path / 'log'
  with open(log, 'wb') as f:
    process = subprocess.Popen(
        [sys.executable, '-m', 'alignflow_tf.demo',
         f'--run={exported.run.directory}', f'--port={port}'],
        stdout=f, stderr=subprocess.STDOUT)
  try:
    deadline = time.monotonic() + 300
    while b'(Ctrl-C' not in log.read_bytes():
      assert process.poll() is None, log.read_text()
      assert time.monotonic() < deadline, log.read_text()
      time.sleep(0.2)
    yield f'http://127.0.0.1:{port}/'
  finally:
    process.terminate()
    process.wait(30)


@pytest.fixture(name='browser', params=[(1200, 1000), (390, 844)],
                ids=['desktop', 'phone'])
def _browser(request, tmp_path):
  webdriver = pytest.importorskip('selenium.webdriver')
  from selenium.webdriver.chrome import service
  binary = shutil.which('chromium') or shutil.which('google-chrome')
  driver = shutil.which('chromedriver')
  if not binary or not driver:
    pytest.skip('needs chromium and chromedriver: apt-get install chromium '
                'chromium-driver')
  width, height = request.param
  options = webdriver.ChromeOptions()
  options.binary_location = binary
  for flag in (*_CHROMIUM_FLAGS, f'--user-data-dir={tmp_path / "profile"}',
               f'--window-size={width},{height}'):
    options.add_argument(flag)
  if width < 500:
    options.add_experimental_option('mobileEmulation', {
        'deviceMetrics': {'width': width, 'height': height, 'pixelRatio': 1,
                          'touch': False}})
  options.set_capability(
      'goog:loggingPrefs', {'performance': 'ALL', 'browser': 'ALL'})
  browser = webdriver.Chrome(options=options, service=service.Service(driver))
  try:
    yield browser
  finally:
    browser.quit()


@pytest.mark.slow
def test_page_in_a_browser(url, browser, tmp_path):
  from selenium.webdriver import ActionChains
  from selenium.webdriver.common.by import By
  from selenium.webdriver.support import ui

  def find(css):
    return browser.find_element(By.CSS_SELECTOR, css)

  def wait(condition):
    return ui.WebDriverWait(browser, 120).until(lambda _: condition())

  def has(css):
    return bool(browser.find_elements(By.CSS_SELECTOR, css))

  def picture(css):
    wait(lambda: has(f'{css} img'))
    return find(f'{css} img').get_attribute('src')

  def open_tab(name):
    for tab in browser.find_elements(By.CSS_SELECTOR, 'button[role=tab]'):
      if tab.text.strip() == name and tab.is_displayed():
        tab.click()
        return
    raise AssertionError(name)

  def upload(css, seed):
    file = tmp_path / f'{seed}.png'
    file.write_bytes(_encoded(_pixels(37, 50, 3, seed)))
    wait(lambda: has(f'{css} input[type=file]'))
    find(f'{css} input[type=file]').send_keys(str(file))

  browser.get(url)
  opened = picture('#translated')
  assert 'Largest error' in find('#figures').text
  wait(lambda: has('#sketch canvas'))
  time.sleep(2.)  # The canvas is there before it listens.
  canvas = find('#sketch canvas')
  browser.execute_script(
      'arguments[0].scrollIntoView({block: "center"})', canvas)
  line = ActionChains(browser).move_to_element_with_offset(
      canvas, -50, -50).click_and_hold()
  for _ in range(4):
    line.move_by_offset(20, 25)
  line.release().perform()
  wait(lambda: picture('#translated') != opened)
  drawn = picture('#translated')
  assert has('#back img')

  open_tab('Upload')
  upload('#upload', 0)
  wait(lambda: picture('#translated') != drawn)
  there = picture('#translated')
  browser.find_elements(By.CSS_SELECTOR, 'input[type=radio]')[1].click()
  wait(lambda: picture('#translated') != there)

  damaged = tmp_path / 'damaged.png'
  damaged.write_bytes(_encoded(_pixels(9, 9, 3))[:60])
  find('#upload button[aria-label="Remove Image"]').click()
  wait(lambda: has('#upload input[type=file]'))
  find('#upload input[type=file]').send_keys(str(damaged))
  # It fades in.
  wait(lambda: has('[data-testid=toast-body]') and 'cannot be decoded' in find(
      '[data-testid=toast-body]').text)
  # On a phone it lies over the tabs.
  find('[data-testid=toast-close]').click()
  wait(lambda: not has('[data-testid=toast-body]'))

  open_tab('Interpolate')
  upload('#end0', 1)
  picture('#end0')
  upload('#end1', 2)
  picture('#strip')
  middle = picture('#target_frame')
  slider = find('#fraction input[type=number]')
  slider.clear()
  slider.send_keys('0.9\n')
  wait(lambda: picture('#target_frame') != middle)

  open_tab('Sample')
  sheet = picture('#samples')
  seed = find('#seed input')
  seed.clear()
  seed.send_keys('7\n')
  find('#draw').click()
  wait(lambda: picture('#samples') != sheet)

  wide, room = browser.execute_script(
      'return [document.documentElement.scrollWidth, innerWidth]')
  assert wide <= room
  asked = [
      json.loads(entry['message'])['message']
      for entry in browser.get_log('performance')]
  urls = [m['params']['request']['url'] for m in asked
          if m['method'] == 'Network.requestWillBeSent']
  # Chromium's own first page aside.
  local = (url, 'data:', f'blob:{url}', 'chrome:', 'chrome-untrusted:')
  assert [u for u in urls if not u.startswith(local)] == []
  assert [e for e in browser.get_log('browser') if e['level'] == 'SEVERE'] == []


def test_program_says_what_is_wrong(tmp_path):
  pytest.importorskip('gradio')
  result = subprocess.run(
      [sys.executable, '-m', 'alignflow_tf.demo', f'--run={tmp_path}'],
      capture_output=True, text=True, timeout=120, check=False,
      env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})
  assert result.returncode == 1
  assert 'alignflow_tf.demo: `run` must be a directory' in result.stderr
  assert 'Traceback' not in result.stderr
