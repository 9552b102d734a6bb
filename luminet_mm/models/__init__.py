"""What the zoos lack: the papers' networks on CIFAR, MobileNetV1, a probe."""

from luminet_mm.models.base import CIFARBackbone
from luminet_mm.models.linear_probe import LinearProbe
from luminet_mm.models.mobilenet_v1 import MobileNetV1
from luminet_mm.models.mobilenet_v2 import CIFARMobileNetV2
from luminet_mm.models.resnet import CIFARResNet
from luminet_mm.models.shufflenet_v1 import CIFARShuffleNetV1
from luminet_mm.models.shufflenet_v2 import CIFARShuffleNetV2
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
    'LinearProbe',
    'MobileNetV1',
]
