"""Packaging of alignflow_tf. BUILD.md gives the reason for every pin."""

from __future__ import annotations

import pathlib

import setuptools

_VERSION = '0.1.0'
_TENSORFLOW = '>=2.21,<2.22'

_REQUIRED = [
    'absl-py>=2.1,<3',
    'importlib_resources>=6.0',
    'keras>=3.12,<4',
    'numpy>=1.26,<2.4',
    'pillow>=11.3',
    'scipy>=1.11,<2',
    'setuptools>=68,<85; python_version >= "3.12"',
    f'tensorboard{_TENSORFLOW}',
    f'tensorflow{_TENSORFLOW}',
    'tensorflow-datasets>=4.9.10,<4.10',
    'tensorflow-probability[tf]==0.25.*',
    f'tf-keras{_TENSORFLOW}',
]
_GPU = [f'tensorflow[and-cuda]{_TENSORFLOW}']
_DEMO = [
    'matplotlib>=3.8,<4',
    'mlxtend>=0.23,<0.26',
    'scikit-learn>=1.4,<2',
]
_ONNX = [
    'onnxruntime>=1.20,<2',
    'tf2onnx>=1.17,<2',
]
_DOCS = [
    'mkdocs-material>=9.6,<10',
    'mkdocstrings[python]>=0.29,<2',
]
_HEIF = ['pillow-heif>=1.0,<2']
_PAGE = ['gradio>=6.31,<7']
_STABLEHLO = ['jax>=0.10,<0.12']
_TEST = [
    *_DEMO,
    *_ONNX,
    *_STABLEHLO,
    'dill>=0.3.8',
    'grpcio>=1.60',
    'hypothesis>=6.100,<7',
    'pytest>=8.3,<10',
    'pytest-randomly>=3.16,<6',
    'pytest-xdist>=3.8,<4',
    f'tensorflow-serving-api{_TENSORFLOW}',
]
_DEV = [
    *_TEST,
    'build>=1.2',
    'mypy>=1.15,<3',
    'ruff>=0.12,<0.18',
]


def _long_description() -> str:
  """Returns the text of the README, or nothing where there is none."""
  readme = pathlib.Path(__file__).parent / 'README.md'
  return readme.read_text(encoding='utf-8') if readme.exists() else ''


setuptools.setup(
    name='alignflow_tf',
    version=_VERSION,
    description=(
        'AlignFlow in TensorFlow: cycle-consistent translation between image'
        ' domains by normalizing flows'
    ),
    long_description=_long_description(),
    long_description_content_type='text/markdown',
    author='The alignflow_tf authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=(
        'normalizing flows, image translation, domain adaptation, TensorFlow,'
        ' TensorFlow Probability, AlignFlow, Real NVP'
    ),
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Typing :: Typed',
    ],
    packages=setuptools.find_packages(
        include=['alignflow_tf', 'alignflow_tf.*']
    ),
    # The marker of a typed package, and what TFDS reads beside a builder.
    package_data={
        '': ['py.typed', '*.txt', '*.tsv', '*.bib', '*.json', '*.md'],
        'alignflow_tf.pretrained': ['*/*.json', '*/*.npz', '*/checkpoints/*'],
    },
    include_package_data=False,
    python_requires='>=3.10,<3.14',
    install_requires=_REQUIRED,
    extras_require={
        'gpu': _GPU,
        'demo': _DEMO,
        'docs': _DOCS,
        'heif': _HEIF,
        'onnx': _ONNX,
        'page': _PAGE,
        'stablehlo': _STABLEHLO,
        'test': _TEST,
        'dev': _DEV,
    },
    zip_safe=False,
)
