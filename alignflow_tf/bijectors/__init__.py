"""TFP bijectors on images, NHWC, from latent (forward) to image (inverse)."""

from alignflow_tf._graph import clear_cache
from alignflow_tf.bijectors import transforms
from alignflow_tf.bijectors.act_norm import ActNorm
from alignflow_tf.bijectors.act_norm import initialize_from_data
from alignflow_tf.bijectors.coupling import Coupling
from alignflow_tf.bijectors.factor_out import FactorOut
from alignflow_tf.bijectors.framing import Framing
from alignflow_tf.bijectors.image_bijector import ImageBijector
from alignflow_tf.bijectors.image_chain import ImageChain
from alignflow_tf.bijectors.image_preprocess import ImagePreprocess
from alignflow_tf.bijectors.invertible_conv import InvertibleConv1x1
from alignflow_tf.bijectors.masks import ChannelMask
from alignflow_tf.bijectors.masks import CheckerboardMask
from alignflow_tf.bijectors.masks import Mask
from alignflow_tf.bijectors.reorder import Reorder
from alignflow_tf.bijectors.squeeze import channel_permutation
from alignflow_tf.bijectors.squeeze import Squeeze

__all__ = [
    'ActNorm',
    'ChannelMask',
    'CheckerboardMask',
    'Coupling',
    'FactorOut',
    'Framing',
    'ImageBijector',
    'ImageChain',
    'ImagePreprocess',
    'InvertibleConv1x1',
    'Mask',
    'Reorder',
    'Squeeze',
    'channel_permutation',
    'clear_cache',
    'initialize_from_data',
    'transforms',
]
