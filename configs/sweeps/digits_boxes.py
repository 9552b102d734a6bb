# The teacher's boxes on the student's RoIs, alone and beside LumiNet, on
# digits in scenes: five seeds. Weight 2 was set by hand, and GIoU's was not
# searched.
luminet = dict(
    type='luminet_mm.LumiNetLoss',
    signal='roi.cls_score',
    tau=1.0,
    loss_weight=4.0,
)
box = dict(
    type='luminet_mm.RoIBoxLoss',
    signal=['roi.cls_score', 'roi.bbox_pred'],
    loss_weight=2.0,
)
rpn = dict(
    type='luminet_mm.BCKDLoss',
    signal=['rpn.objectness', 'rpn.deltas'],
    loss_weight=1.0,
)
methods = dict(
    boxes=dict(loss_roi_box=box),
    rpn=dict(loss_rpn=rpn),
    luminet_boxes=dict(loss_luminet=luminet, loss_roi_box=box),
    luminet_boxes_rpn=dict(
        loss_luminet=luminet, loss_roi_box=box, loss_rpn=rpn
    ),
    luminet_boxes_giou=dict(
        loss_luminet=luminet, loss_roi_box=dict(box, form='giou')
    ),
)
# weights that set themselves, both alike, and with a larger one for boxes
for share in (1, 3):
    methods[f'luminet_boxes_auto{share}'] = dict(
        loss_luminet=dict(luminet, loss_weight=dict(share=share)),
        loss_roi_box=dict(box, loss_weight=dict(share=share)),
    )
methods['luminet_boxes_auto_1_3'] = dict(
    loss_luminet=dict(luminet, loss_weight=dict(share=1)),
    loss_roi_box=dict(box, loss_weight=dict(share=3)),
)
methods['luminet_boxes_rpn_auto'] = dict(
    **methods['luminet_boxes_auto_1_3'],
    loss_rpn=dict(rpn, loss_weight=dict(share=3)),
)
# the RPN with its own weight; tools/distill.py has shares 1 and 3
for share in ('1', '3', '_1_3'):
    methods[f'luminet_boxes_auto{share}_rpn'] = dict(
        **methods[f'luminet_boxes_auto{share}'], loss_rpn=rpn
    )
last = {'train_cfg.val_interval': 3}  # only the last epoch counts
runs = {
    name: dict(
        config=f'configs/{config}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options=last,
    )
    for name, config in dict(
        student='frcnn_student', luminet='luminet_frcnn'
    ).items()
}
for name, parts in methods.items():
    runs[name] = dict(
        config='configs/_base_/pairs/frcnn_digits_methods.py',
        seeds=[0, 1, 2, 3, 4],
        options={
            **last,
            **{f'model.distill.{key}': loss for key, loss in parts.items()},
            **{f'custom_hooks.1.{key}.warmup': 50 for key in parts},
        },
    )
