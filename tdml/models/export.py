"""`tdml export`: a run's model in the forms that others read."""

import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError

from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line, refusing
from tdml.models import whole
from tdml.models.gpt import as_gpt2
from tdml.models.model_file import read_weights
from tdml.settings.file import from_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SUFFIX = ".safetensors"
_MISFITS = (KeyError, TypeError, RuntimeError)  # of weights and settings of two models
_NO_SETTINGS = (AttributeError, TypeError)  # in the places of a run's
_OTHER_FORMATS = {".pt", ".pth", ".bin", ".ckpt", ".onnx", ".gguf"}


def export(run: Path, out: Path) -> Path:
    """Write the weights of a run as safetensors: into the file `out`, or if it has not that suffix
    as `model.safetensors` into the folder `out`, with what transformers and peft need beside it to
    load the model.

    Raises:
        SettingError: there is no finished run, its model cannot be made again, or `out` cannot be
            written.
    """
    if out.suffix in _OTHER_FORMATS and not out.is_dir():
        raise SettingError(
            f"{out}: give a NAME{_SUFFIX}, or a folder; RUN/model.pt is a plain state_dict already"
        )
    file = run / "model.pt"
    if not file.exists():
        raise SettingError(f"{file} does not exist: give the folder of a finished run")
    try:
        weights = read_weights(file)
    except ValueError as error:
        raise SettingError(str(error)) from error
    try:
        if out.suffix == _SUFFIX:
            out.parent.mkdir(parents=True, exist_ok=True)
            _save(weights, out)
        else:
            out.mkdir(parents=True, exist_ok=True)
            with refusing(f"{run}: config.yaml does not say what its model is", _NO_SETTINGS):
                _fill(run, out, weights)
    except (SafetensorError, FileExistsError, NotADirectoryError) as error:
        reason = "there is a file of that name" if isinstance(error, OSError) else one_line(error)
        raise SettingError(f"{out} cannot be written: {reason}") from error
    return out


def _fill(run: Path, folder: Path, weights: dict[str, torch.Tensor]) -> None:
    settings = from_yaml(run / "config.yaml")
    name = settings.model.get("_target_")
    misfit = f"{run}: model.pt does not fit config.yaml"
    if name == "tdml.models.hf":
        _check_plain(run, settings.model)
        model: PreTrainedModel = whole.initial_model(settings.model, settings.seed)
        with refusing(misfit, _MISFITS):
            model.load_state_dict(weights)
        if settings.model.lora.rank and settings.model.pretrained is None:
            model = model.merge_and_unload()  # of a model that lies nowhere
        # moved to their places, where a stranger may have left links
        with warnings.catch_warnings(), TemporaryDirectory(dir=folder) as made:
            warnings.simplefilter("ignore")  # of what peft decides by itself
            model.save_pretrained(made)
            for file in Path(made).iterdir():
                file.replace(folder / file.name)
    elif name == "tdml.models.gpt":
        with refusing(misfit, _MISFITS):
            renamed, config = as_gpt2(weights, settings.model)
        _save(renamed, folder / f"model{_SUFFIX}")
        replace_file(folder / "config.json", json.dumps(config, indent=2) + "\n")
    else:
        _save(weights, folder / f"model{_SUFFIX}")
    tokenizer = Path(settings.data.get("tokenizer") or "")
    if _is_tokenizer(tokenizer):
        replace_file(folder / "tokenizer.json", tokenizer.read_text(encoding="utf-8"))


def _check_plain(run: Path, model: DictConfig) -> None:
    """Of a stranger's run nothing but TDML's own function is called to make its model again."""
    kept = OmegaConf.to_container(model)
    assert isinstance(kept, dict)
    if "'_target_'" in str([*kept.values()]):  # as it is written where it is a name
        raise SettingError(
            f"{run}: config.yaml: a setting of its model has a _target_ of its own, which export "
            f"does not run: give a NAME{_SUFFIX}"
        )


def _is_tokenizer(path: Path) -> bool:
    """Whether it is one, and not some other file of this machine that a stranger's run names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        return False
    return isinstance(content, dict) and {"model", "added_tokens"} <= content.keys()


def _save(weights: dict[str, torch.Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    whole_tensors = {
        name: tensor.clone().contiguous() for name, tensor in weights.items()
    }  # it refuses shared memory
    if file.is_symlink():
        file.unlink()  # or what it leads to would be touched
    file.touch()
    readable_by = file.stat().st_mode
    save_file(whole_tensors, file, metadata={"format": "pt"})
    file.chmod(readable_by)  # safetensors makes files that nobody else can read
