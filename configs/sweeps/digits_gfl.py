# The result table of the digits' GFL student: five seeds of the student alone
# and of each method, with the settings in its config, and of two other forms
# of LumiNet. Only the last epoch counts.
names = 'gfl_student binary_kd_gfl bckd_gfl crosskd_gfl ld_gfl luminet_gfl '
names += 'fgfi_gfl pkd_gfl'
key = 'model.distill.loss_luminet'
forms = dict(
    luminet_gfl_top_k={
        f'{key}.rows': 'top_k',
        f'{key}.stats_rows': 'top_k',
        f'{key}.top_k': 50,
        f'{key}.loss_weight': 0.6,
    },
    luminet_gfl_softmax={f'{key}.form': 'softmax', f'{key}.loss_weight': 1},
)
runs = {
    name: dict(
        config=f'configs/one_stage/{name.removesuffix(form)}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options={'train_cfg.val_interval': 6, **options},
    )
    for name, form, options in [
        *((name, '', {}) for name in names.split()),
        *(
            (name, name.removeprefix('luminet_gfl'), options)
            for name, options in forms.items()
        ),
    ]
}
