"""TFP bijectors on images, NHWC, from latent (forward) to image (inverse)."""

from alignflow_tf.bijectors.act_norm import ActNorm
from alignflow_tf.bijectors.act_norm import initialize_act_norms
from alignflow_tf.bijectors.affine_coupling import AffineCoupling
from alignflow_tf.bijectors.cache import clear_cache
from alignflow_tf.bijectors.factor_out import FactorOut
from alignflow_tf.bijectors.framing import Framing
from alignflow_tf.bijectors.image_preprocess import ImagePreprocess
from alignflow_tf.bijectors.invertible_conv import InvertibleConv1x1
from alignflow_tf.bijectors.log_det_bijector import LogDetBijector
from alignflow_tf.bijectors.log_det_chain import LogDetChain
from alignflow_tf.bijectors.log_det_chain import MEMORY
from alignflow_tf.bijectors.masks import ChannelMask
from alignflow_tf.bijectors.masks import CheckerboardMask
from alignflow_tf.bijectors.masks import Mask
from alignflow_tf.bijectors.reorder import Reorder
from alignflow_tf.bijectors.squeeze import channel_permutation
from alignflow_tf.bijectors.squeeze import Squeeze
from alignflow_tf.bijectors.weights import weights_fixed
from alignflow_tf.bijectors.weights import weights_once

__all__ = [
    'ActNorm',
    'AffineCoupling',
    'ChannelMask',
    'CheckerboardMask',
    'FactorOut',
    'Framing',
    'ImagePreprocess',
    'InvertibleConv1x1',
    'LogDetBijector',
    'LogDetChain',
    'MEMORY',
    'Mask',
    'Reorder',
    'Squeeze',
    'channel_permutation',
    'clear_cache',
    'initialize_act_norms',
    'weights_fixed',
    'weights_once',
]
