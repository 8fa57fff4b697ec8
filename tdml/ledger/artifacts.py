"""Artifacts by their SHA-256: the settings and the evidence that the ledger speaks of, at any URL
that fsspec knows."""

import hashlib
import os
import uuid
from typing import TYPE_CHECKING

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tdml.errors import SettingError, one_line

if TYPE_CHECKING:
    import torch


class ArtifactStore:
    """Immutable contents. Several processes may use one at the same time."""

    def __init__(self, url: str) -> None:
        """Nothing is made or written yet.

        Raises:
            SettingError: fsspec does not know this kind of URL, or the package for it is missing.
        """
        self._url = url
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except Exception as error:  # every kind of file system has its own
            raise self._unusable(error) from error
        self._root = root.rstrip("/")

    def put(self, content: bytes) -> str:
        """Keep a content. It gets its final name only once it is complete. Returns its SHA-256, in
        hex.

        Raises:
            SettingError: it cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        try:
            if not self._files.exists(self._path(digest)):
                self._write(content, self._path(digest))
        except Exception as error:
            raise self._unusable(error) from error
        return digest

    def put_tensors(self, tensors: "dict[str, torch.Tensor]") -> str:
        """Keep tensors, as safetensors; otherwise like `put`."""
        from safetensors.torch import save

        # A copy of its own for each: safetensors refuses tensors that share memory.
        return self.put(
            save(
                {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
            )
        )

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _write(self, content: bytes, path: str) -> None:
        folder = path.rpartition("/")[0]
        partial = f"{folder}/.partial-{uuid.uuid4().hex}"
        self._files.makedirs(folder, exist_ok=True)
        try:
            with self._files.open(partial, "wb") as file:
                file.write(content)
                if isinstance(self._files, LocalFileSystem):
                    file.flush()
                    os.fsync(file.fileno())
            self._files.mv(partial, path)
        except BaseException:
            if self._files.exists(partial):
                self._files.rm(partial)
            raise

    def _unusable(self, error: Exception) -> SettingError:
        return SettingError(f"ledger.artifacts={self._url} cannot be used: {one_line(error)}")
