"""Photos: are they there, can they be read, how large are they."""

import numpy as np
from coco_photos import check, entry, fault, warning
from PIL import Image


def test_missing_photos(photos):
    folder = photos['root'] / 'images'
    (folder / '1.jpg').unlink()
    line = fault(photos)
    assert line.startswith('train_dataloader.dataset.data_prefix: 1 of 3')
    assert f'not in {folder}/, 1.jpg' in line
    lenient = dict(type='LoadImageFromFile', ignore_empty=True)
    assert '1 of 3 photos not in' in warning(photos, pipeline=[lenient])
    # not one of those that are used
    photos['annotations'] = [
        a for a in photos['annotations'] if a['image_id'] % 2
    ]
    photos['annotations'] += [entry(7, image_id=0), entry(8, image_id=2)]
    photos['annotations'] = [
        a for a in photos['annotations'] if a['image_id'] != 1
    ]
    assert not check(photos, filter_cfg=dict(filter_empty_gt=True)).faults
    for number in (0, 2):
        (folder / f'{number}.jpg').rename(folder / f'{number}.JPG')
    (folder / '1.JPG').touch()
    assert '0.jpg is spelled 0.JPG there' in fault(photos)
    for each in photos['images']:
        each['file_name'] = 'images/' + each['file_name']
    assert 'relative to that folder: change data_root' in fault(photos)


def test_unreadable_photos(photos):
    path = photos['root'] / 'images/1.jpg'
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), 'uint8')
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for content, words in (
        (b'', 'the file is empty'),
        (b'<html>', 'not a photo, or damaged'),
    ):
        path.write_bytes(content)
        line = fault(photos)
        assert f'1 photo cannot be read, {path} ({words})' in line
    path.write_bytes(whole[:-200])
    assert f'{path} (image file is truncated' in fault(photos)


def test_sizes_of_photos(photos):
    path = photos['root'] / 'images/1.jpg'
    Image.new('RGB', (64, 48)).save(path)
    line = warning(photos)
    assert '1 photo with a different size from the annotations' in line
    assert f'{path} (64x48, not 100x80)' in line


def test_photos_that_their_exif_data_turn(photos):
    """OpenCV turns them, the tools that draw boxes often do not."""
    path = photos['root'] / 'images/1.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (100, 80)).save(path, exif=exif)
    line = warning(photos)
    assert (
        f'{path} (80x100, not 100x80); they are rotated by their EXIF data'
        in line
    )
    unturned = dict(
        type='LoadImageFromFile', color_type='color_ignore_orientation'
    )
    assert not check(photos, pipeline=[unturned]).warnings
    photos['images'][1].update(width=80, height=100)
    assert not check(photos).warnings
    assert '(100x80, not 80x100)' in warning(photos, pipeline=[unturned])


def test_few_photos_are_opened_and_all_by_the_tool(photos):
    for number in range(3, 100):
        name = f'{number}.jpg'
        Image.new('RGB', (100, 80)).save(photos['root'] / 'images' / name)
        photos['images'].append(
            dict(id=number, file_name=name, width=100, height=80)
        )
    (photos['root'] / 'images/1.jpg').write_bytes(b'broken')
    assert not check(photos).faults
    assert 'cannot be read' in fault(photos, complete=True)
