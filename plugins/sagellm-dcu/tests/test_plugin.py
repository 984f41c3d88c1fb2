"""The hooks, called as core calls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sagellm_dcu import plugin
from sagellm_dcu.fitness import build_problem
from sagellm_torch.torch_build import installed_torch

from sagellm_core.contract import (
    DeviceClass,
    DeviceInfo,
    DeviceState,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
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
DEVICE = DeviceInfo(id="dcu:0", state=DeviceState.USABLE)
MODEL = ModelDescription(
    reference="somewhere/model",
    format=ModelFormat.SAFETENSORS,
    path=Path("somewhere/model"),
    model_type="llama",
    architecture="LlamaForCausalLM",
    config=LLAMA,
)


def test_who_we_are() -> None:
    info = plugin.sagellm_plugin_info()
    assert (info.name, info.device_class) == ("dcu", DeviceClass.ACCELERATOR)
    assert info.capabilities == {"generate", "logprobs", "embed"}


def test_this_environments_torch_decides_whether_anything_loads() -> None:
    answer = plugin.sagellm_can_load(MODEL, DEVICE)
    problem = build_problem(installed_torch())
    if problem is None:
        assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, None)
    else:
        assert (answer.verdict, answer.reason) == (LoadVerdict.NO, problem.reason)
        assert answer.hint


def _in_another_environment(place: Path, toolkit: str, code: str) -> str:
    """Run code where torch is a build for another toolkit, and whose import is an error."""
    (place / "torch").mkdir()
    (place / "torch/__init__.py").write_text("raise AssertionError('torch was imported')\n")
    (place / "torch/version.py").write_text(f"__version__ = '2.13.0'\n{toolkit} = '12.8'\n")
    script = f"import sys; sys.path.insert(0, {str(place)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_ANSWERED = f"""
from pathlib import Path
from sagellm_core.contract import DeviceInfo, DeviceState, ModelDescription, ModelFormat
from sagellm_dcu import plugin
device = DeviceInfo(id="dcu:0", state=DeviceState.USABLE)
def answer(config, **changes):
    told = dict(reference="x", format=ModelFormat.SAFETENSORS, path=Path("/nowhere"),
                model_type=config["model_type"], architecture=config["architectures"][0],
                config=config, weight_dtype="bfloat16") | changes
    return plugin.sagellm_can_load(ModelDescription(**told), device)
llama = {LLAMA!r}
"""


def test_with_a_build_for_hip(tmp_path) -> None:
    code = """
good = answer(llama)
assert (good.verdict, good.capabilities) == ("yes", None), good
weights = 2 * (4 * 64 * 64 + 3 * 64 * 96) + 2 * 100 * 64
assert good.bytes_needed == 2 * (weights + 512 * 2 * 2 * 64), good
floats = answer(llama, weight_dtype="float32")
assert floats.bytes_needed == good.bytes_needed, floats
packed = answer(llama, format=ModelFormat.GGUF, parameter_count=1000, weight_dtype="Q4_0")
assert packed.bytes_needed == 2000, packed
bad = answer({**llama, "rope_scaling": {"rope_type": "dynamic", "factor": 2}})
assert bad.verdict == "no" and "dynamic" in bad.reason and bad.hint, bad
unresolved = answer(llama, format=ModelFormat.UNRESOLVED)
assert unresolved.verdict == "no" and "'x'" in unresolved.reason, unresolved
print("good")
"""
    assert _in_another_environment(tmp_path, "hip", _ANSWERED + code) == "good\n"


def test_with_a_build_for_cuda(tmp_path) -> None:
    code = "told = answer(llama); print(told.verdict, told.reason, told.hint)"
    told = _in_another_environment(tmp_path, "cuda", _ANSWERED + code)
    assert told.startswith("no torch 2.13.0 is a build for cuda, not for HIP Install torch from")


def test_probing_imports_no_torch_and_leaves_the_process_alone() -> None:
    script = f"""
import os, sys, threading
from pathlib import Path
environment, folder = dict(os.environ), os.getcwd()
from sagellm_dcu import plugin
{_ANSWERED}
plugin.sagellm_plugin_info()
for _ in range(3):
    devices = plugin.sagellm_detect_devices(dict(os.environ), Path("/"))
answer(llama)
for device in devices:
    plugin.sagellm_diagnose(device)
assert threading.active_count() == 1
assert (dict(os.environ), os.getcwd()) == (environment, folder)
print(*[name for name in ("torch", "triton", "numpy", "pydantic") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("hook", ["sagellm_open_runner", "sagellm_open_embedder"])
def test_only_its_own_models_are_opened(hook) -> None:
    with pytest.raises(AssertionError, match="core hands back"):
        getattr(plugin, hook)(object(), None)
