# Faster R-CNN, MobileNetV2 and FPN, as a student.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        # strides 4, 8, 16, 32, the last before the 1280-channel convolution
        out_indices=(1, 2, 4, 6),
        # batch norm frozen, nothing else, as in mdistiller's recipe
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2'
        ),
    ),
    neck=dict(in_channels=[24, 32, 96, 320]),
)
# That convolution stays in the backbone and never gets a gradient: DDP
# learns this in the first step and does not search again.
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel',
    broadcast_buffers=False,
    static_graph=True,
)
