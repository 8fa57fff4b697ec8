"""Whose key is whose: the run's roster, and the list of keys that are banned for good."""

import contextlib
import fcntl
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line

COORDINATOR_NAME = "coordinator"
_HEX_DIGITS = 64


@dataclass(frozen=True)
class Roster:
    """The keys of a run's nodes, and of its coordinator, by name. `given`: the user has named them
    beforehand.

    `refused` has the nodes that may not take part, and why.
    """

    keys: dict[str, str]
    given: bool
    refused: dict[str, str]

    @property
    def body(self) -> dict[str, Any]:
        """The body of the ledger's entry."""
        nodes = {name: key for name, key in self.keys.items() if name != COORDINATOR_NAME}
        return {"keys": nodes, "given": self.given, "refused": dict(self.refused)}

    def write(self, path: Path) -> None:
        """Write a file that a later run can take as `identity.roster`."""
        replace_file(path, yaml.safe_dump(self.keys, sort_keys=False))


def read_roster(setting: str | None, nodes: Collection[str]) -> dict[str, str] | None:
    """The roster that the user gives: node name → public key, for all of `nodes`; "coordinator" may
    be among them, and spares beyond them, who may join.

    Raises:
        SettingError: it cannot be read, or is not such a roster.
    """
    if setting is None:
        return None
    where = f"identity.roster={setting}"
    roster = read_keys(where, Path(setting).expanduser())
    for name in roster:
        later = re.fullmatch(r"spare\d+", name)  # one that may join
        if name != COORDINATOR_NAME and name not in nodes and not later:
            raise SettingError(
                f"{where}: {name} is no node of this job: its nodes are {', '.join(nodes)}"
            )
    if missing := [name for name in nodes if name not in roster]:
        raise SettingError(f"{where} has no key for {', '.join(missing)}")
    if twice := _twice(roster):
        raise SettingError(f"{where} gives {' and '.join(twice)} the same key: each needs its own")
    return roster


def read_keys(where: str, path: Path) -> dict[str, str]:
    """Name → public key, from a YAML file; `where` is what the user calls it.

    Raises:
        SettingError: it cannot be read, or is not that.
    """
    keys = _read_yaml(where, path)
    if not isinstance(keys, dict) or not all(isinstance(name, str) for name in keys):
        raise SettingError(f"{where} must map node names to public keys, one to a line")
    for name, key in keys.items():
        if not _is_key(key):
            raise SettingError(
                f"{where}: the key of {name} must be {_HEX_DIGITS} hex digits, in quotes"
            )
    return keys


class BanList:
    """Banned public keys in a YAML file, key → name, reason and job. Without a file a ban ends with
    the job."""

    def __init__(self, setting: str | None) -> None:
        """Read it; a file that is not there yet has no entries.

        Raises:
            SettingError: the file cannot be read, or is no such list.
        """
        self._where = f"identity.ban_list={setting}"
        self._path = None if setting is None else Path(setting).expanduser()
        self._entries = self._read()

    @property
    def keys(self) -> frozenset[str]:
        """All banned keys."""
        return frozenset(self._entries)

    def of(self, job: str) -> frozenset[str]:
        """The keys that one job has banned: those of others it keeps out, and no more. Whoever puts
        a lost key on the list accuses nobody."""
        own = (key for key, said in self._entries.items() if isinstance(said, dict))
        return frozenset(key for key in own if self._entries[key].get("job") == job)

    def add(self, key: str, name: str, reason: str, job: str) -> None:
        """Ban a key, for good if there is a file. What others have added to it meanwhile is kept.

        Raises:
            OSError: the file cannot be written.
            SettingError: somebody has made it unreadable meanwhile.
        """
        entry = {"name": name, "reason": reason, "job": job}
        with self._locked():
            self._entries = {**self._entries, **self._read()}
            self._entries.setdefault(key, entry)
            if self._path is not None:
                replace_file(self._path, yaml.safe_dump(self._entries, sort_keys=False))

    def _read(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        entries = _read_yaml(self._where, self._path) or {}
        if not isinstance(entries, dict) or not all(_is_key(key) for key in entries):
            raise SettingError(
                f"{self._where} must map public keys of {_HEX_DIGITS} hex digits, in quotes, to "
                "reasons"
            )
        return entries

    @contextlib.contextmanager
    def _locked(self) -> Any:
        """The file is replaced, so a lock on it would be lost: its neighbour is locked."""
        if self._path is None:
            yield
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class _Loader(yaml.SafeLoader):
    """Of a name that is there twice YAML would take the last key without a word; and what aliases
    merge can unfold to more than any memory holds: a list of bans may be a stranger's."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As `SafeLoader` does, or raise `YAMLError`."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which no list of keys needs")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """As `SafeLoader` does, or raise `YAMLError`."""
        names = Counter(name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode))
        if twice := [name for name, count in names.items() if count > 1]:
            raise yaml.YAMLError(f"{', '.join(twice)} is there twice")
        return super().construct_mapping(node, deep)


def _read_yaml(where: str, path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise SettingError(f"{where} cannot be read: {one_line(error)}") from error


def _is_key(key: object) -> bool:
    return isinstance(key, str) and len(key) == _HEX_DIGITS and set(key) <= set("0123456789abcdef")


def _twice(roster: Mapping[str, str]) -> Sequence[str]:
    """Names that share a key; [] if there are none."""
    by_key: dict[str, list[str]] = {}
    for name, key in roster.items():
        by_key.setdefault(key, []).append(name)
    return next((names for names in by_key.values() if len(names) > 1), [])
