"""Networks from the papers that the zoos lack, and parts of some methods."""

from luminet_mm.models.backbone_model import BackboneModel
from luminet_mm.models.backbones.cifar_base import CIFARBackbone
from luminet_mm.models.backbones.cifar_mobilenet_v2 import CIFARMobileNetV2
from luminet_mm.models.backbones.cifar_resnet import CIFARResNet
from luminet_mm.models.backbones.cifar_shufflenet_v1 import CIFARShuffleNetV1
from luminet_mm.models.backbones.cifar_shufflenet_v2 import CIFARShuffleNetV2
from luminet_mm.models.backbones.cifar_vgg import CIFARVGG
from luminet_mm.models.backbones.cifar_wide_resnet import CIFARWideResNet
from luminet_mm.models.backbones.conv_stem_vit import CivT, ConvStemViT
from luminet_mm.models.backbones.deit3 import DeiT3
from luminet_mm.models.backbones.mobilenet_v1 import MobileNetV1
from luminet_mm.models.backbones.rednet import RedNet
from luminet_mm.models.heads.deit import DeiTDistillHead
from luminet_mm.models.heads.normalized import NormalizedClsHead
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.models.linear_probe import LinearProbe
from luminet_mm.models.multi_view import MultiViewClsDataPreprocessor
from luminet_mm.models.necks.norm import NORMNeck
from luminet_mm.models.necks.simkd import SimKDNeck

__all__ = [
    'BackboneModel',
    'CIFARVGG',
    'CIFARBackbone',
    'CIFARMobileNetV2',
    'CIFARResNet',
    'CIFARShuffleNetV1',
    'CIFARShuffleNetV2',
    'CIFARWideResNet',
    'CivT',
    'ConvStemViT',
    'DeiT3',
    'DeiTDistillHead',
    'LinearProbe',
    'MobileNetV1',
    'MultiViewClsDataPreprocessor',
    'NORMNeck',
    'NormalizedClsHead',
    'RedNet',
    'ReusedClsHead',
    'SimKDNeck',
]
