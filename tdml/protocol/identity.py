"""Who a node is: an Ed25519 key (RFC 8032), made at its first start and kept in a file that nobody
else may read."""

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tdml.errors import SettingError, one_line

# The points whose order divides 8, without the sign of x; of some there are two spellings.
_SMALL_ORDER = {
    "00" * 32,
    "01" + "00" * 31,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
}


class Identity:
    """A key pair. `public` is the public key, 64 hex digits."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    @staticmethod
    def new() -> "Identity":
        """A fresh key that is kept nowhere."""
        return Identity(Ed25519PrivateKey.generate())

    @staticmethod
    def load(folder: str, name: str) -> "Identity":
        """The key in `folder`/`name`.pem, made if there is none yet.

        Raises:
            SettingError: it cannot be read or made, is no Ed25519 key, or others may read it.
        """
        try:
            path = Path(folder).expanduser() / f"{name}.pem"
        except RuntimeError as error:  # who runs this has no home
            raise SettingError(
                f"identity.folder={folder}: {one_line(error)} Give a folder that can be written"
            ) from error
        there = path.exists()
        try:
            if not there:
                _make(path)
            mode, written = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
        except OSError as error:
            why = f"{path} cannot be read" if there else "no key can be kept there"
            raise SettingError(f"identity.folder={folder}: {why}: {one_line(error)}") from error
        if mode & 0o077:
            raise SettingError(
                f"identity.folder={folder}: others may read {path}: chmod 600 it, or make a new key"
            )
        try:
            key = load_pem_private_key(written, password=None)
        except (ValueError, TypeError) as error:
            raise SettingError(
                f"identity.folder={folder}: {path} is not a private key: {one_line(error)}"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingError(f"identity.folder={folder}: {path} is not an Ed25519 key")
        return Identity(key)

    def sign(self, message: bytes) -> str:
        """The signature, 128 hex digits."""
        return self._key.sign(message).hex()


def new_job(public: str) -> str:
    """An id for a job of the coordinator with that key. What nodes sign holds the id, so nobody
    else's job can have it, and have them sign something that is used in this one."""
    nonce = secrets.token_hex(16)
    return nonce + _of_job(nonce, public)


def is_job_of(job: str, public: str) -> bool:
    """Whether an id is that of a job of the coordinator with that key."""
    return job[32:] == _of_job(job[:32], public)


def _of_job(nonce: str, public: str) -> str:
    return hashlib.sha256(f"tdml job|{nonce}|{public}".encode()).hexdigest()[:32]


def verify_signature(public: str, signature: object, message: bytes) -> bool:
    """Whether the key `public` has signed the message. Anything else, of whatever type, is no."""
    if not isinstance(signature, str):
        return False
    try:
        point = bytes.fromhex(public)
        Ed25519PublicKey.from_public_bytes(point).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError, TypeError):
        return False
    # for such a key everybody can sign, so its owner could deny whatever he has signed
    return bytes([*point[:-1], point[-1] & 0x7F]).hex() not in _SMALL_ORDER


def _make(path: Path) -> None:
    """Write a new key under its final name only once it is complete; of several at the same time
    one is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
