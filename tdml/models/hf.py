"""Models of Hugging Face's transformers: from a configuration, or from a local folder."""

import difflib
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tdml.errors import SettingError, refusing
from tdml.models.hf_blocks import blocks_of_hf
from tdml.models.hf_padding import read_padding
from tdml.models.stored import stored
from tdml.settings.extras import library

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_HEADS = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "classifier": "AutoModelForSequenceClassification",
}
_NEAR = 0.7  # as difflib has it: num_layers is num_hidden_layers, rope_theta not rope_parameters
_PEFT_TASKS = {"causal": "CAUSAL_LM", "masked": None, "classifier": "SEQ_CLS"}


def hf(
    config: str | Mapping[str, Any] | None,
    pretrained: str | None,
    head: str,
    num_labels: int | None,
    untie: bool,
    lora: Mapping[str, Any],
) -> nn.Module:
    """The model itself, with a method `blocks()`: its embeddings, each of its layers, and its head.

    Args:
        config: a mapping with a model_type, or the path of a config.json or of the folder that has
            it.
        pretrained: the folder of a model in safetensors, instead.
        head: "causal", "masked" or "classifier", of `num_labels` classes.
        untie: whether input and output embeddings, where one is the other, become two.
        lora: rank, alpha, dropout and targets of adapters (Hu et al., arXiv 2106.09685), which
            alone are trained then; rank None: all is trained.

    Raises:
        SettingError: there is no such model, or its parts cannot be told apart.
    """
    auto = _auto(head)
    if (config is None) == (pretrained is None):
        raise SettingError(
            "model=hf: give one of model.config (to train from scratch) and model.pretrained (a "
            "folder)"
        )
    on_meta = torch.get_default_device().type == "meta"
    given = config if pretrained is None else _folder(pretrained, with_tensors=not on_meta)
    assert given is not None
    settings = _config(given, num_labels)
    if getattr(settings, "output_router_logits", False):
        raise SettingError(
            "model=hf: output_router_logits=true asks for the auxiliary loss of mixtures of "
            "experts, which is not trained: set it false (in model.config, or in the folder's "
            "config.json)"
        )
    model = (
        _build(auto, settings)
        if pretrained is None or on_meta
        else _load(auto, Path(pretrained), settings)
    )
    if untie:
        _untie(model)
    padding = _name_padding(model) if head == "classifier" else None
    blocks_of_hf(model, padding)  # raises where it cannot
    if padding is not None:
        read_padding(model, padding)
    if lora["rank"] is not None:
        model = _with_adapters(model, lora, head)
    model.blocks = MethodType(partial(_blocks, padding=padding), model)
    model.fill_constants = MethodType(_fill_constants, model)
    model.blocks_are_exact = True
    model.most_tokens = _most_tokens(model)
    if pretrained is not None:
        model.stored = partial(stored, Path(pretrained))
    return model


def _name_padding(model: "PreTrainedModel") -> int:
    """The id that fills texts up. Decoders' classifiers read the last token that is none, and take
    no batch where their configuration does not say which is: as usual, that which ends a text."""
    given = getattr(model.config, "pad_token_id", None)
    if given is not None:
        return given
    end = getattr(model.config, "eos_token_id", None)
    if end is None:
        raise SettingError(
            "model.head=classifier: the model's configuration has no pad_token_id, which texts are "
            "filled up with: give one (in model.config, or in the folder's config.json)"
        )
    model.config.pad_token_id = end[0] if isinstance(end, list) else end
    return model.config.pad_token_id


def _most_tokens(model: "PreTrainedModel") -> int | None:
    """How many it sees. RoBERTa's kind counts positions from the one behind that of padding."""
    most = getattr(model.config, "max_position_embeddings", None)
    places = (m for name, m in model.named_modules() if name.endswith(".position_embeddings"))
    taken = getattr(next(places, None), "padding_idx", None)
    return most if most is None or taken is None else most - taken - 1


def _auto(head: str) -> Any:
    transformers = library("transformers", "hf", "model=hf")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return getattr(transformers, _HEADS[head])


def _folder(pretrained: str, with_tensors: bool) -> str:
    """A node needs no tensors: it is sent what it does not find."""
    folder = Path(pretrained)
    if not folder.is_dir():
        raise SettingError(
            f"model.pretrained={pretrained} ({folder.resolve()}) is no folder: download the model "
            "first, such as with hf download NAME --local-dir FOLDER, for nothing is fetched while "
            "a job runs"
        )
    for needed in ["config.json", *(["*.safetensors"] if with_tensors else [])]:
        if not any(folder.glob(needed)):
            raise SettingError(
                f"model.pretrained={pretrained} has no {needed}: give a folder that "
                "save_pretrained of transformers has written, of a model that adapters are merged "
                "into"
            )
    if (folder / "adapter_config.json").exists():  # nodes would make the model without them
        raise SettingError(
            f"model.pretrained={pretrained} has an adapter_config.json: merge these adapters into "
            "the model (merge_and_unload of peft), or take that file out of the folder"
        )
    return pretrained


def _config(given: str | Mapping[str, Any], num_labels: int | None) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    labels = {} if num_labels is None else {"num_labels": num_labels}
    if isinstance(given, str) and not Path(given).exists():
        raise SettingError(
            f"model.config={given} does not exist: give the path of a config.json, "
            "or a mapping such as model.config={model_type: llama, hidden_size: 64}"
        )
    if not isinstance(given, str) and "model_type" not in given:
        raise SettingError("model.config has no model_type, such as llama, gpt2 or bert: give one")
    if not isinstance(given, str) and (kind := given["model_type"]) not in CONFIG_MAPPING:
        near = difflib.get_close_matches(str(kind), CONFIG_MAPPING.keys(), n=1)
        meant = f": {near[0]} may be meant" if near else ""
        raise SettingError(f"model.config: transformers has no model_type {kind}{meant}")
    with refusing("model.config cannot be read (code that a folder brings is never run)"):
        if isinstance(given, str):
            return AutoConfig.from_pretrained(
                given, local_files_only=True, trust_remote_code=False, **labels
            )
        usual = AutoConfig.for_model(given["model_type"])
        config = AutoConfig.for_model(**{**given, **labels})
    _check_names(given, usual)
    return config


def _check_names(given: Mapping[str, Any], usual: Any) -> None:
    """The library takes any name, and uses those that it knows: what is nearly one of these was
    meant to be it. Ids of tokens may be given to any."""
    known = {**vars(usual), **usual.attribute_map}
    left = [name for name in known if name not in given and name[0] != "_"]
    for name in (name for name in given if not name.endswith("_token_id")):
        near = difflib.get_close_matches(name, left, n=1, cutoff=_NEAR)
        if near and not hasattr(usual, name):
            raise SettingError(
                f"model.config: {given['model_type']} has no {name}: {near[0]} may be meant"
            )


def _build(auto: Any, settings: Any) -> "PreTrainedModel":
    with refusing(f"model=hf: {auto.__name__} of {settings.model_type} (see model.head)"):
        return auto.from_config(settings, dtype=torch.float32, trust_remote_code=False)


def _load(auto: Any, folder: Path, settings: Any) -> "PreTrainedModel":
    """With every tensor of the model from the folder, but for the head of a new classifier, to
    which the pooler belongs: models of the masked kind have none."""
    with refusing(f"model.pretrained={folder} cannot be loaded"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, loading_info = auto.from_pretrained(
            folder,
            config=settings,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    missing = sorted(loading_info["missing_keys"])
    if auto.__name__ == _HEADS["classifier"]:
        base = f"{model.base_model_prefix}."
        body = (name for name in missing if name.startswith(base))
        missing = [name for name in body if not name.startswith(f"{base}pooler.")]
    if missing:
        raise SettingError(
            f"model.pretrained={folder} lacks {missing[0]} ({len(missing)} tensors): see model.head"
        )
    if odd := sorted(loading_info["mismatched_keys"]):
        name, theirs, ours = odd[0]
        raise SettingError(
            f"model.pretrained={folder}: {name} is {tuple(theirs)}, and its config.json, or "
            f"model.num_labels, says {tuple(ours)}: the two do not belong together"
        )
    return model


def _untie(model: "PreTrainedModel") -> None:
    """Another architecture then, and its configuration says so. With the embeddings go all ties of
    the head, such as of its bias: nobody who loads the model would make these again."""
    known = {id(parameter) for parameter in model.base_model.parameters()}
    for name, parameter in [*model.named_parameters(remove_duplicate=False)]:
        if name.startswith(f"{model.base_model_prefix}."):
            continue
        if id(parameter) in known:
            owner, _, kind = name.rpartition(".")
            own = nn.Parameter(parameter.detach().clone())
            setattr(model.get_submodule(owner), kind, own)
        known.add(id(parameter))
    model.config.tie_word_embeddings = False


def _with_adapters(model: "PreTrainedModel", lora: Mapping[str, Any], head: str) -> "PeftModel":
    peft = library("peft", "hf", "model.lora")
    targets = lora["targets"] if isinstance(lora["targets"], str) else list(lora["targets"])
    # a classifier's head is new, so it is trained itself
    new = _parts_of_head(model) if head == "classifier" else []
    with refusing("model.lora (see model.lora.targets and rank)", (ValueError, TypeError)):
        chosen = peft.LoraConfig(
            r=lora["rank"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            target_modules=targets,
            exclude_modules=new,
            modules_to_save=new,
            task_type=_PEFT_TASKS[head],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the library decides by itself
            adapted = peft.get_peft_model(model, chosen)
    _check_named(targets, adapted.targeted_module_names)
    return adapted


def _check_named(targets: str | list[str], found: list[str]) -> None:
    """The library is content with one of several names."""
    for target in targets if isinstance(targets, list) else []:
        if not any(f".{name}".endswith(f".{target}") for name in found):
            raise SettingError(
                f"model.lora.targets: the model has no layer {target} that takes an adapter"
            )


def _parts_of_head(model: "PreTrainedModel") -> list[str]:
    """The names of those that have parameters."""
    parts = {name: list(part.parameters()) for name, part in model.named_children()}
    return [name for name, own in parts.items() if own and name != model.base_model_prefix]


def _blocks(model: "PreTrainedModel | PeftModel", padding: int | None) -> list[nn.Module]:
    return blocks_of_hf(_base(model), padding)


def _base(model: "PreTrainedModel | PeftModel") -> "PreTrainedModel":
    """Without what peft has put around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _fill_constants(model: "PreTrainedModel | PeftModel", part: nn.Module) -> None:
    """Compute what follows from the configuration, such as rotary tables, which no file and no
    message has.

    The only place that knows them is the function that initialises modules; it leaves alone the
    parameters of those that have such buffers, or values for them are still to come.
    """
    for module in part.modules():
        if module._non_persistent_buffers_set and module._buffers:
            _base(model)._init_weights(module)
