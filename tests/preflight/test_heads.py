"""The number of classes of each head, and that of the data."""

from checked import problem, problems


def test_number_of_classes_of_every_head(config):
    """A stock student as well: one too few becomes the background."""
    model = config.model
    model.roi_head.bbox_head.num_classes = 3
    (line,) = problems(config)
    assert 'model.roi_head.bbox_head.num_classes: 3, but' in line
    assert '4 classes (cat, dog, hen, ...); set it to 4' in line
    for key in ('teacher', 'distill'):
        model.pop(key)
    model.type = 'FasterRCNN'
    assert 'bbox_head.num_classes: 3' in problem(config)
    head = model.roi_head.bbox_head
    model.roi_head.bbox_head = [dict(head, num_classes=4), head]
    assert 'bbox_head.1.num_classes: 3' in problem(config)
    head.pop('num_classes')  # mmdet's default
    model.roi_head.bbox_head = head
    assert 'bbox_head.num_classes: 80, but' in problem(config)
    head.num_classes = 4
    model.roi_head.mask_head = dict(type='FCNMaskHead', num_classes=5)
    assert 'roi_head.mask_head.num_classes: 5' in problem(config)
