# The share of loss_weight='auto' on digits in scenes: one number for all.
# Eight methods of different kinds, three shares each, one seed that the result
# tables do not use; 50 steps of warm-up for all, as there.
from importlib import import_module

losses = import_module('luminet_mm.methods').compared('detector')
methods = {
    name: dict({f'loss_{name}': losses[name]})
    for name in ('luminet', 'kd', 'dist', 'nkd', 'fitnet', 'fgfi', 'at')
}
box = dict(
    type='luminet_mm.RoIBoxLoss', signal=['roi.cls_score', 'roi.bbox_pred']
)
methods['luminet_boxes'] = dict(
    loss_luminet=losses['luminet'], loss_roi_box=box
)
runs = {
    f'{name}_share{share:g}': dict(
        config='configs/_base_/pairs/frcnn_digits_methods.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 3,  # only the last epoch counts
            **{
                f'model.distill.{key}': dict(
                    loss, loss_weight=dict(share=share)
                )
                for key, loss in parts.items()
            },
            **{f'custom_hooks.1.{key}.warmup': 50 for key in parts},
        },
    )
    for name, parts in methods.items()
    for share in (0.3, 1, 3)
}
