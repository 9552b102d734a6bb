"""DML: ResNet-20 and ResNet-56 teach each other on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md); no checkpoint.
Run      python tools/train.py \
         configs/cifar100/dml_resnet56_resnet20_cifar100.py
Paper    69.52 (LumiNet, Table 1); student alone 69.06. Not run here yet.
Derived  nothing: both networks have the recipe of the other methods. The
         paper of DML trains for 200 epochs, with Nesterov momentum.
"""

_base_ = 'resnet20_cifar100.py'
model = dict(
    type='luminet_mm.MutualClassifier',
    peers=['configs/cifar100/resnet56_cifar100.py'],
    distill=dict(
        loss_dml=dict(type='luminet_mm.KDLoss', signal='logits', tau=1.0)
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
