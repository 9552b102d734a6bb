# CivT-Ti: two stems, two distillation tokens (7.63 M parameters with the three
# classifiers).
_base_ = './deit-tiny-conv.py'
model = dict(
    backbone=dict(type='luminet_mm.CivT'), head=dict(num_dist_tokens=2)
)
