"""The published schema, and the page that explains it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sagellm_core.config import FIELDS, GeneratorConfig, validate_file
from sagellm_core.config.json_schema import json_schema, json_schema_text

DOCS = Path(__file__).parents[2] / "docs"


def accepts(config: Any, schema: dict[str, Any] | None = None) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema or json_schema())
    return bool(validator.is_valid(config))


def test_it_is_a_schema_of_its_dialect() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_published_one_is_up_to_date() -> None:
    published = (DOCS / "config.schema.json").read_text()
    assert published == json_schema_text(), "run: sagellm config schema > docs/config.schema.json"


def test_every_key_is_described_and_has_its_default() -> None:
    section = json_schema()["properties"]["generator"]["properties"]["sagellm"]
    assert list(section["properties"]) == list(FIELDS)
    for name, described in section["properties"].items():
        assert described["description"]
        field = GeneratorConfig.model_fields[name]
        default = field.get_default(call_default_factory=True)
        assert described.get("default", {}) == json.loads(json.dumps(default)), name


@pytest.mark.parametrize(
    "section",
    [
        {},
        None,
        {"backend_type": "cuda", "model_path": "a/b", "max_tokens": 2048},
        {"timeout": None, "quantization": None, "quantization_": 1},
        {"temperature": 1, "top_k": -1, "top_p": 1.0},
        {"top_p": 0},
        {"top_p": 1.01},
        {"temperature": -1},
        {"temperature": "hot"},
        {"max_tokens": 0},
        {"max_tokens": 10**8},
        {"max_tokens": None},
        {"max_num_seqs": 5000},
        {"quantization": "int3"},
        {"prompt_format": "chat"},
        {"disable_plugins": ["a"]},
        {"disable_plugins": "a"},
        {"default_options": {"seed": 1, "stop": ["a"], "logit_bias": {"5": 1}}},
        {"default_options": {"sed": 1}},
        {"default_options": {"stop": [""]}},
        {"default_options": {"timeout": 0}},
        {"default_options": {"logprobs": 21}},
        {"default_options": {"max_new_tokens": 5, "priority": 3}},
        {"provider_options": {"anything": [1, {"goes": None}]}},
        {"timeout": 0},
        {"trust_remote_code": "no"},
        {"num_blocks": 0},
    ],
)
def test_the_schema_accepts_what_the_generator_accepts(
    section: dict[str, Any] | None, tmp_path: Path
) -> None:
    config = {"generator": {"sagellm": section, "other": 1}, "more": [1]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert accepts(config) == (not validate_file(path))


def test_a_schema_of_another_section() -> None:
    schema = json_schema("llm")
    assert accepts({"llm": {"top_k": 1}, "x": 1}, schema)
    assert not accepts({"llm": {"tpo_k": 1}}, schema)


def test_the_examples_of_the_page_are_valid(tmp_path: Path) -> None:
    page = (DOCS / "config.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        path = tmp_path / "config.yaml"
        path.write_text(example)
        assert validate_file(path) == []
        assert accepts(yaml.safe_load(example))


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "config.md").read_text()
    (tmp_path / "config.yaml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert (names["gen"].backend_type, names["gen"].temperature) == ("cuda", 0)


def test_the_page_names_what_is_exported() -> None:
    page = (DOCS / "config.md").read_text()
    for name in ("FIELDS", "POSITIONAL_FIELDS", "VARIABLES", "read_config_file", "validate_file"):
        assert f"`{name}" in page
