# RegNetY-040 (21 M parameters), a teacher. timm's checkpoints fit.
_base_ = './regnety-160_timm.py'
model = dict(model_name='regnety_040')
