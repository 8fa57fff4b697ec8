"""Hydra reads and merges the files of every choice once: most tests differ in values alone, which it
puts into a copy of what the files make. What is written on a command line it parses once, too."""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl as hydra
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import DefaultsList, Overrides, ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

_choose = hydra.create_defaults_list
_merge = hydra.ConfigLoaderImpl._compose_config_from_defaults_list
_parse, _read = OverridesParser.parse_rule, FileConfigSource.load_config
_chosen: dict[tuple, DefaultsList] = {}
_merged: dict[tuple, DictConfig] = {}
_parsed: dict[tuple, Any] = {}
_results: dict[tuple, ConfigResult] = {}


def _folders(repo: Any) -> tuple[str, ...]:
    return tuple(source.full_path() for source in repo.get_sources())


def _choose_once(repo: Any, overrides_list: Sequence[Override], **how: Any) -> DefaultsList:
    overrides = Overrides(repo=repo, overrides_list=list(overrides_list))
    values = {id(override) for override in overrides.config_overrides}
    choices = (o.input_line for o in overrides_list if id(o) not in values)
    key = (_folders(repo), *choices, *how.values())

    if key not in _chosen:
        _chosen[key] = _choose(repo=repo, overrides_list=list(overrides_list), **how)
    known = _chosen[key]

    overrides.known_choices = dict(known.overrides.known_choices)
    return replace(known, config_overrides=overrides.config_overrides, overrides=overrides)


def _merge_once(loader: Any, defaults: Sequence[ResultDefault], repo: Any) -> DictConfig:
    key = (_folders(repo), *map(repr, defaults))
    if key not in _merged:
        _merged[key] = _merge(loader, defaults=list(defaults), repo=repo)
    return deepcopy(_merged[key])


def _parse_once(parser: OverridesParser, text: str, rule: str) -> Any:
    key = (text, rule)
    if key not in _parsed:
        _parsed[key] = _parse(parser, text, rule)
    return copy(_parsed[key])


def _read_once(source: FileConfigSource, config_path: str) -> ConfigResult:
    file = Path(source.path, f"{config_path.removesuffix('.yaml')}.yaml")
    if not file.is_file():
        return _read(source, config_path)
    key = (file, source.provider, file.stat().st_mtime_ns, file.stat().st_size)
    if key not in _results:
        _results[key] = _read(source, config_path)
    return replace(_results[key], config=deepcopy(_results[key].config))


def compose_once() -> None:
    """In this process, from now on."""
    OverridesParser.parse_rule = _parse_once
    FileConfigSource.load_config = _read_once
    hydra.create_defaults_list = _choose_once
    hydra.ConfigLoaderImpl._compose_config_from_defaults_list = _merge_once
