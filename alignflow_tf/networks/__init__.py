"""Keras 3 networks."""

from alignflow_tf.networks.classifiers import dtn
from alignflow_tf.networks.classifiers import lenet
from alignflow_tf.networks.classifiers import strided_classifier
from alignflow_tf.networks.conditioner import ConditionerResNet
from alignflow_tf.networks.conditioner import conditioners
from alignflow_tf.networks.conditioner import fold_weight_norm
from alignflow_tf.networks.conditioner import normalize_once
from alignflow_tf.networks.critic import patch_critic
from alignflow_tf.networks.regressor import regressor
from alignflow_tf.networks.resnet_generator import resnet_generator
from alignflow_tf.networks.resnet_generator import ResNetLayers
from alignflow_tf.networks.tracked import for_any_batch
from alignflow_tf.networks.tracked import Tracked
from alignflow_tf.networks.unet import velocity_unet

__all__ = [
    'ConditionerResNet', 'ResNetLayers', 'Tracked', 'conditioners', 'dtn',
    'fold_weight_norm', 'for_any_batch', 'lenet', 'normalize_once',
    'patch_critic', 'regressor', 'resnet_generator', 'strided_classifier',
    'velocity_unet'
]
