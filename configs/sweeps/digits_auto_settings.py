# How loss_weight='auto' is set, on digits in scenes: one share for all, and
# how fast a weight follows. Eight methods of different kinds with four shares,
# then three of them with slower and with frozen weights; one seed that the
# result tables do not use; 50 steps of warm-up for all, as there.
from importlib import import_module

losses = import_module('luminet_mm.methods').compared('detector')
methods = {
    name: {f'loss_{name}': losses[name]}
    for name in ('luminet', 'kd', 'dist', 'nkd', 'fitnet', 'fgfi', 'at')
}
methods['luminet_boxes'] = dict(
    loss_luminet=losses['luminet'],
    loss_roi_box=dict(
        type='luminet_mm.RoIBoxLoss', signal=['roi.cls_score', 'roi.bbox_pred']
    ),
)
follow = dict(window=20, interval=10, momentum=0.8)
tries = {
    f'{name}_share{share:g}': (name, dict(follow, share=share))
    for name in methods
    for share in (0.3, 1, 2, 3)
}
for name in ('luminet', 'kd', 'fgfi'):
    # a mean over 200 steps, not 50
    tries[f'{name}_slow'] = (name, dict(follow, share=1, momentum=0.95))
    # measured up to step 100 and never again: a mean over the 50 steps that
    # follow the warm-up
    once = dict(share=1, window=100, interval=100000, momentum=0.98)
    tries[f'{name}_frozen'] = (name, once)
runs = dict(
    student=dict(
        config='configs/frcnn_student_digits.py',
        seeds=[100],
        options={'train_cfg.val_interval': 3},
    )
)
for key, (name, weight) in tries.items():
    runs[key] = dict(
        config='configs/_base_/pairs/frcnn_digits_methods.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 3,  # only the last epoch counts
            **{
                f'model.distill.{part}': dict(loss, loss_weight=weight)
                for part, loss in methods[name].items()
            },
            **{f'custom_hooks.1.{part}.warmup': 50 for part in methods[name]},
        },
    )
