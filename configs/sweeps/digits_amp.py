# Mixed precision on a CPU against float32 on digits in scenes: the student
# alone and LumiNet, three seeds. It needs a processor that has instructions
# for bf16.
amp = {'optim_wrapper.type': 'luminet_mm.CPUAmpOptimWrapper'}
runs = {
    name + suffix: dict(
        config=f'configs/{config}_digits.py',
        seeds=[0, 1, 2],
        # only the last epoch counts
        options={'train_cfg.val_interval': 3, **options},
    )
    for name, config in dict(
        student='frcnn_student', luminet='luminet_frcnn'
    ).items()
    for suffix, options in {'': {}, '_amp': amp}.items()
}
