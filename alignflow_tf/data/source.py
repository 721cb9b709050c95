"""`Source`: the seam by which data sets are added; see docs/data.md."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any, Protocol

from alignflow_tf.data import decoding
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """The facts about a data set that `--list_datasets` prints.

  Attributes:
    name: The name that `--dataset` takes.
    domains: Names of the domains, in order; empty where the user names them.
    image_size: Default height and width in pixels.
    channels: Default number of channels; None for that of the pictures.
    sizes: Published numbers of images, in words.
    source: Where the data come from.
    licence: Terms of the data.
    kind: 'embedded', 'digits', 'paired', 'unpaired', 'folders', or a word for
      a source of your own.
    pictures: Whether the images may be cropped, padded and mirrored, as those
      of digits may not.
    paired: Whether images of equal keys show the same thing.
  """

  name: str
  domains: tuple[str, ...]
  image_size: int
  channels: int | None
  sizes: str
  source: str
  licence: str
  kind: str
  pictures: bool = False
  paired: bool = False


@dataclasses.dataclass(frozen=True)
class Reading:
  """How a source is to be read: the arguments of `data.load`, checked.

  Attributes:
    size: (height, width) of the stored images. `load` crops them where the
      images of the set are smaller.
    channels: 1 or 3; None for that of the pictures, only where the source has
      no default.
    data_dir: Folder with the data or None for the default of TFDS.
    download: Whether missing data may be downloaded.
    domain_dirs: For each domain that the user names, its folder or `tfds:` set.
    cache: 'memory', 'file' or 'none'.
    cache_dir: Folder of cache files or None.
    skip_unreadable: Whether bad pictures are left out.
    max_pixels: Largest accepted width * height of a picture.
    fit: A name of `recipe.FITS`, or None for the source's own.
    label_by_folder: Whether the first sub-folder is the class, or the name of
      the domain whose sub-folders are.
    batch_size: Number of a domain's images in a batch. A source refuses fewer
      training images before it decodes any.
  """

  size: tuple[int, int]
  channels: int | None = None
  data_dir: str | None = None
  download: bool = True
  domain_dirs: Mapping[str, str] | None = None
  cache: str = 'memory'
  cache_dir: str | None = None
  skip_unreadable: bool = False
  max_pixels: int = decoding.MAX_PIXELS
  fit: str | None = None
  label_by_folder: bool | str = False
  batch_size: int = 1

  def recipe(self, channels: int, fit: str = 'crop') -> Recipe:
    """The recipe for pictures; `fit` where the user gave none."""
    return Recipe(self.size, channels, self.fit or fit)


@dataclasses.dataclass
class Opened:
  """The domains of a source that was opened.

  Attributes:
    domains: Two or more domains of images [*reading.size, channels].
    channels: 1 or 3.
    num_classes: Number of classes, or None where no domain has labels.
    facts: JSON-able facts about the set as a whole, for `describe`.
  """

  domains: list[Domain]
  channels: int
  num_classes: int | None = None
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)


class Source(Protocol):
  """A data set that is found by its name.

  For example, two domains of noise:

  ```python
  class Noise:
    info = data.DatasetInfo(
        'noise', ('dark', 'light'), image_size=8, channels=1,
        sizes='100 each', source='made here', licence='CC0', kind='mine')

    def open(self, reading: data.Reading) -> data.Opened:
      def domain(name, low):
        images = np.random.RandomState(low).randint(
            low, low + 100, (100, *reading.size, reading.channels))
        store = data.ArrayStore(
            images.astype(np.uint8), None, [str(i) for i in range(100)])
        return data.Domain(
            name, dict.fromkeys(('train', 'validation', 'test'), 100),
            lambda split: store, labelled=False, grey_copied=False, info={})
      return data.Opened(
          [domain('dark', 0), domain('light', 100)], reading.channels)

  data.SOURCES['noise'] = Noise()
  data.load('noise')
  ```
  """

  @property
  def info(self) -> DatasetInfo:
    """The facts about the set."""

  def open(self, reading: Reading) -> Opened:
    """Opens the domains.

    Args:
      reading: How the images are to be read.

    Returns:
      The domains. A split may be read when it is first used.

    Raises:
      DataError: If the data cannot be had, or the arguments do not fit.
    """
