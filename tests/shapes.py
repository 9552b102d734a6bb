"""Small data sets in each layout, of the same pictures and boxes."""

import json

import cv2
import numpy as np

CLASSES = ('disc', 'square')


def scenes(count, size=(96, 64), seed=0):
    """Pictures with two shapes each, and the boxes: label, x1, y1, x2, y2."""
    rng = np.random.default_rng(seed)
    width, height = size
    for _ in range(count):
        picture = rng.integers(0, 80, (height, width, 3), np.uint8)
        boxes = []
        for label in (0, 1):
            side = int(rng.integers(16, 28))
            x = int(rng.integers(0, width - side))
            y = int(rng.integers(0, height - side))
            colour = (255, 255, 60) if label else (60, 255, 255)
            if label:
                cv2.rectangle(
                    picture, (x, y), (x + side - 1, y + side - 1), colour, -1
                )
            else:
                middle = (x + side // 2, y + side // 2)
                cv2.circle(picture, middle, side // 2 - 1, colour, -1)
            boxes.append((label, x, y, x + side, y + side))
        yield picture, boxes


def coco_of(boxes, size=(96, 64), name='{:02d}.png', classes=CLASSES):
    """COCO's lists for the boxes of some pictures."""
    images, annotations = [], []
    for number, found in enumerate(boxes):
        images.append(
            dict(
                id=number + 1,
                file_name=name.format(number),
                width=size[0],
                height=size[1],
            )
        )
        for label, x1, y1, x2, y2 in found:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number + 1,
                    category_id=label + 1,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=0,
                )
            )
    categories = [dict(id=i + 1, name=n) for i, n in enumerate(classes)]
    return dict(images=images, annotations=annotations, categories=categories)


def write_photos(folder, pictures):
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f'{number:02d}.png'), picture)


def write_coco(root, counts, ann='annotations/instances_{}.json', photos='{}'):
    """Splits with their numbers of pictures, as in COCO 2017."""
    for seed, (split, count) in enumerate(counts.items()):
        pictures, boxes = zip(*scenes(count, seed=seed))
        write_photos(root / photos.format(split), pictures)
        path = root / ann.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(coco_of(boxes)))
    return root


def write_yolo(root, counts):
    """The same as Roboflow exports it: train/images, train/labels."""
    lines = [f'names: {list(CLASSES)}', 'nc: 2']
    for seed, (split, count) in enumerate(counts.items()):
        pictures, boxes = zip(*scenes(count, seed=seed))
        write_photos(root / split / 'images', pictures)
        (root / split / 'labels').mkdir()
        for number, found in enumerate(boxes):
            text = ''
            for label, x1, y1, x2, y2 in found:
                middle = (x1 + x2) / 192, (y1 + y2) / 128
                size = (x2 - x1) / 96, (y2 - y1) / 64
                text += f'{label} {middle[0]} {middle[1]} {size[0]} {size[1]}'
                text += '\n'
            path = root / split / 'labels' / f'{number:02d}.txt'
            path.write_text(text)
        key = 'val' if split == 'valid' else split
        lines.append(f'{key}: ../{split}/images')
    (root / 'data.yaml').write_text('\n'.join(lines))
    return root


def write_voc(root, counts):
    """The same in VOC's folders; its pixels count from 1."""
    lists = root / 'ImageSets' / 'Main'
    for folder in (root / 'Annotations', lists):
        folder.mkdir(parents=True)
    pictures, boxes = zip(*scenes(sum(counts.values())))
    write_photos(root / 'JPEGImages', pictures)
    for number, found in enumerate(boxes):
        objects = ''.join(
            f'<object><name>{CLASSES[label]}</name><bndbox>'
            f'<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>'
            f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
            for label, x1, y1, x2, y2 in found
        )
        (root / 'Annotations' / f'{number:02d}.xml').write_text(
            f'<annotation><filename>{number:02d}.png</filename><size>'
            '<width>96</width><height>64</height></size>'
            f'{objects}</annotation>'
        )
    names = iter(range(len(pictures)))
    for split, count in counts.items():
        (lists / f'{split}.txt').write_text(
            ''.join(f'{next(names):02d}\n' for _ in range(count))
        )
    return root


def boxes_of(split):
    """Photo's name to label, corners; from a COCO file."""
    content = json.loads(split.ann_file.read_text())
    names = {each['id']: each['file_name'] for each in content['images']}
    found = {name: [] for name in names.values()}
    for each in content['annotations']:
        x, y, width, height = each['bbox']
        found[names[each['image_id']]].append(
            (each['category_id'] - 1, x, y, x + width, y + height)
        )
    for each in content['images']:
        assert (each['width'], each['height']) == (96, 64)
    return found
