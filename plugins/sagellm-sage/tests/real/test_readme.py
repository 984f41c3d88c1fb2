"""The README's pipelines, as written there but for the model."""

from __future__ import annotations

from pathlib import Path

_README = Path(__file__).parents[2] / "README.md"
_HEADINGS = {
    "isage==0.3.2.4": "## A pipeline on isage 0.3",
    "isage-kernel==0.2.5.3": "## A pipeline on isage-kernel 0.2",
}
_MODEL = '"Qwen/Qwen2.5-0.5B-Instruct"'


def _first_code_after(heading: str) -> str:
    after = _README.read_text().split(heading, 1)[1]
    return after.split("```python\n", 1)[1].split("```", 1)[0]


def test_first_lines(run, smollm2) -> None:
    code = _first_code_after("# sagellm-sage")
    assert _MODEL in code
    activate = "import sagellm_sage; sagellm_sage.activate()\n"
    done = run("-W", "default", "-c", activate + code.replace(_MODEL, repr(smollm2)))
    assert "completion_tokens" in done.stdout


def test_pipeline(real_sage, run, smollm2, tmp_path) -> None:
    code = _first_code_after(_HEADINGS[real_sage])
    assert _MODEL in code
    program = tmp_path / "program.py"
    program.write_text(code.replace(_MODEL, repr(smollm2)))
    done = run("-W", "default", str(program))
    # Two sampled answers of up to 32 tokens; what else SAGE prints has marks of its own.
    assert len(done.stdout.split()) > 8
