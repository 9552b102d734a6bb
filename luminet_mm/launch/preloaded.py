"""Import what a training needs, in the process that trainings are forked from.

Importing this module does it; nothing else imports it. What fails here is left
to the training, which says so in its log. The same goes for what libraries
print while they are imported.
"""

import contextlib
import importlib
import io

MODULES = (
    'luminet_mm.launch.command_line',
    'luminet_mm.launch.console',
    'luminet_mm.launch.guards',
    'luminet_mm.launch.runner',
    'luminet_mm.preflight',
    'luminet_mm.runs.resume',
    'luminet_mm.runs.work_dir',
    'mmdet.models',
    'mmdet.datasets',
    'mmdet.evaluation',
    'mmpretrain.models',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
)
with (
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()),
):
    for module in MODULES:
        try:
            importlib.import_module(module)
        except KeyboardInterrupt:  # the sweep's, which says so itself
            raise SystemExit(130) from None
        except Exception:
            continue
