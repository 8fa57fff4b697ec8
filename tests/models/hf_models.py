"""Small models of Hugging Face's architectures, and jobs that train them."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset

from tdml import config as settings
from tdml.common.vision import mend_torchvision
from tdml.data.source import Source
from tdml.run.prepare import prepare
from tdml.tasks.objective import task_of

mend_torchvision()
pytest.importorskip("transformers", reason="needs pip install 'tdml[hf]'")

TINY = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": False,
}  # fmt: skip
GPT2 = {
    "vocab_size": 64, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32,
    "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
MORE = TINY | {
    "num_key_value_heads": 1, "head_dim": 8,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
UNTIED = {"tie_word_embeddings": False, "pad_token_id": 0}
FAMILIES = {
    "llama": TINY | {"num_key_value_heads": 1},
    "qwen2": TINY | {"num_key_value_heads": 1},
    "qwen3": TINY | {"num_key_value_heads": 1, "head_dim": 8},
    "mistral": TINY | {"num_key_value_heads": 1, "sliding_window": 4},
    "gpt2": GPT2,
    "phi": TINY | {"num_key_value_heads": 1, "embd_pdrop": 0.1},
    "gpt_neox": TINY | {"hidden_dropout": 0.1},
    "bloom": TINY | {"n_layer": 3, "n_head": 2},
    "opt": TINY | {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "bert": TINY,
    "electra": TINY | {"embedding_size": 8},
    # more is done with its logits
    "gemma2": MORE,
    "cohere": MORE,
    "deepseek_v3": MORE
    | {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8}
    | {"v_head_dim": 8, "num_key_value_heads": 2, "first_k_dense_replace": 3},
    "mpt": {"vocab_size": 64, "d_model": 16, "n_heads": 2, "n_layers": 3, "max_seq_len": 32}
    | UNTIED,
    "mamba": TINY | {"state_size": 4},
    "distilbert": {"vocab_size": 64, "dim": 16, "hidden_dim": 32, "n_layers": 3, "n_heads": 2}
    | UNTIED,
    "albert": TINY | {"embedding_size": 8, "num_hidden_groups": 1},
    "modernbert": TINY | {"pad_token_id": 0},
    "megatron-bert": TINY,
}
CAUSAL = [kind for kind in FAMILIES if not kind.endswith("bert") and kind != "electra"]
MASKED = [kind for kind in FAMILIES if kind not in CAUSAL]


class Tokens(Dataset):
    def __init__(self, count, length=13, labels=False, vocabulary=64, paddings=()):
        generator = torch.Generator().manual_seed(count)
        self.ids = torch.randint(1, vocabulary, (count, length), generator=generator)
        for number, padding in enumerate(paddings):  # of one sample after the other
            self.ids[number :: len(paddings), padding] = 0
        self.labels, self.vocabulary = labels, vocabulary

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        return (self.ids[index], index % 3) if self.labels else self.ids[index]


def config_of(kind, head, *overrides, **changes):
    task = {"causal": "language", "masked": "masked", "classifier": "classification"}[head]
    config = settings.load(
        [
            f"task={task}",
            "model=hf",
            f"model.head={head}",
            "topology.replicas=1",
            "train.batch_size=8",
            *overrides,
        ]
    )
    model = config.model | {
        "config": {"model_type": kind, **FAMILIES.get(kind, TINY), **changes},
        "num_labels": 3,
    }
    return replace(config, model=model)


def with_lora(config, **lora):
    return replace(config, model=config.model | {"lora": config.model["lora"] | {"rank": 4} | lora})


def job_of(config, **samples):
    labels = config.model["head"] == "classifier"
    source = Source(
        Tokens(40, labels=labels, **samples),
        Tokens(10, labels=labels, **samples),
        0,
        task_of(config),
    )
    return prepare(config, source, checkpoint=None)
