# A mistake, for configs/sweeps/digits_roi_faults.py: the digits' teacher sees
# blue where it learned to see red, with the mean and std of red.
_base_ = '../../frcnn_teacher_digits.py'
model = dict(data_preprocessor=dict(bgr_to_rgb=False))
