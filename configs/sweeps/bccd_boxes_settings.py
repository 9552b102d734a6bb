# The weights of LumiNet and the teacher's boxes on blood cells, then BCKD on
# the RPN beside both, then shares for 'auto': two seeds that the result table
# does not use. Train configs/frcnn_teacher_bccd.py first.
luminet = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score', tau=1.0)
box = dict(
    type='luminet_mm.RoIBoxLoss', signal=['roi.cls_score', 'roi.bbox_pred']
)
rpn = dict(type='luminet_mm.BCKDLoss', signal=['rpn.objectness', 'rpn.deltas'])
losses = dict(luminet=luminet, box=box, rpn=rpn)
weights = dict(
    boxes_4=dict(box=4.0),
    boxes_8=dict(box=8.0),
    luminet_4=dict(luminet=4.0),
    luminet_1_boxes_2=dict(luminet=1.0, box=2.0),
    luminet_1_boxes_4=dict(luminet=1.0, box=4.0),
    luminet_1_boxes_8=dict(luminet=1.0, box=8.0),
    luminet_4_boxes_2=dict(luminet=4.0, box=2.0),
    luminet_4_boxes_4=dict(luminet=4.0, box=4.0),
    luminet_4_boxes_8=dict(luminet=4.0, box=8.0),
    luminet_1_boxes_4_rpn_1=dict(luminet=1.0, box=4.0, rpn=1.0),
    luminet_1_boxes_4_rpn_4=dict(luminet=1.0, box=4.0, rpn=4.0),
    auto_1_3=dict(luminet=dict(share=1), box=dict(share=3)),
    auto_03_3=dict(luminet=dict(share=0.3), box=dict(share=3)),
)
runs = dict(
    student=dict(
        config='configs/frcnn_student_bccd.py',
        seeds=[100, 101],
        options={'train_cfg.val_interval': 8},  # only the last epoch counts
    )
)
for name, weight in weights.items():
    parts = {
        f'loss_{key}': dict(losses[key], loss_weight=w)
        for key, w in weight.items()
    }
    runs[name] = dict(
        config='configs/_base_/pairs/frcnn_bccd_methods.py',
        seeds=[100, 101],
        options={
            'train_cfg.val_interval': 8,
            **{f'model.distill.{key}': loss for key, loss in parts.items()},
            **{f'custom_hooks.1.{key}.warmup': 50 for key in parts},
        },
    )
