# Faster R-CNN, ResNet-50 and FPN, as a student.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
# Batch norm is frozen, weight and bias too, as in Detectron2's recipe.
model = dict(backbone=dict(norm_cfg=dict(requires_grad=False)))
