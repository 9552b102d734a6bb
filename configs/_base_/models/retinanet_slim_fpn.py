# RetinaNet for 160x160 images: the backbone of the slim Faster R-CNN, pyramid
# levels of stride 8 to 64, two convolutions in each branch of the head.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'
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
    bbox_head=dict(
        num_classes=10,
        in_channels=32,
        feat_channels=32,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        # boxes of 16 to 128 pixels, mostly upright
        anchor_generator=dict(
            octave_base_scale=3,
            scales_per_octave=2,
            ratios=[1.0, 2.0],
            strides=[8, 16, 32, 64],
        ),
    ),
    test_cfg=dict(nms_pre=300, max_per_img=50),
)
