"""The data and models of the cases of `tdml bench detection`, as settings for `tdml train`. Imports
nothing: the command line names them."""

_TEXT = ["task=language", "data=text", "data.context=32", "train=adamw", "train.lr=0.003"]
_LLAMA = (
    "model_type: llama, vocab_size: 256, hidden_size: 32, intermediate_size: 64, "
    "num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 32"
)
SETTINGS = {
    "digits-mlp": [
        "data=digits",
        "data.size=8",
        "model=mlp",
        "model.features=192",
        "model.hidden=64",
        "model.depth=2",
    ],
    "digits-cnn": ["data=digits", "data.size=16", "model=cnn", "model.width=16"],
    "cifar-cnn": ["data=cifar10", "model=cnn", "model.width=16"],
    "text-gpt": [*_TEXT, "model=gpt", "model.layers=2", "model.width=32", "model.heads=2"],
    "hf-llama-tiny": [*_TEXT, "model=hf", f"model.config={{{_LLAMA}}}"],
}
LANGUAGE = ("text-gpt", "hf-llama-tiny")
