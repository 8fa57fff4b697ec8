"""What `tdml export` writes, read by others."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from tdml import cli
from tdml import config as settings
from tdml.common.vision import mend_torchvision
from tdml.models.whole import initial_model
from tdml.settings.file import to_yaml

IDS = torch.randint(1, 60, (2, 9), generator=torch.Generator().manual_seed(0))


def leave_run(run: Path, *overrides: str) -> torch.nn.Module:
    """What export reads of a run; its model."""
    config = settings.load([*overrides, f"run_dir={run}"])
    model = initial_model(config.model, 3)
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(config))
    torch.save(model.state_dict(), run / "model.pt")
    return model.eval()


def exported(folder: Path, model: torch.nn.Module, auto: type) -> torch.nn.Module:
    """What `from_pretrained` makes of a run's export, once the model is no longer as it began."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    torch.save(model.state_dict(), folder / "run" / "model.pt")
    assert cli.run(["export", str(folder / "run"), str(folder / "out")]) == 0
    loaded, found = auto.from_pretrained(folder / "out", output_loading_info=True)
    assert not any(found.values()), found
    return loaded.eval()


def transformers():
    mend_torchvision()
    return pytest.importorskip("transformers", reason="needs pip install 'tdml[hf]'")


def test_any_model_is_safetensors_in_a_file_or_a_folder(tmp_path: Path) -> None:
    model = leave_run(tmp_path / "run", "model=cnn")
    for out, file in (("x.safetensors", "x.safetensors"), ("folder", "folder/model.safetensors")):
        assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / out)]) == 0
        found = load_file(tmp_path / file)
        assert found.keys() == model.state_dict().keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
        readable_by = (tmp_path / "run" / "model.pt").stat().st_mode
        assert (tmp_path / file).stat().st_mode == readable_by, "whoever may read other files"


@pytest.mark.parametrize("tied", [True, False])
def test_the_small_gpt_is_a_gpt2_of_transformers(tied: bool, tmp_path: Path) -> None:
    auto = transformers().AutoModelForCausalLM
    model = leave_run(
        tmp_path / "run",
        "model=gpt",
        "model.layers=2",
        "model.width=32",
        "model.context=16",
        f"model.tied={tied}",
    )
    loaded = exported(tmp_path, model, auto)
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS).logits, model(IDS), rtol=1e-5, atol=1e-5)
        assert (loaded.lm_head.weight is loaded.transformer.wte.weight) is tied


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_of_transformers_loads_as_what_it_was(tied: bool, tmp_path: Path) -> None:
    auto = transformers().AutoModelForCausalLM
    model = leave_run(
        tmp_path / "run",
        "model=hf",
        "model.config={model_type: llama, vocab_size: 64, hidden_size: 16, "
        f"intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, tie_word_embeddings: {tied}}}",
    )
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    loaded, found = auto.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(found.values()), found
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) is tied


@pytest.mark.parametrize(
    ("kind", "head"), [("llama", "causal"), ("roberta", "masked"), ("bert", "masked")]
)
def test_embeddings_that_became_two_are_two(kind: str, head: str, tmp_path: Path) -> None:
    """With all else that was tied in the head, such as its bias."""
    auto = transformers().AutoModelForCausalLM
    auto = auto if head == "causal" else transformers().AutoModelForMaskedLM
    small = "hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2"
    model = leave_run(
        tmp_path / "run", "model=hf", "model.untie=true", f"model.head={head}",
        f"model.config={{model_type: {kind}, vocab_size: 64, {small}, tie_word_embeddings: true}}",
    )  # fmt: skip
    loaded = exported(tmp_path, model, auto)
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


@pytest.mark.filterwarnings("error:Setting `save_embedding_layers`")  # which nobody has asked for
@pytest.mark.parametrize("targets", ["all-linear", "[embed_tokens,q_proj]"])
def test_adapters_are_what_peft_reads(targets: str, tmp_path: Path) -> None:
    auto = transformers().AutoModelForCausalLM
    peft = pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    saved = tmp_path / "base_target_"  # whose name is no setting
    _save_llama(saved)
    model = leave_run(
        tmp_path / "run", "model=hf", f"model.pretrained={saved}", "model.lora.rank=4",
        f"model.lora.targets={targets}",
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    torch.save(model.state_dict(), tmp_path / "run" / "model.pt")
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    base = auto.from_pretrained(saved).eval()
    before = base(IDS).logits
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert not torch.allclose(loaded(IDS).logits, before, atol=1e-3)


def test_adapters_of_a_model_from_scratch_are_merged(tmp_path: Path) -> None:
    """It lies nowhere else: adapters alone could not be used."""
    auto = transformers().AutoModelForCausalLM
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    small = "vocab_size: 64, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2"
    model = leave_run(
        tmp_path / "run", "model=hf", "model.lora.rank=4",
        f"model.config={{model_type: llama, {small}, num_attention_heads: 2}}",
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1 * ("lora_" in name))
    torch.save(model.state_dict(), tmp_path / "run" / "model.pt")
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    loaded, found = auto.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(found.values()), found
    torch.testing.assert_close(loaded.eval()(IDS).logits, model(IDS).logits)


def _save_llama(folder: Path) -> None:
    settings_ = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32}
    more = {"num_hidden_layers": 2, "num_attention_heads": 2, "tie_word_embeddings": True}
    config = transformers().AutoConfig.for_model("llama", **settings_, **more)
    transformers().AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def test_what_is_no_finished_run_is_named(tmp_path: Path, capsys) -> None:
    assert cli.run(["export", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "model.pt does not exist: give the folder of a finished run" in capsys.readouterr().err


def spoil(run: Path, group: str, given: object) -> None:
    found = yaml.safe_load((run / "config.yaml").read_text())
    found[group] = found[group] | given if isinstance(given, dict) else given
    (run / "config.yaml").write_text(yaml.safe_dump(found))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda run: (run / "config.yaml").write_text("a: [1"),
            "is not a run, or is damaged: config.yaml",
        ),
        (
            lambda run: (run / "config.yaml").write_text("[1, 2]"),
            "is not a run, or is damaged: config.yaml has no name",
        ),
        (lambda run: (run / "config.yaml").write_text(""), "damaged: config.yaml has no name"),
        (
            lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"),
            "is not a run, or is damaged: config.yaml",
        ),
        (
            lambda run: (run / "config.yaml").write_text("x: ${y"),
            "is not a run, or is damaged: config.yaml",
        ),
        (lambda run: (run / "config.yaml").unlink(), "is not a run, or is damaged: config.yaml"),
        (lambda run: spoil(run, "model", {"layers": 3}), "does not fit config.yaml"),
        (lambda run: spoil(run, "model", {"layers": "x"}), "does not fit config.yaml"),
        (lambda run: spoil(run, "model", 5), "config.yaml does not say"),
        (lambda run: spoil(run, "data", {"tokenizer": [1]}), "config.yaml does not say"),
        (lambda run: (run / "model.pt").write_bytes(b"\x00"), "model.pt"),
    ],
)
def test_a_damaged_run_is_named_in_one_line(spoil, message, tmp_path: Path, capsys) -> None:
    leave_run(tmp_path / "run", "model=gpt", "model.layers=2", "model.width=32")
    spoil(tmp_path / "run")
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize("out", ["x.safetensors", "folder"])
def test_a_model_that_cannot_be_written_is_said_in_one_line(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: safetensors has an error of its own for that."""
    leave_run(tmp_path / "run", "model=cnn")

    def full(tensors: dict, file: Path, metadata: dict) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / out)]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"tdml: {tmp_path / out} cannot be written: I/O error: No space left on device "
        "(os error 28)\n"
    )


@pytest.mark.parametrize("out", ["notes", "notes/folder", "notes/x.safetensors"])
def test_where_there_is_a_file_already_no_folder_is_made(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    leave_run(tmp_path / "run", "model=cnn")
    (tmp_path / "notes").write_text("mine")
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / out)]) == 1
    assert "cannot be written: there is a file of that name\n" in capsys.readouterr().err
    assert (tmp_path / "notes").read_text() == "mine"


def test_what_looks_like_a_file_of_another_format_does_not_become_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    leave_run(tmp_path / "run", "model=cnn")
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "model.pt")]) == 1
    assert "model.pt: give a NAME.safetensors, or a folder" in capsys.readouterr().err
    assert not (tmp_path / "model.pt").exists()


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    leave_run(tmp_path / "run", "model=cnn")
    out = tmp_path / "a" / "b" / "x.safetensors"
    assert cli.run(["export", str(tmp_path / "run"), str(out)]) == 0
    assert out.is_file()


def test_a_strangers_run_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Nor has it a file of this machine copied into what one hands on."""
    transformers()
    leave_run(tmp_path / "run", "model=cnn")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    victim, secret = tmp_path / "victim", tmp_path / "secret"
    victim.mkdir()
    secret.write_text('{"user": "me", "token": "x"}')
    nested = {"_target_": "shutil.rmtree", "path": str(victim)}
    for lora in (nested, {"rank": [nested]}, {"rank": {"a": nested}}):
        config["model"] = {"_target_": "tdml.models.hf", "config": None, "lora": lora}
        (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
        assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 1
        assert "has a _target_ of its own" in capsys.readouterr().err
        assert victim.is_dir()
    config["model"]["lora"] = {b"rank": 1}  # whose names are no text
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 1
    config["model"], config["data"]["tokenizer"] = {"_target_": "tdml.models.cnn"}, str(secret)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "tokenizer.json").exists()


@pytest.mark.parametrize("what", ["pipe", "device", "aliases", "environment", "large"])
@pytest.mark.timeout(20)
def test_settings_that_no_run_writes_are_one_line(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_run(tmp_path / "run", "model=cnn")
    file = tmp_path / "run" / "config.yaml"
    text = file.read_text()
    file.unlink()
    monkeypatch.setenv("SECRET", "swordfish")
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    if what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file.symlink_to("/dev/zero")
    elif what == "aliases":
        file.write_text(f"a0: &a0 [x]\n{levels}\n{text}")
    elif what == "environment":
        file.write_text(text.replace("name:", "name: ${oc.env:SECRET} #", 1))
    else:
        file.write_text(text + "#" * (5 << 20))
    assert cli.run(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "is not a run, or is damaged: config.yaml" in said and said.count("\n") == 1
    assert "swordfish" not in said
