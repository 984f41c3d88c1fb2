"""Old programs, migrated and then run: with SAGE's import paths, on the mock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sagellm_core.migrate import Settings, plan_migration, write

pytest.importorskip("sagellm_sage")
pytest.importorskip("sagellm_mock")

CONFIG = """\
generator:
  vllm:
    method: openai
    base_url: http://localhost:8000/v1
    model_name: Org/Model
    max_tokens: 8
    seed: 1
"""
READ = "import yaml\nconfig = yaml.safe_load(open('config.yaml'))\n"
PROGRAMS = {
    "prompt": """\
from sage.middleware.operators.llm import VLLMGenerator
gen = VLLMGenerator(service_name="vllm_service", timeout=30.0, default_options={"max_tokens": 4})
print(gen.execute(["Hello"])["generated"])
""",
    "tuple": """\
from sage.middleware.operators.llm import VLLMGenerator as VG
gen = VG("vllm_service", 30.0)
original, text = gen.execute(["the question", "Hello"])
assert original == "the question" and isinstance(text, str) and text
assert isinstance(gen.execute(["q", "Hello"])[1], str)
""",
    "dict": """\
import sage.middleware.operators.llm as ops
gen = ops.VLLMGenerator("vllm_service")
result = gen.execute([{"query": "q", "id": 7}, {"prompt": "Hello", "options": {"max_tokens": 4}}])
assert result["query"] == "q" and result.get("id") == 7 and result["usage"] and result["generated"]
""",
    "registry": """\
from sage.common.model_registry import vllm_registry
from sage.common.model_registry.vllm_registry import ModelNotFoundError
try:
    path = vllm_registry.get_model_path("not/there")
except ModelNotFoundError:
    path = "caught"
assert path == "caught"
assert vllm_registry.list_models() == []
""",
    "section": f"""\
from sage.libs.rag.generator import OpenAIGenerator
{READ}gen = OpenAIGenerator(config["generator"]["vllm"])
result = gen.execute([{{"query": "q"}}, "Hello"])
assert result["generated"] and result["query"] == "q"
assert result["usage"]["completion_tokens"] <= 8
""",
    "literal": """\
from sage.libs.rag.generator import OpenAIGenerator, HFGenerator
gen = OpenAIGenerator({"model_name": "a/b", "base_url": "http://localhost/v1", "seed": 3})
assert gen.execute(["q", [{"role": "user", "content": "Hello"}]])["generated"]
query, text = HFGenerator({"model_name": "a/b"}).execute(["q", "Hello"])
assert query == "q" and text
""",
    "script": """\
from vllm import LLM, SamplingParams
outputs = LLM(model="a/b").generate(["Hello"], SamplingParams(max_tokens=4))
assert outputs[0].outputs[0].text
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_old_program_runs_once_migrated(name: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "app.py").write_text(PROGRAMS[name])
    (work / "config.yaml").write_text(CONFIG)
    plans = plan_migration([work], Settings(model="Org/Model", backend="mock"))
    assert [finding for plan in plans for finding in plan.left] == []
    for plan in plans:
        write(plan)
    env = {key: value for key, value in os.environ.items() if not key.startswith("SAGE")}
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=work,
        env={**env, "HOME": str(tmp_path), "SAGELLM_BACKEND": "mock"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (work / "app.py").read_text() + done.stderr
