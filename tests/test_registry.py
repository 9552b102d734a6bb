"""``type='luminet_mm.X'`` in a process that never says `import luminet_mm`."""

import fresh
import pytest

# What MMDetection's own tools/train.py does with a config.
SCRIPT = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
runner = Runner.from_cfg(cfg)
print(type(runner.model).__name__, list(runner.model.distill))
print(*(type(hook).__module__ for hook in runner.hooks))
"""

# Without it, mmdet.models is imported while mmcv.ops is not served yet.
IMPORT = "custom_imports = dict(imports=['luminet_mm'])\n"


# What MMDetection's DetInferencer does with a published file.
INFERENCE = """
import sys
from mmdet.apis import DetInferencer
assert 'luminet_mm' not in sys.modules
inferencer = DetInferencer(weights=sys.argv[1], device='cpu')
print(type(inferencer.model).__name__, 'luminet_mm' in sys.modules)
"""


def run(folder, text):
    """Run the script on a config; return its exit code and output."""
    path = folder / 'config.py'
    path.write_text(text)
    return started(folder, SCRIPT, path)


def started(folder, script, path):
    """Run a script on a file; return its exit code and output."""
    result = fresh.run(['-c', script, path], folder)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope='module')
def config():
    from mmengine.config import Config
    from tiny import distiller

    return Config(
        dict(
            default_scope='mmdet',
            work_dir='work',
            model=distiller(),
            custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
        )
    ).pretty_text


def test_a_stock_script_needs_one_line_in_the_config(tmp_path, config):
    code, output = run(tmp_path, IMPORT + config)
    assert code == 0, output
    assert "TwoStageDistiller ['loss_luminet']" in output
    assert 'luminet_mm.hooks.teacher_check' in output


def test_a_published_student_needs_no_line(tmp_path, config):
    import torch
    from mmengine.config import Config
    from tiny import CLASSES, build, detector

    from luminet_mm.stock import stock_config_text

    load = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
    data = dict(dataset=dict(type='CocoDataset', pipeline=load))
    cfg = Config.fromstring(config, '.py')
    cfg.visualizer = dict(type='DetLocalVisualizer')
    cfg.test_dataloader = data
    meta = dict(
        cfg=stock_config_text(cfg.pretty_text),
        dataset_meta=dict(classes=CLASSES),
    )
    weights = build(detector()).state_dict()
    file = tmp_path / 'student.pth'
    torch.save(dict(meta=meta, state_dict=weights), file)
    code, output = started(tmp_path, INFERENCE, file)
    assert code == 0, output
    assert 'TwoStageDetector True' in output


# What tools/train.py does with a classifier's config, until it trains; and
# then a name that is in the last location, and one that is nowhere.
CLASSIFIER = """
import sys
import luminet_mm
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from luminet_mm.files.config_file import read_config
from luminet_mm.preflight import check_config
from luminet_mm.stock import model_block
cfg = read_config(sys.argv[1])
cfg.work_dir = sys.argv[2]
cfg.model.teacher.checkpoint = f'{cfg.work_dir}/teacher.pth'
teacher = read_config(cfg.model.teacher.config)
init_default_scope('mmpretrain')
network = MODELS.build(model_block(teacher))
torch.save(network.state_dict(), cfg.model.teacher.checkpoint)
check_config(cfg)
runner = Runner.from_cfg(cfg)
runner.build_train_loop(cfg.train_cfg)
print(type(runner.model).__name__, 'mmdet.datasets' in sys.modules)
print(DATASETS.get('luminet_mm.DigitsDatasett'))
print(DATASETS.get('luminet_mm.DigitsDataset').__module__)
"""


def test_a_classifier_leaves_mmdetections_data_sets_alone(tmp_path):
    config = 'configs/handwritten/kd_resnet_handwritten.py'
    result = fresh.run(['-c', CLASSIFIER, config, tmp_path])
    assert result.returncode == 0, result.stderr
    assert 'ClassifierDistiller False' in result.stdout
    assert result.stdout.endswith('None\nluminet_mm.datasets.digits.dataset\n')


def test_all_names_are_those_of_the_last_location_too(tmp_path):
    script = (
        'from luminet_mm.registry import DATASETS\n'
        "print('DigitsDataset' in DATASETS.module_dict)\n"
        'from luminet_mm.datasets import DigitsDataset\n'
        'print(DigitsDataset is DATASETS.get("DigitsDataset"))\n'
    )
    result = fresh.run(['-c', script], tmp_path)
    assert result.stdout.endswith('True\nTrue\n'), result.stderr
