"""Reading a section of a YAML file, and saying what is wrong in it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from sagellm_core.config import load_config, read_config_file, validate_file
from sagellm_core.config.document import parse_document
from sagellm_core.config.problem import ProblemFound
from sagellm_core.contract import ConfigurationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def problem(path: Path, content: str | bytes, section: str = "generator.sagellm") -> str:
    """The one problem of a file, as ``LINE:COLUMN: message | hint``."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (found,) = validate_file(path, section)
    assert found.hint
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, section)
    assert caught.value.message == f"{found.where}: {found.message}"
    place = f"{found.place.line}:{found.place.column}" if found.place else "-"
    return f"{place}: {found.message} | {found.hint}"


def section(text: str) -> str:
    return "generator:\n  sagellm:\n" + "".join(f"    {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (section("model_path: x\ntemprature: 0.5"), "4:5", "Did you mean 'temperature'?"),
        (section("model: x"), "3:5", "Did you mean 'model_path'?"),
        (section("Max-Tokens: 5"), "3:5", "Did you mean 'max_tokens'?"),
        (section("seed: 1"), "3:5", "default_options"),
        (section("zzzz: 1"), "3:5", "Known keys"),
        (section("1: 2"), "3:5", "Unknown configuration key 1."),
        (section("? [a, b]\n: 1"), "3:7", "unhashable key"),
        (section("max_tokens: many"), "3:17", "max_tokens='many' (str) is not valid"),
        (section("max_tokens: 0"), "3:17", "at least 1"),
        (section("max_tokens: 10.0"), "3:17", "integer"),
        (section("max_tokens:"), "3:16", "max_tokens=None"),
        (section("top_p: 1.5"), "3:12", "at most 1"),
        (section("temperature: 1e-1"), "3:18", "without quotes and exponent: 0.1"),
        (section('top_k: "40"'), "3:12", "without quotes and exponent: 40"),
        (section("model_path: 2024-01-01"), "3:17", "takes this for date. Put it in quotes"),
        (section("backend_type: no"), "3:19", "takes this for bool. Put it in quotes"),
        (section("default_options:\n  top_k: 3\n  seed: x"), "5:13", "seed='x'"),
        (section("default_options:\n  sed: 1"), "4:7", "Did you mean 'seed'?"),
        (section("default_options: [1]"), "3:22", "default_options=[1] (list)"),
        (section("disable_plugins: [a, 5]"), "3:26", "disable_plugins.1=5"),
        (section("load_in_8bit: true\nquantization: int4"), "4:19", "contradicts"),
        (section("device: npu:x"), "3:13", "device number"),
        (section("model_path: !env X"), "3:17", "remove the tag"),
        (section("cache_dir: 2026-13-45"), "3:16", "cannot be read"),
    ],
)
def test_an_error_names_line_column_and_key(
    path: Path, content: str, place: str, said: str
) -> None:
    found = problem(path, content)
    assert found.startswith(f"{place}: ")
    assert said in found


def test_validate_lists_everything_in_order(path: Path) -> None:
    path.write_text(
        section("max_tokns: 5\ntop_p: 2\nengine_id: a\nengine_id: b\nquantization: int3")
        + "other: 1\nother: 2\n"
    )
    found = [problem.place.line for problem in validate_file(path) if problem.place]
    assert found == [3, 4, 6, 7, 9]


GOOD = "generator:\n  sagellm: {}\n"


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        ("generator:\n\tsagellm: {}\n", "2:1", "a tab stands where YAML allows spaces only"),
        ("generator:\n  sagellm:\n  \ttop_k: 1\n", "3:3", "a tab stands where"),
        ("a: 1\n" + GOOD + "a: 3\n", "4:1", "'a' is here twice: in lines 1 and 4."),
        (section("top_k: 1\ntop_k: 2"), "4:5", "'top_k' is here twice: in lines 3 and 4."),
        (GOOD + "a: {yes: 1, true: 2}", "3:13", "'true' is here twice"),
        ("a: [1, 2\nb: 3\n", "2:2", "the YAML is not valid"),
        ("a: b: c\n", "1:5", "mapping values are not allowed"),
        ("a: @x\n", "1:4", "cannot start any token"),
        ("a: *b\n", "1:4", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "2:1", "a second document begins here"),
        ("a: 'x\n", "2:1", "end of stream"),
        ("a: \x07\n", "1:4", "U+0007 is not allowed"),
        (b"a: 1\nb: caf\xe9\n", "2:7", "not UTF-8: byte 11 is 0xe9"),
        ("[" * 5000, "-", "nested too deep"),
    ],
)
def test_what_is_no_yaml(path: Path, content: str | bytes, place: str, said: str) -> None:
    found = problem(path, content)
    assert found.startswith(f"{place}: ")
    assert said in found


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        ("", "-", "the file is empty"),
        ("# nothing\n", "-", "the file is empty"),
        ("- 1\n", "1:1", "the file is a list"),
        ("text\n", "1:1", "the file is a single value"),
        ("a: {b: {}}\nc: {d: 1}\n", "1:1", "Sections of this file: a.b, c."),
        ("generator: {}\n", "1:12", "Sections of this file: generator."),
        ("generator:\n", "1:11", "generator is empty"),
        ("generator: [a]\n", "1:12", "generator is a list"),
        ("generator: {sagellm: 5}\n", "1:22", "generator.sagellm is a single value"),
        ("generator: {sagellm: [1]}\n", "1:22", "generator.sagellm is a list"),
    ],
)
def test_a_section_that_is_not_there(path: Path, content: str, place: str, said: str) -> None:
    found = problem(path, content)
    assert found.startswith(f"{place}: ")
    assert said in found


def test_a_section_of_vllm_leads_to_the_migrator(path: Path) -> None:
    found = problem(path, "generator:\n  vllm: {method: openai, model_name: x}\n")
    assert found.startswith("2:3: there is no section generator.sagellm, but an old one")
    assert f"sagellm migrate {path}" in found
    assert "generator.sagellm with backend_type, model_path" in found


def test_other_sections(path: Path) -> None:
    path.write_text("llm:\n  model_path: a\nx:\n  y: {z: {model_path: b}}\nn:\n")
    assert read_config_file(path, "llm").values == {"model_path": "a"}
    assert read_config_file(path, "x.y.z").values == {"model_path": "b"}
    assert read_config_file(path, "n").values == {}
    for name in ("", ".", "x..y", "x.", cast(str, None)):
        with pytest.raises(ConfigurationError, match="no name of a section"):
            read_config_file(path, name)


def test_a_section_whose_keys_are_commented_out_is_empty(path: Path) -> None:
    path.write_text("generator:\n  sagellm:\n    # top_k: 5\n")
    assert load_config(path).config.model_fields_set == set()


def test_anchors_aliases_and_merge_keys(path: Path) -> None:
    path.write_text(
        "base: &base\n  top_k: 7\n  top_p: 0.5\n"
        "name: &name some/model\n"
        "other: &other {top_k: 9, temperature: 0.1}\n"
        "generator:\n  sagellm:\n    <<: [*base, *other]\n    top_p: 0.25\n    model_path: *name\n"
    )
    found = read_config_file(path)
    # Of several merged mappings the first has the say, and a key's own value before all of them.
    assert dict(found.values) == {
        "top_k": 7,
        "top_p": 0.25,
        "temperature": 0.1,
        "model_path": "some/model",
    }
    assert load_config(path).config.top_k == 7
    path.write_text(path.read_text().replace("top_k: 7", "top_k: -7"))
    (wrong,) = validate_file(path)
    assert wrong.place is not None
    assert wrong.place.line == 2  # where it has to be mended


LAUGHS = "a0: &a0 [x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "m0: &m0 {x: 1, y: 2}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}], z{n}: 1}}\n" for n in range(1, 60)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS + "generator: {sagellm: {provider_options: {x: *a29}}}", "over 10000 values"),
        (MERGES + "generator: {sagellm: {<<: *m59}}", "Unknown configuration key"),
        ("generator: &g {sagellm: {provider_options: *g}}", "contains itself"),
        ("generator: {sagellm: &s {<<: *s}}", "merges a mapping into itself"),
        ("generator: {sagellm: {<<: 5}}", "no mapping"),
    ],
)
def test_aliases_are_bounded(path: Path, content: str, said: str) -> None:
    path.write_text(content)
    began = time.monotonic()
    found = validate_file(path)
    assert said in found[0].message
    assert time.monotonic() - began < 5


def test_a_chain_of_merges_is_bounded(path: Path) -> None:
    chain = "m0: &m0 {k0: 1}\n" + "".join(
        f"m{n}: &m{n} {{<<: *m{n - 1}, k{n}: 1}}\n" for n in range(1, 900)
    )
    path.write_text(chain + "generator: {sagellm: {<<: *m899}}")
    (found,) = validate_file(path)
    assert "merges" in found.message or "nested" in found.message


def test_an_unused_bomb_elsewhere_is_not_our_matter(path: Path) -> None:
    path.write_text(LAUGHS + "odd: !env X\ngenerator: {sagellm: {top_k: 3}}")
    assert load_config(path).config.top_k == 3


def test_what_is_no_file(path: Path, tmp_path: Path) -> None:
    def said(place: Any) -> str:
        with pytest.raises(ConfigurationError) as caught:
            read_config_file(place)
        assert caught.value.hint
        return caught.value.message

    assert "is a directory" in said(tmp_path)
    assert "no such file" in said(path)
    assert "NUL" in said("a\0b")
    assert "is empty" in said("")
    assert "home directory" in said("~nobody_of_that_name/config.yaml")
    assert "of type int" in said(5)
    assert "of type bytes" in said(b"a")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in said(tmp_path / "pipe")
    with path.open("wb") as file:
        file.truncate(5_000_000_000)
    assert "5000000000 bytes" in said(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(path: Path) -> None:
    path.write_text("a: 1")
    path.chmod(0)
    with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
        read_config_file(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_encodings_that_yaml_knows(path: Path, encoding: str) -> None:
    text = "generator:\r\n  sagellm:\r\n    engine_id: Grüße 👋\r\n    tpo_k: 1\r\n"
    path.write_bytes(text.encode(encoding))
    assert read_config_file(path).values["engine_id"] == "Grüße 👋"
    (found,) = validate_file(path)
    assert found.place is not None
    assert (found.place.line, found.place.column) == (4, 5)


BITS = (
    "generator|sagellm|top_k|:|: |\n|  |\t|- |{|}|[|]|&a |*a|<<|? |> |\"|'|#| #|!|!!int |---\n|..."
    "|1|yes|~|%|@|é|\x85|\ufeff|2026-13-45|0o8|1:99|,"
)
YAML_BITS = st.lists(st.sampled_from(["| ", *BITS.split("|")]), max_size=30).map("".join)


@given(YAML_BITS | st.text(max_size=60))
@example("generator: {sagellm: {? a}}")
@example("generator: {sagellm: {<<: {<<: {}}}}")
@example("!!map [a]")
@example("generator: !!omap {a: b}")
@example("generator: {sagellm: !!set {a, b}}")
@example("generator: {sagellm: !!pairs [a: b]}")
@example("a: !!timestamp x\ngenerator: {sagellm: {? !!binary é : 1}}")
def test_any_text_is_read_as_pyyaml_reads_it_or_refused(text: str) -> None:
    def read() -> Any:
        document = parse_document(Path("x"), text)
        if document.root is None or document.problems:
            return None
        return document.construct(document.root)

    found = None
    refused: ProblemFound | None = None
    try:
        found = read()
    except ProblemFound as caught:
        refused = caught
    if refused is not None:
        assert refused.problem.message.endswith(".")
        assert refused.problem.hint
    elif found is not None:
        assert repr(found) == repr(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("lines", "place", "said"),
    [
        ("top_k: 1\nmodel_path: 2024-13-45", "4:17", "'model_path': '2024-13-45' cannot be read"),
        ("num_blocks: " + "9" * 5000, "3:17", "'num_blocks': '999"),
        ("provider_options:\n  a: [x, 2024-13-45]", "4:14", "cannot be read as a number or a date"),
        ("backend_type:", "3:18", "Nothing stands there. Give backend_type a value"),
        ("disable_plugins: cpu", "3:22", "Write a list, as in: [cpu, mock]"),
        ("allow_fallback: 'True'", "3:21", "Write it without quotes: true"),
    ],
)
def test_a_value_is_named_where_it_stands(path: Path, lines: str, place: str, said: str) -> None:
    found = problem(path, section(lines))
    assert found.startswith(f"{place}: ")
    assert said in found


def test_the_nearest_section_is_suggested(path: Path) -> None:
    found = problem(path, "generator:\n  sagelm: {model_path: any}\n")
    assert "Is generator.sagelm meant to be it?" in found


def test_a_section_under_a_repeated_key_is_not_said_to_be_missing(path: Path) -> None:
    found = problem(path, "generator:\n  sagellm: {}\ngenerator:\n  other: 1\n")
    assert "'generator' is here twice: in lines 1 and 3." in found
