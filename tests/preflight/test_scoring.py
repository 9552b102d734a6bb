"""The file that predictions are scored with is that of the images."""

import json

from coco_photos import check, fault


def test_an_evaluator_with_the_file_of_other_data(photos):
    """It would score one photo's predictions with another one's boxes."""
    other = photos['root'] / 'other.json'
    metric = dict(type='CocoMetric', ann_file=str(other))
    content = {k: v for k, v in photos.items() if k != 'root'}
    other.write_text(json.dumps(content))
    assert not check(photos, 'val', evaluator=metric).faults
    further = [dict(each, file_name='x.jpg') for each in photos['images']]
    other.write_text(json.dumps(dict(content, images=further[:2])))
    line = fault(photos, 'val', evaluator=[metric])
    assert line.startswith(f'val_evaluator.ann_file: {other} lacks 3 images')
    assert 'set it to the file of val_dataloader.dataset' in line
    order = photos['categories'][::-1]
    other.write_text(json.dumps(dict(content, categories=order)))
    assert 'in a different order' in fault(photos, 'val', evaluator=metric)
