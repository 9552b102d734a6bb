"""KD on handwritten digits, on the logits of a classifier.

Needs    the teacher: python tools/train.py
         configs/handwritten/resnet_teacher_handwritten.py
Run      python tools/train.py
         configs/handwritten/kd_resnet_handwritten.py
Derived  tau and loss_weight; for this data nobody published any.
"""

_base_ = '../_base_/pairs/resnet_handwritten.py'
model = dict(
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau=4.0,
            loss_weight=1.0,
        )
    )
)
