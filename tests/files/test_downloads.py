"""Downloads: whole and right, or not in the cache."""

import hashlib
import http.server
import io
import os
import threading
from pathlib import Path

import pytest
import torch

from luminet_mm.files.downloads import hash_in_name
from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.checkpoint import load_checkpoint


def content_of(value=1.0):
    buffer = io.BytesIO()
    torch.save(dict(w=torch.full((500,), value)), buffer)
    return buffer.getvalue()


def named(content, stem='r18_coco_20210831'):
    return f'{stem}-{hashlib.sha256(content).hexdigest()[:8]}.pth'


class Server:
    """Serves byte strings by name; `say` is the length that it claims."""

    def __init__(self):
        self.files, self.asked, self.say = {}, [], {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.split('?')[0].strip('/').split('/')[-1]
                outer.asked.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                self.send_response(200)
                length = outer.say.get(name, len(content))
                if length is not None:
                    self.send_header('Content-Length', str(length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.http.server_port}'
        threading.Thread(
            target=self.http.serve_forever, args=(0.02,), daemon=True
        ).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub/checkpoints'


def test_a_file_is_downloaded_once(server, cache):
    server.files = {'teacher.pth': content_of(2.0)}
    url = f'{server.url}/models/teacher.pth?download=1'
    for _ in range(2):
        assert load_checkpoint(url)['w'][0] == 2
    assert server.asked == ['teacher.pth']
    # a name says what is in the file if it has a hash, as those of the zoos
    zoo = named(content_of(3.0))
    server.files[zoo] = content_of(3.0)
    load_checkpoint(url.replace('models', 'others'))
    assert load_checkpoint(f'{server.url}/{zoo}')['w'][0] == 3
    names = {path.name for path in cache.iterdir()}
    assert len(names) == len(server.asked) == 3
    assert zoo in names


@pytest.mark.parametrize('has_hash', [True, False])
def test_a_download_cut_short_leaves_nothing(server, cache, has_hash):
    whole = content_of()
    name = named(whole) if has_hash else 'a.pth'
    server.files, server.say = {name: whole[:1000]}, {name: len(whole)}
    with pytest.raises(
        CheckpointError, match=r'ended after 1,000 of \d,\d+ bytes'
    ):
        load_checkpoint(f'{server.url}/{name}')
    assert not list(cache.iterdir())
    server.files = {name: whole}
    assert load_checkpoint(f'{server.url}/{name}')['w'].sum() == 500


@pytest.mark.parametrize(
    'name, content, reason',
    [
        (named(b'other'), content_of(), r'has the hash \w{8}, but its name'),
        ('a.pth', content_of()[:-100], 'is cut short'),
        ('a.pth', b'<html>Log in</html>', 'is an HTML page'),
        (named(b'x'), b'<html>Log in</html>', 'is an HTML page'),
        ('a.pth', b'', 'is empty'),
    ],
)
def test_a_wrong_file_is_not_kept(server, cache, name, content, reason):
    server.files, server.say = {name: content}, {name: None}
    with pytest.raises(CheckpointError, match=reason) as error:
        load_checkpoint(f'{server.url}/{name}')
    assert 'not kept' in str(error.value)
    assert '--trust' not in str(error.value)
    assert not list(cache.iterdir())


@pytest.mark.parametrize('has_hash', [True, False])
@pytest.mark.parametrize('broken', [b'', b'<html>', content_of()[:900]])
def test_a_broken_file_in_the_cache_is_replaced(
    server, cache, has_hash, broken
):
    """Such as MMEngine's or torch.hub's own download left it."""
    whole = content_of()
    name = named(whole) if has_hash else 'a.pth'
    server.files = {name: whole}
    url = f'{server.url}/{name}'
    load_checkpoint(url)
    [kept] = cache.iterdir()
    kept.write_bytes(broken)
    assert load_checkpoint(url)['w'].sum() == 500
    assert kept.read_bytes() == whole

    kept.write_bytes(broken)
    server.files = {}
    with pytest.raises(CheckpointError, match='404.*The existing file'):
        load_checkpoint(url)


def test_failure_names_where_to_put_the_file(server, cache):
    with pytest.raises(
        CheckpointError,
        match=r'cannot be downloaded: .*404.*checkpoints/a-\w{8}.pth',
    ):
        load_checkpoint(f'{server.url}/a.pth')
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(CheckpointError, match='cannot be downloaded'):
        load_checkpoint(f'{server.url}/a.pth')


@pytest.mark.parametrize(
    'name, expected',
    [
        ('resnet18-f37072fd.pth', 'f37072fd'),
        ('r50_coco_20200130-047c8118.pth', '047c8118'),
        ('model-20230101.pth', None),  # a date
        ('model-20231399.pth', '20231399'),
        ('epoch_12.pth', None),
        ('deit_tiny_patch16_224-a1311bcf.pth.tar', None),
    ],
)
def test_the_hash_in_a_name(name, expected):
    assert hash_in_name(name) == expected


def load_url_on_rank(rank, world_size, folder, url):
    """Rank 0 alone downloads; both get the weights, or both an error."""
    os.environ['LOCAL_RANK'] = str(rank)
    torch.hub.get_dir = lambda: folder
    loaded = load_checkpoint(f'{url}/good.pth')['w'][0].item()
    try:
        load_checkpoint(f'{url}/bad.pth')
    except ValueError as error:
        return loaded, str(error)


def test_ranks_share_one_download(server, tmp_path):
    from ranks import run_ranks

    server.files = {'good.pth': content_of(7.0)}
    results = run_ranks(load_url_on_rank, 2, str(tmp_path), server.url)
    for loaded, error in results:
        assert loaded == 7
        assert 'cannot be downloaded' in error
    assert server.asked == ['good.pth', 'bad.pth']
    assert len(list(Path(tmp_path, 'checkpoints').iterdir())) == 1
