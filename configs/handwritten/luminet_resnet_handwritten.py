"""LumiNet on handwritten digits, on the logits of a classifier.

Needs    the teacher: python tools/train.py
         configs/handwritten/resnet_teacher_handwritten.py
Run      python tools/train.py
         configs/handwritten/luminet_resnet_handwritten.py
Derived  tau and loss_weight; for this data nobody published any.
"""

_base_ = '../_base_/pairs/resnet_handwritten.py'
model = dict(
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=2.0,
            loss_weight=8.0,
        )
    )
)
