# Faster R-CNN with FPN for 160x160 images: a step takes a fraction of a second
# on one core. The backbone starts from weights that classify crops of digits,
# as a COCO student's starts from ImageNet's.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        # pretrained on few images: all of it keeps training
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone.',
            checkpoint='weights/digits_student_backbone.pth',
        ),
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32, num_outs=4),
    rpn_head=dict(
        in_channels=32,
        feat_channels=32,
        # boxes of 16 to 128 pixels, mostly upright
        anchor_generator=dict(
            scales=[4], ratios=[1.0, 2.0], strides=[4, 8, 16, 32]
        ),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=32, finest_scale=24, roi_layer=dict(sampling_ratio=1)
        ),
        bbox_head=dict(
            in_channels=32,
            fc_out_channels=128,
            num_classes=10,
            reg_class_agnostic=True,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=300, max_per_img=150),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=50)
    ),
)
