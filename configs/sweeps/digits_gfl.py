# The result table of the digits' GFL student: five seeds of the student alone
# and of each method, with the settings in its config, and of two other forms
# of LumiNet. Only the last epoch counts.
last = {'train_cfg.val_interval': 6}
loss = 'model.distill.loss_luminet'
forms = dict(
    top_k={
        f'{loss}.rows': 'top_k',
        f'{loss}.stats_rows': 'top_k',
        f'{loss}.top_k': 50,
        f'{loss}.loss_weight': 0.6,
    },
    softmax={f'{loss}.form': 'softmax', f'{loss}.loss_weight': 1},
)
names = (
    'gfl_student',
    'binary_kd_gfl',
    'bckd_gfl',
    'crosskd_gfl',
    'ld_gfl',
    'luminet_gfl',
    'fgfi_gfl',
    'pkd_gfl',
)
runs = {
    name: dict(
        config=f'configs/one_stage/{name}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options=last,
    )
    for name in names
}
for form, options in forms.items():
    runs[f'luminet_gfl_{form}'] = dict(
        config='configs/one_stage/luminet_gfl_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options={**last, **options},
    )
