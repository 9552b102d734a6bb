# The result table on digits in scenes: 5 seeds of each method.
# Settings are the best of digits_settings.py, where each method had the same
# four tries.
seeds = [0, 1, 2, 3, 4]
runs = dict(
    student=dict(config='configs/frcnn_student_digits.py', seeds=seeds),
)
