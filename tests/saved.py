"""Small checkpoints of runs, and ways to break them."""

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
