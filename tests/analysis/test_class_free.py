"""AP without classes: which boxes count, and the tool that prints it."""

import json

import pytest
import torch
from mmdet.evaluation.metrics import CocoMetric
from mmengine.config import Config
from mmengine.runner import Runner

from luminet_mm.analysis import class_free
from luminet_mm.analysis.class_free import KEYS, ClassFreeMetric

BOXES = [[10.0, 10, 40, 40], [60.0, 60, 90, 90]]


@pytest.fixture
def truth(tmp_path):
    """One image with an object of each of two classes."""
    path = tmp_path / 'truth.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=7, width=100, height=100, file_name='x.jpg')],
                categories=[dict(id=3, name='cat'), dict(id=5, name='dog')],
                annotations=[
                    dict(
                        id=i + 1,
                        image_id=7,
                        category_id=(3, 5)[i],
                        bbox=[x, y, right - x, low - y],
                        area=900,
                        iscrowd=0,
                    )
                    for i, (x, y, right, low) in enumerate(BOXES)
                ],
            )
        )
    )
    return path


def scores(metric, boxes, labels, values=None):
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    metric.process(
        {},
        [
            dict(
                img_id=7,
                ori_shape=(100, 100),
                pred_instances=dict(
                    bboxes=torch.tensor(boxes),
                    labels=torch.tensor(labels),
                    scores=torch.tensor(values or [0.9] * len(boxes)),
                ),
            )
        ],
    )
    return metric.evaluate(1)


def test_wrong_classes_do_not_count(truth):
    exchanged = (BOXES, [1, 0])
    with_classes = scores(CocoMetric(ann_file=str(truth)), *exchanged)
    without = scores(ClassFreeMetric(ann_file=str(truth)), *exchanged)
    assert with_classes['coco/bbox_mAP'] == 0
    assert without['class_free/bbox_mAP'] == pytest.approx(1)


def test_one_place_is_one_box(truth):
    """A second class there is not a false box; the better score counts."""
    found = scores(
        ClassFreeMetric(ann_file=str(truth)),
        [[12.0, 10, 42, 40], *BOXES],
        [1, 0, 1],
        [0.95, 0.8, 0.9],
    )
    # the better is 2 of 30 pixels off: an IoU of 28 / 32 = 0.875
    assert found['class_free/bbox_mAP_75'] == pytest.approx(1)
    assert 0.8 < found['class_free/bbox_mAP'] < 1


def test_the_command(tmp_path, truth, monkeypatch, capsys):
    seen = []

    class Run:
        def build_evaluator(self, metrics):
            seen.append(metrics)

        def test(self):
            return {
                f'{prefix}/{key}': number
                for prefix, number in (('coco', 0.25), ('class_free', 0.5))
                for key in (*KEYS, 'bbox_mAP_s')
            }

    def build(cfg):
        seen.append((cfg.load_from, cfg.model.type))
        return Run()

    monkeypatch.setattr(Runner, 'from_cfg', build)
    folder = tmp_path / 'kd_seed0'
    folder.mkdir()
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    (folder / 'epoch_1.pth').touch()
    Config(
        dict(
            model=dict(type='mmdet.FCOS'),
            test_evaluator=dict(type='CocoMetric', ann_file=str(truth)),
        )
    ).dump(folder / 'kd.py')
    out = tmp_path / 'found.json'
    class_free.main([str(folder), '--json', str(out)])
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line == ['kd_seed0', *['25.0'] * 3, *['50.0'] * 3]
    assert (
        json.loads(out.read_text())['kd_seed0']['class_free/bbox_mAP'] == 0.5
    )
    (checkpoint, kind), metrics = seen
    assert checkpoint.endswith('epoch_1.pth') and kind == 'mmdet.FCOS'
    assert metrics[0].type == 'CocoMetric'
    assert isinstance(metrics[1], ClassFreeMetric)


def test_a_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(ValueError, match='not a finished run'):
        class_free.class_free(tmp_path)
