# A mistake, for configs/sweeps/digits_roi_faults.py: the digits' teacher sees
# pixels from 0 to 255, and was trained on some of mean 0 and std 1.
_base_ = '../../frcnn_teacher_digits.py'
model = dict(data_preprocessor=dict(mean=None, std=None))
