"""MasKD, first stage: masks of Faster R-CNN R101's pyramid, on COCO.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (39.8 AP, MMDetection's zoo).
Run      tools/dist_train.sh configs/maskd/masks_frcnn_r101_coco.py 8
Paper    no number of its own: maskd_frcnn_r101_r50_coco.py takes the masks.
         Not run here yet.
Derived  nothing: 6 masks for each level, 2000 iterations of Adam.
"""

_base_ = 'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    _delete_=True,
    type='luminet_mm.MaskLearner',
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
            'faster_rcnn_r101_fpn_2x_coco/faster_rcnn_r101_fpn_2x_coco_'
            'bbox_mAP-0.398_20200504_210455-1d2dac9c.pth'
        ),
    ),
    num_tokens=6,
)
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=2000, val_interval=2000
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=0.01, weight_decay=0.001)
)
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=2000, eta_min=1e-6)
]
auto_scale_lr = dict(enable=False)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2000))
log_processor = dict(by_epoch=False)
