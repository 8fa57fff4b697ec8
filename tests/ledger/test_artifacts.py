import hashlib
import os
import signal
import subprocess
import sys
import uuid

import fsspec
import pytest
import torch

from tdml.errors import SettingError
from tdml.ledger.artifacts import ArtifactStore
from tests.ledger import stored


@pytest.fixture(params=["folder", "file", "memory"])
def url(request, tmp_path):
    """A place of its own on each kind of file system."""
    path = tmp_path / "artifacts"
    return {"folder": str(path), "file": path.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}[
        request.param
    ]


def names(url):
    """All files below."""
    files, root = fsspec.core.url_to_fs(url)
    return sorted(name.removeprefix(root) for name in files.find(root))


def test_contents_are_found_by_their_sha256(url):
    store = ArtifactStore(url)
    digest = store.put(b"weights")
    assert digest == hashlib.sha256(b"weights").hexdigest() == store.put(b"weights")
    assert stored.content(url, digest) == b"weights"
    assert names(url) == [f"/{digest[:2]}/{digest[2:]}"]


def test_tensors_come_back_bit_for_bit(url):
    shared = torch.arange(6.0)
    tensors = {
        "a": shared.reshape(2, 3).T,
        "b": shared,
        "c": torch.tensor(7),
        "d": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    found = stored.tensors(url, ArtifactStore(url).put_tensors(tensors))
    assert found.keys() == tensors.keys()
    assert all(
        torch.equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype
        for name in tensors
    )
    assert ArtifactStore(url).put_tensors(tensors) == ArtifactStore(url).put_tensors(
        dict(reversed(tensors.items()))
    )


@pytest.mark.parametrize("step", ["write", "move"])
def test_an_interrupted_write_leaves_nothing(url, step, monkeypatch):
    store = ArtifactStore(url)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    if step == "move":
        monkeypatch.setattr(type(store._files), "mv", interrupt)
    else:
        monkeypatch.setattr("tdml.ledger.artifacts.os.fsync", interrupt)
        opened = type(store._files).open

        class Interrupted:
            def __init__(self, file):
                self.file = file

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

            def write(self, content):
                self.file.write(content[:3])
                raise KeyboardInterrupt

        monkeypatch.setattr(
            type(store._files), "open", lambda self, *a, **k: Interrupted(opened(self, *a, **k))
        )
    with pytest.raises(KeyboardInterrupt):
        store.put(b"weights")
    monkeypatch.undo()
    assert names(url) == []
    assert stored.content(url, store.put(b"weights")) == b"weights"


_KILLED = """
import os, signal, sys
from tdml.ledger.artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1])
store._files.mv = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.put(b"weights")
"""


@pytest.mark.timeout(60)
def test_a_killed_write_leaves_nothing_under_the_final_name(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == -signal.SIGKILL
    store = ArtifactStore(str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()
    final = f"/{digest[:2]}/{digest[2:]}"
    assert len(names(str(tmp_path))) == 1 and final not in names(str(tmp_path))
    assert store.put(b"weights") == digest and final in names(str(tmp_path))


def test_a_url_that_cannot_be_used_is_the_users_to_mend(tmp_path):
    with pytest.raises(
        SettingError, match=r"^ledger\.artifacts=nowhere://x cannot be used: .*nowhere"
    ):
        ArtifactStore("nowhere://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SettingError, match=r"^ledger\.artifacts=.*/file/store cannot be used: .*file"
    ):
        ArtifactStore(str(tmp_path / "file" / "store")).put(b"weights")
