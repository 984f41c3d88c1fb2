"""The hooks, called as core calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sagellm_cpu import plugin

from sagellm_core.contract import (
    DeviceClass,
    DeviceState,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    Severity,
)

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 128,
}

BERT: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 128,
}


def _described(config: dict[str, Any], **changes: Any) -> ModelDescription:
    return ModelDescription(
        **{
            "reference": "somewhere/model",
            "format": ModelFormat.SAFETENSORS,
            "path": Path("somewhere/model"),
            "model_type": config["model_type"],
            "architecture": (config.get("architectures") or [""])[0],
            "config": config,
            **changes,
        }
    )


def test_who_we_are() -> None:
    info = plugin.sagellm_plugin_info()
    assert info.name == "cpu"
    assert info.device_class is DeviceClass.CPU
    assert info.capabilities == {"generate", "logprobs", "embed"}


def test_there_is_one_usable_device(tmp_path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name : Made CPU\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4 kB\nMemAvailable: 2 kB\n")
    (device,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert (device.id, device.state, device.name) == ("cpu", DeviceState.USABLE, "Made CPU")
    assert (device.memory_total, device.memory_free) == (4096, 2048)


def test_a_device_without_proc(tmp_path) -> None:
    (device,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert device.state is DeviceState.USABLE
    assert device.memory_free is None


def test_it_can_load_what_the_decoder_covers(device) -> None:
    answer = plugin.sagellm_can_load(_described(LLAMA), device)
    assert answer.verdict is LoadVerdict.YES
    weights = 2 * (4 * 64 * 64 + 3 * 64 * 96) + 2 * 100 * 64
    assert answer.bytes_needed == 4 * (weights + 512 * 2 * 2 * 64)
    # A tied head costs no weights of its own, but a packed copy.
    tied = plugin.sagellm_can_load(_described({**LLAMA, "tie_word_embeddings": True}), device)
    assert tied.bytes_needed == answer.bytes_needed


def test_an_encoder_only_embeds(device) -> None:
    answer = plugin.sagellm_can_load(_described(BERT), device)
    assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, {"embed"})
    assert answer.bytes_needed == 4 * 64 * (2 * (4 * 64 + 2 * 96) + 100 + 128 + 2)


def test_a_decoder_generates_and_embeds(device) -> None:
    assert plugin.sagellm_can_load(_described(LLAMA), device).capabilities is None


@pytest.mark.parametrize(
    ("architecture", "tensors", "tied", "expected"),
    [
        ("LlamaModel", ["embed_tokens.weight"], False, {"embed"}),
        ("LlamaForCausalLM", ["embed_tokens.weight"], False, {"embed"}),
        ("LlamaModel", ["embed_tokens.weight"], True, None),
        ("LlamaForCausalLM", ["model.embed_tokens.weight", "lm_head.weight"], False, None),
    ],
)
def test_a_decoder_without_output_layer_only_embeds(
    device, tmp_path, architecture, tensors, tied, expected
) -> None:
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps(dict.fromkeys(tensors, tensor)).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    config = {**LLAMA, "architectures": [architecture], "tie_word_embeddings": tied}
    answer = plugin.sagellm_can_load(_described(config, path=tmp_path), device)
    assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, expected)


def test_a_decoder_whose_way_to_embed_is_not_computed_generates(device, tmp_path) -> None:
    entry = {"path": "", "type": "sentence_transformers.models.WordWeights"}
    (tmp_path / "modules.json").write_text(json.dumps([entry]))
    answer = plugin.sagellm_can_load(_described(LLAMA, path=tmp_path), device)
    assert answer.capabilities == {"generate", "logprobs"}
    answer = plugin.sagellm_can_load(_described(BERT, path=tmp_path), device)
    assert answer.verdict is LoadVerdict.NO
    assert "WordWeights" in answer.reason


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**BERT, "position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({**BERT, "model_type": "nomic_bert", "architectures": ["NomicBertModel"]}, "nomic_bert"),
        ({**LLAMA, "model_type": "rwkv", "architectures": ["RwkvForCausalLM"]}, "RwkvForCausalLM"),
        ({**LLAMA, "rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "dynamic"),
        ({**LLAMA, "hidden_size": None}, "hidden_size"),
    ],
)
def test_it_says_why_it_cannot_load_the_rest(device, config, named) -> None:
    answer = plugin.sagellm_can_load(_described(config), device)
    assert answer.verdict is LoadVerdict.NO
    assert named in answer.reason
    assert answer.hint


def test_gguf_by_its_architecture(device) -> None:
    known = _described({"model_type": "qwen2"}, format=ModelFormat.GGUF, parameter_count=1000)
    answer = plugin.sagellm_can_load(known, device)
    assert (answer.verdict, answer.bytes_needed) == (LoadVerdict.YES, 4000)
    foreign = _described({"model_type": "bert"}, format=ModelFormat.GGUF)
    answer = plugin.sagellm_can_load(foreign, device)
    assert answer.verdict is LoadVerdict.NO
    assert "GGUF" in answer.reason


def test_an_unresolved_model(device) -> None:
    model = ModelDescription(reference="anything", format=ModelFormat.UNRESOLVED)
    answer = plugin.sagellm_can_load(model, device)
    assert answer.verdict is LoadVerdict.NO
    assert "'anything'" in answer.reason


def test_findings(device) -> None:
    findings = plugin.sagellm_diagnose(device)
    assert len(findings) == 4
    assert all(finding.severity is not Severity.ERROR for finding in findings)
    assert any("Threads" in finding.message for finding in findings)


def test_diagnosis_without_a_compiler(device, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    (found,) = [f for f in plugin.sagellm_diagnose(device) if "kernels" in f.message]
    assert found.severity is Severity.WARNING
    assert "g++" in found.hint


def test_probing_imports_no_torch() -> None:
    script = f"""
import sys
from pathlib import Path
from sagellm_cpu import plugin
from sagellm_core.contract import ModelDescription, ModelFormat
plugin.sagellm_plugin_info()
(device,) = plugin.sagellm_detect_devices({{}}, Path("/"))
for config in ({LLAMA!r}, {BERT!r}):
    model = ModelDescription(reference="x", format=ModelFormat.SAFETENSORS, path=Path("/nowhere"),
                             model_type=config["model_type"], config=config)
    assert plugin.sagellm_can_load(model, device).verdict == "yes"
plugin.sagellm_diagnose(device)
print(*[name for name in ("torch", "numpy", "transformers", "pydantic") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


def test_large_decoders_are_expected_in_8_bits(device, monkeypatch, tmp_path) -> None:
    config = {**LLAMA, "num_hidden_layers": 2000}
    model = ModelDescription(
        reference="x",
        format=ModelFormat.SAFETENSORS,
        path=tmp_path,
        model_type="llama",
        config=config,
    )
    with_compiler = plugin.sagellm_can_load(model, device).bytes_needed
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    without = plugin.sagellm_can_load(model, device).bytes_needed
    assert with_compiler is not None
    assert without is not None
    assert with_compiler < without * 0.8
