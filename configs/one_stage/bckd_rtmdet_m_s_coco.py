"""BCKD: RTMDet-m teaches RTMDet-s on COCO, on classes and boxes.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (49.1 AP, MMDetection's zoo) and
         RTMDet's CSPNeXt-s.
Run      tools/dist_train.sh configs/one_stage/bckd_rtmdet_m_s_coco.py 8
Paper    none has this pair. Not run here yet.
Derived  the combination; settings as for GFL. Off in the last 20 epochs, as in
         MMYOLO's recipe: the teacher was trained on mosaics, and these end.
"""

_base_ = '../_base_/pairs/rtmdet_m_s.py'
model = dict(
    distill=dict(
        loss_bckd=dict(
            type='luminet_mm.BCKDLoss',
            signal=['cls_score', 'bbox_pred'],
            box_weight=4.0,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_bckd=dict(stop=281, unit='epoch'),
    ),
]
