"""KD with DOT: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/dot_resnet34_resnet18_in1k.py 8
Paper    71.72 (DOT); KD alone 71.03, student alone 69.75. Not run here yet.
Derived  nothing: the settings are those of DOT's authors.
"""

_base_ = './kd_resnet34_resnet18_in1k.py'
optim_wrapper = dict(type='luminet_mm.DOTOptimWrapper', delta=0.09)
