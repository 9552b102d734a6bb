"""DML: ResNet-18 and ResNet-34 teach each other on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md); no checkpoint.
Run      tools/dist_train.sh configs/imagenet/dml_resnet34_resnet18_in1k.py 8
Paper    70.82, top-5 90.02 (LumiNet, Table 2); student alone 69.75. Not run
         here yet.
Derived  nothing: both networks have the recipe of the other methods.
"""

_base_ = 'resnet18_in1k.py'
model = dict(
    type='luminet_mm.MutualClassifier',
    peers=['mmpretrain::resnet/resnet34_8xb32_in1k.py'],
    distill=dict(
        loss_dml=dict(type='luminet_mm.KDLoss', signal='logits', tau=1.0)
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
