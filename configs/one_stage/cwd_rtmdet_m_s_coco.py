"""CWD: RTMDet-m teaches RTMDet-s on COCO, on the pyramid.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (49.1 AP, MMDetection's zoo) and
         RTMDet's CSPNeXt-s.
Run      tools/dist_train.sh configs/one_stage/cwd_rtmdet_m_s_coco.py 8
Paper    AP 45.7 (MMYOLO's RTMDet); student alone 44.6. Not run here yet.
Derived  nothing: MMYOLO's recipe (8c4d9dc), on MMDetection's RTMDet.
"""

_base_ = '../_base_/pairs/rtmdet_m_s.py'
model = dict(
    distill=dict(
        loss_cwd=dict(
            type='luminet_mm.CWDLoss',
            signal='neck',
            standardize=True,
            connector='linear',
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        # mosaics end there, and the teacher was trained on them
        loss_cwd=dict(stop=281, unit='epoch'),
    ),
]
