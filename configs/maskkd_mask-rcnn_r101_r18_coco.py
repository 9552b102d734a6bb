"""Mask KD: Mask R-CNN R101 teaches R18 on COCO, on the logits of masks.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (42.7 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/maskkd_mask-rcnn_r101_r18_coco.py 8
Paper    none distils mask logits alone. Not run here yet.
Derived  everything. Add the loss of
         configs/luminet_mask-rcnn_r101_r18_coco.py to distil boxes as well.
"""

_base_ = '_base_/pairs/mask-rcnn_r101_r18.py'
model = dict(
    distill=dict(
        loss_mask_kd=dict(
            type='luminet_mm.MaskKDLoss', signal='roi.mask', loss_weight=1.0
        )
    )
)
