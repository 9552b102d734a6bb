"""Small checkpoints of runs, ways to break them, and whole work dirs."""

import json

import torch


def save(path, epoch=1, second=None, config='', **entries):
    content = dict(
        meta=dict(
            epoch=epoch,
            iter=10 * epoch,
            time=f'20260101_0000{second or epoch:02d}',
            cfg=config,
        ),
        state_dict=dict(w=torch.randn(5000)),
        message_hub=dict(),
        optimizer=dict(state={}),
    )
    content.update(entries)
    torch.save({k: v for k, v in content.items() if v is not None}, path)
    return path


def save_run(folder, cfg, **extra):
    """Write the work dir of a run: its log, config and last checkpoint."""
    log = folder / '2026' / 'vis_data'
    log.mkdir(parents=True)
    lines = [dict(iter=i, time=0.1 * i, step=i) for i in (1, 2, 3)]
    lines += [
        {'coco/bbox_mAP': 0.2, 'coco/bbox_mAP_50': 0.4, 'step': 1},
        {'coco/bbox_mAP': 0.3, 'coco/bbox_mAP_50': 0.6, 'step': 2},
    ]
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    cfg.dump(folder / 'config.py')
    state = dict(w=torch.ones(2), **extra)
    torch.save(dict(state_dict=state), folder / 'epoch_2.pth')


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b'')


def damage(path):
    """Change one bit of a weight: the file opens, and trains on."""
    content = bytearray(path.read_bytes())
    content[content.index(b'data/0') + 9000] ^= 64
    path.write_bytes(content)


def replace_by_a_page(path):
    path.write_text('<html>not found</html>')


BREAK = [cut, empty, damage, replace_by_a_page]
