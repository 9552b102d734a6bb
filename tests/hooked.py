"""Which modules of a network run."""


def ran_in(model, run):
    """Names of the leaf modules that run, in order."""
    ran, handles = [], []
    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(
                module.register_forward_hook(lambda *_, n=name: ran.append(n))
            )
    run()
    for handle in handles:
        handle.remove()
    return ran
