# 90,000 iterations of 16 images: the published recipe (8 images, lr 0.01,
# 180,000 iterations) at twice the batch.
_base_ = 'mmdet::_base_/default_runtime.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
train_cfg = dict(
    type='IterBasedTrainLoop',
    max_iters=90000,
    val_interval=10000,
    # A resumed run draws a new order of the images: loading and
    # dropping those already seen would take up to an hour.
    fast_forward_on_resume=True,
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        end=90000,
        milestones=[60000, 80000],
        gamma=0.1,
    ),
]
# 8 GPUs x 2 images; --auto-scale-lr adapts lr to another product
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=10000,
        max_keep_ckpts=2,
        save_best='coco/bbox_mAP',
    )
)
log_processor = dict(by_epoch=False)
