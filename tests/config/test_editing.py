"""Changing three keys of a section, and nothing else."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sagellm_core.config.automatic import plan
from sagellm_core.config.editing import with_values
from sagellm_core.config.problem import ProblemFound
from sagellm_core.contract import ConfigurationError

SECTION = "generator.sagellm"
VALUES: dict[str, str | int] = {"backend_type": "cpu", "model_path": "a/b", "max_tokens": 64}


def edit(text: str, values: dict[str, str | int] | None = None, section: str = SECTION) -> str:
    chosen = VALUES if values is None else values
    changed = with_values(Path("config.yaml"), text, section, chosen)
    assert with_values(Path("config.yaml"), changed, section, chosen) == changed
    return changed


BLOCK = "    backend_type: cpu\n    model_path: a/b\n    max_tokens: 64\n"
FLOW = "backend_type: cpu, model_path: a/b, max_tokens: 64"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "generator:\n  sagellm:\n" + BLOCK),
        ("# note", "# note\ngenerator:\n  sagellm:\n" + BLOCK),
        ("---\n", "---\ngenerator:\n  sagellm:\n" + BLOCK),
        ("a: 1", "a: 1\ngenerator:\n  sagellm:\n" + BLOCK),
        ("a: 1\n...\n", "a: 1\ngenerator:\n  sagellm:\n" + BLOCK + "...\n"),
        (
            "generator:\n  vllm: {x: 1} # keep\n# c\nb: 2\n",
            "generator:\n  vllm: {x: 1} # keep\n  sagellm:\n" + BLOCK + "# c\nb: 2\n",
        ),
        ("generator:\n", "generator:\n  sagellm:\n" + BLOCK),
        ("generator: # c\nb: 1\n", "generator: # c\n  sagellm:\n" + BLOCK + "b: 1\n"),
        ("generator:\n  sagellm: # c\n", "generator:\n  sagellm: # c\n" + BLOCK),
        ("generator:\n  sagellm: ~ # c\n", f"generator:\n  sagellm: {{{FLOW}}} # c\n"),
        ("generator: {}\n", f"generator: {{sagellm: {{{FLOW}}}}}\n"),
        ("{}", f"{{generator: {{sagellm: {{{FLOW}}}}}}}"),
        ("generator: {sagellm: }\n", f"generator: {{sagellm: {{{FLOW}}} }}\n"),
        (
            "generator: {sagellm: {top_k: 1}, x: 2} # c\n",
            f"generator: {{sagellm: {{top_k: 1, {FLOW}}}, x: 2}} # c\n",
        ),
        (
            "generator:\n  sagellm:\n    max_tokens: 9 # c\n    # d\n    backend_type: 'x'\n",
            "generator:\n  sagellm:\n    max_tokens: 64 # c\n    # d\n    backend_type: cpu\n"
            "    model_path: a/b\n",
        ),
        (
            "generator:\n  sagellm:\n    model_path:\n    backend_type: # c\n    max_tokens: 64\n",
            "generator:\n  sagellm:\n    model_path: a/b\n    backend_type: cpu # c\n"
            "    max_tokens: 64\n",
        ),
        (
            "generator:\n  sagellm:\n    model_path: >-\n      old\n      er\n"
            "    backend_type: cpu\n    max_tokens: 64\n",
            "generator:\n  sagellm:\n    model_path: a/b\n    backend_type: cpu\n"
            "    max_tokens: 64\n",
        ),
        (
            "m: &m old\ngenerator:\n    sagellm:\n        model_path: *m\n",
            "m: &m old\ngenerator:\n    sagellm:\n        model_path: a/b\n"
            "        backend_type: cpu\n        max_tokens: 64\n",
        ),
        (
            "b: &b {backend_type: cpu, x: 1}\ngenerator:\n  sagellm:\n    <<: *b\n",
            "b: &b {backend_type: cpu, x: 1}\ngenerator:\n  sagellm:\n    <<: *b\n"
            "    model_path: a/b\n    max_tokens: 64\n",
        ),
        (
            "generator:\n  sagellm:\n    stop: |+\n      x\n\nz: 1\n",
            "generator:\n  sagellm:\n    stop: |+\n      x\n\n" + BLOCK + "z: 1\n",
        ),
        (
            "l: &l [1]\ngenerator:\n  a:\n  - 1\n  - *l\n# c\n",
            "l: &l [1]\ngenerator:\n  a:\n  - 1\n  - *l\n  sagellm:\n" + BLOCK + "# c\n",
        ),
        ("\ufeffa: 1\r\n", "\ufeffa: 1\r\ngenerator:\r\n  sagellm:\r\n"
         + BLOCK.replace("\n", "\r\n")),
        ("\ufeff", "\ufeffgenerator:\n  sagellm:\n" + BLOCK),
    ],
)  # fmt: skip
def test_where_it_is_written(before: str, after: str) -> None:
    assert edit(before) == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\n", "not valid"),
        ("a: 1\na: 2\n", "twice"),
        ("- 1\n", "a list stands where"),
        ("generator: 5\n", "a single value stands where"),
        ("generator: {sagellm: {? [a] : 1, model_path: &m x}, y: *m}\n", "changed by itself"),
        ("generator: {sagellm: [1]}\n", "a list stands where"),
        ("generator:\n  sagellm:\n    model_path:\n      a: 1\n", "model_path is a mapping"),
        # The value is an anchor that is used elsewhere.
        (
            "generator:\n  sagellm:\n    model_path: &m old\nother: *m\n",
            "cannot be changed by itself",
        ),
        # An explicit section would hide the keys of the one that is merged in.
        (
            "b: &b\n  sagellm: {top_k: 5}\ngenerator:\n  <<: *b\n",
            "something else would change",
        ),
        # The section is used elsewhere too.
        ("generator:\n  sagellm: &s {top_k: 5}\nother: *s\n", "something else would change"),
        ("s: &s {top_k: 5}\ngenerator:\n  sagellm: *s\n", "something else would change"),
    ],
)
def test_what_cannot_be_changed_is_left(text: str, said: str) -> None:
    with pytest.raises(ProblemFound, match=said) as caught:
        edit(text)
    assert caught.value.problem.hint


@pytest.mark.parametrize("content", ["- 1\n", "generator: 5\n", "generator: {sagellm: [1]}\n"])
def test_a_plan_says_what_stands_where_the_section_belongs(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    change = plan(file, "generator.sagellm")
    with pytest.raises(ConfigurationError, match="stands where the section"):
        change.work_out(backend="mock", model="any", max_tokens=8)
    assert file.read_text() == content


ODD_WORDS = (
    "cpu a/b@c no 1e3 0x1 null 2024-01-01 x: {a} [ *x &x !x @ % ' \" - ? a,b ~ 👋 = << 1_0 1:30"
)


@pytest.mark.parametrize("value", [*ODD_WORDS.split(), "/a b", "x: y", "a #b", "é\n\x07", "", " "])
@pytest.mark.parametrize("text", ["", "generator: {sagellm: {model_path: x}}"])
def test_any_text_is_written_so_that_it_comes_back(value: str, text: str) -> None:
    changed = edit(text, {"model_path": value})
    assert yaml.safe_load(changed)["generator"]["sagellm"] == {"model_path": value}


def test_another_section() -> None:
    assert edit("x: 1\n", {"a": 1}, "llm") == "x: 1\nllm:\n  a: 1\n"
    assert yaml.safe_load(edit("", {"a": 1}, "x: y.[.# z")) == {"x: y": {"[": {"# z": {"a": 1}}}}
    assert yaml.safe_load(edit("", {"a": 1}, "a.b.c")) == {"a": {"b": {"c": {"a": 1}}}}


SCALARS = st.sampled_from(
    ["x", "two words", "a: b", "# no comment", "tab\there", "é👋", "yes", "line\nbreak\n", "",
     5, -1.5, True, None]
)  # fmt: skip
KEYS = st.sampled_from(["vllm", "top_k", "hooks", "k", "a b", "é", "backend", "x#y"])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
OLD = st.dictionaries(
    st.sampled_from([*VALUES, "temperature", "stop"]), SCALARS | st.lists(SCALARS), max_size=5
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """YAML with comments, of many a style."""
    tree: dict[str, Any] = draw(st.dictionaries(KEYS, TREES, max_size=3))
    shape = draw(st.sampled_from(["none", "null", "other", "section", "section", "section"]))
    if shape != "none":
        inner = draw(st.dictionaries(KEYS, TREES, max_size=2))
        if shape == "section":
            inner["sagellm"] = draw(OLD | st.none())
        tree["generator"] = None if shape == "null" else inner
        if draw(st.booleans()):
            tree["after"] = draw(TREES)
    text = yaml.safe_dump(
        tree,
        sort_keys=draw(st.booleans()),
        default_flow_style=draw(st.sampled_from([True, False, None])),
        indent=draw(st.integers(2, 6)),
        width=draw(st.sampled_from([10, 80, 1000])),
        allow_unicode=draw(st.booleans()),
        explicit_start=draw(st.booleans()),
        explicit_end=draw(st.booleans()),
    )
    if draw(st.booleans()):
        # Comments, wherever the document does not change by them.
        lines = text.split("\n")
        for number in draw(st.lists(st.integers(0, len(lines)), max_size=4)):
            indent = " " * draw(st.integers(0, 6))
            tried = [*lines[:number], f"{indent}# c{number}", *lines[number:]]
            try:
                if yaml.safe_load("\n".join(tried)) == tree:
                    lines = tried
            except yaml.YAMLError:
                continue
        text = "\n".join(lines)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return text


@settings(deadline=None)
@given(documents())
def test_nothing_outside_the_three_keys_changes(text: str) -> None:
    tree = yaml.safe_load(text) or {}
    old = (tree.get("generator") or {}).get("sagellm") or {}
    if any(isinstance(old.get(key), list) and old.get(key) for key in VALUES):
        return  # refused, or replaced; tested above
    changed = edit(text)
    expected = {
        **tree,
        "generator": {**(tree.get("generator") or {}), "sagellm": {**old, **VALUES}},
    }
    found = yaml.safe_load(changed)
    assert found == expected
    assert [key for key in found if key in tree] == list(tree)
    # Of the text only lines with one of the keys, or with what was empty, may have changed.
    for line in difflib.ndiff(text.splitlines(), changed.splitlines()) if "{" not in text else ():
        if line.startswith("- "):
            stripped = line[2:].strip()
            assert stripped.startswith((*VALUES, "sagellm:", "generator:")) or _continues(stripped)
    comments = [line for line in text.splitlines() if line.strip().startswith("# c")]
    kept = [line for line in changed.splitlines() if line.strip().startswith("# c")]
    assert kept == comments
    assert ("\r\n" in changed) == ("\r\n" in text)
    assert changed.replace("\r\n", "").count("\n") == 0 or "\r\n" not in changed


def _continues(line: str) -> bool:
    """Whether a line belongs to a scalar of several lines that was the value of a key."""
    return not line or ":" not in line or line[0] in "\"'|>"
