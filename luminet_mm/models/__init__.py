"""What the zoos lack: networks of the papers, and parts of some methods."""

from luminet_mm.models.base import CIFARBackbone
from luminet_mm.models.conv_stem_vit import CivT, ConvStemViT
from luminet_mm.models.deit3 import DeiT3
from luminet_mm.models.deit_head import DeiTDistillHead
from luminet_mm.models.linear_probe import LinearProbe
from luminet_mm.models.mobilenet_v1 import MobileNetV1
from luminet_mm.models.mobilenet_v2 import CIFARMobileNetV2
from luminet_mm.models.multi_view import MultiViewClsDataPreprocessor
from luminet_mm.models.norm import NormalizedClsHead, NORMNeck
from luminet_mm.models.rednet import RedNet
from luminet_mm.models.resnet import CIFARResNet
from luminet_mm.models.shufflenet_v1 import CIFARShuffleNetV1
from luminet_mm.models.shufflenet_v2 import CIFARShuffleNetV2
from luminet_mm.models.simkd import ReusedClsHead, SimKDNeck
from luminet_mm.models.vgg import CIFARVGG
from luminet_mm.models.wide_resnet import CIFARWideResNet

__all__ = [
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
