"""The generator as an operator: one dict, records instead of errors, one model for all."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import threading

import pytest
from sagellm_sage import SageLLMGenerator, release_models
from sagellm_sage.base import StandaloneMapFunction

import sagellm_core
from sagellm_core.contract import (
    ConfigurationError,
    EmptyPromptError,
    EngineClosedError,
    InvalidSamplingError,
    UnknownProviderError,
)

MOCK = {"backend_type": "mock", "model_path": "any", "temperature": 0.0, "max_tokens": 8}


@pytest.fixture
def gen():
    with SageLLMGenerator(MOCK) as made:
        yield made


def test_it_is_both_a_generator_and_a_map_function(gen) -> None:
    assert isinstance(gen, sagellm_core.SageLLMGenerator)
    # No SAGE is installed where these tests run, or its own map function is the base.
    assert isinstance(gen, StandaloneMapFunction) or type(gen).__mro__[2].__name__ == "MapFunction"
    assert gen.ctx is None
    assert gen.name == "SageLLMGenerator"
    assert gen.logger is not None


def test_what_the_notice_promises() -> None:
    gen = SageLLMGenerator(backend_type="mock", model_path="any")
    result = gen.execute("Hello")
    assert result["text"] == result["generated"] != ""
    assert result["usage"]["completion_tokens"] > 0
    gen.shutdown()
    gen.shutdown()


def test_answers_are_those_of_the_core_generator(gen) -> None:
    with sagellm_core.SageLLMGenerator(MOCK) as core:
        for item in ("Hello", {"query": "Hello", "id": 3}, [{"id": 3}, "Hello"], ["Hello"]):
            ours, direct = gen.execute(item), core.execute(item)
            assert ours["token_ids"] == direct["token_ids"]
            assert ours.get("context") == direct.get("context")
        assert [each["text"] for each in gen.execute_batch(["a", "b"])] == [
            core.execute(item)["text"] for item in ("a", "b")
        ]


def test_positional_order_is_the_old_one() -> None:
    gen = SageLLMGenerator("mock", "any", "auto", "float32", "cpu", False, False, False, 9)
    assert (gen.backend_type, gen.model_path, gen.dtype, gen.max_tokens) == (
        "mock",
        "any",
        "float32",
        9,
    )
    names = list(inspect.signature(SageLLMGenerator).parameters)
    assert names[:2] == ["backend_type", "model_path"]
    assert "on_error" in names


def test_streams(gen) -> None:
    async def collect() -> str:
        return "".join([piece async for piece in gen.stream_async("Hello")])

    assert asyncio.run(collect()) == gen.execute("Hello")["text"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (({**MOCK, "modelpath": "x"},), ConfigurationError),
        (({**MOCK, "on_error": "ignore"},), ConfigurationError),
        (({**MOCK, "on_error": None},), ConfigurationError),
        ((MOCK, "any"), ConfigurationError),
        (({**MOCK, "temperature": -1},), InvalidSamplingError),
    ],
)
def test_a_wrong_configuration_is_refused_at_once(arguments, error) -> None:
    with pytest.raises(error):
        SageLLMGenerator(*arguments)


def test_on_error_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_error was given twice"):
        SageLLMGenerator({**MOCK, "on_error": "record"}, on_error="raise")


def test_the_dict_is_left_as_it_was() -> None:
    given = {**MOCK, "on_error": "record"}
    SageLLMGenerator(given)
    assert given == {**MOCK, "on_error": "record"}


def test_from_a_file(tmp_path) -> None:
    place = tmp_path / "config.yaml"
    place.write_text("generator: {sagellm: {backend_type: mock, model_path: any}}")
    gen = SageLLMGenerator.from_config(place, on_error="record", max_tokens=3)
    assert (type(gen), gen.on_error, gen.max_tokens) == (SageLLMGenerator, "record", 3)


# --- items that fail ------------------------------------------------------------------------


def test_by_default_an_item_that_fails_raises(gen) -> None:
    with pytest.raises(EmptyPromptError):
        gen.execute("")


@pytest.mark.parametrize("given", ["in the dict", "as a keyword"])
def test_a_record_in_its_place(given) -> None:
    if given == "in the dict":
        gen = SageLLMGenerator({**MOCK, "on_error": "record"})
    else:
        gen = SageLLMGenerator(MOCK, on_error="record")
    record = gen.execute({"prompt": " ", "id": 7})
    assert (record["text"], record["generated"], record["token_ids"]) == ("", "", [])
    assert record["finish_reason"] == "error"
    assert record["error"]["code"] == "empty_prompt"
    assert record["error"]["retryable"] is False
    assert set(record["error"]) == {"type", "code", "message", "hint", "retryable"}
    assert record["input"] == {"prompt": " ", "id": 7}
    assert "error" not in gen.execute("Hello")
    gen.shutdown()


@pytest.mark.parametrize(
    ("item", "context"),
    [
        ({"prompt": "Hi", "id": 7, "options": {"temperature": -1}}, {"id": 7}),
        ([{"id": 7}, {"prompt": "Hi", "options": {"max_tokens": 0}}], {"id": 7}),
    ],
)
def test_a_record_keeps_the_context(item, context) -> None:
    with SageLLMGenerator(MOCK, on_error="record") as gen:
        record = gen.execute(item)
    assert record["error"]["code"] == "invalid_sampling"
    assert record["context"] == context


@pytest.mark.parametrize("item", [None, 3, [], {}, object(), b"bytes"])
def test_what_is_no_prompt_becomes_a_record_too(item) -> None:
    with SageLLMGenerator(MOCK, on_error="record") as gen:
        record = gen.execute(item)
    assert record["error"]["code"] in ("invalid_request", "empty_prompt")
    assert record["input"] is item


def test_a_defect_becomes_a_record_and_is_logged(caplog) -> None:
    class Odd(dict):
        def __contains__(self, key):
            raise RuntimeError("odd")

    with SageLLMGenerator(MOCK, on_error="record") as gen:
        record = gen.execute(Odd(prompt="x"))
    assert record["error"]["type"] == "RuntimeError"
    assert record["error"]["message"] == "odd"
    assert "Traceback" in caplog.text


def test_ctrl_c_is_never_a_record() -> None:
    class Interrupting(dict):
        def __contains__(self, key):
            raise KeyboardInterrupt

    with SageLLMGenerator(MOCK, on_error="record") as gen, pytest.raises(KeyboardInterrupt):
        gen.execute(Interrupting(prompt="x"))


def test_a_model_that_cannot_be_loaded_is_tried_once(caplog) -> None:
    gen = SageLLMGenerator(backend_type="no-such", model_path="any", on_error="record")
    records = [gen.execute("Hello") for _ in range(3)]
    assert [record["error"]["code"] for record in records] == ["unknown_provider"] * 3
    with pytest.raises(UnknownProviderError) as first:
        gen.load()
    with pytest.raises(UnknownProviderError) as second:
        gen.load()
    assert first.value is second.value
    other = SageLLMGenerator(backend_type="no-such", model_path="any")
    with pytest.raises(UnknownProviderError) as anew:
        other.load()
    assert anew.value is not first.value


# --- one model for all that need it ---------------------------------------------------------


def _session(gen):
    return gen._ready()


def test_equal_operators_share_a_model() -> None:
    first, second = SageLLMGenerator(MOCK), SageLLMGenerator(MOCK)
    assert _session(first) is _session(second)
    first.shutdown()
    with pytest.raises(EngineClosedError):
        first.execute("Hello")
    assert second.execute("Hello")["text"]
    second.shutdown()
    assert release_models() == 0


def test_options_of_calls_do_not_keep_them_apart() -> None:
    first = SageLLMGenerator(MOCK)
    second = SageLLMGenerator({**MOCK, "max_tokens": 3, "temperature": 0.5, "engine_id": "b"})
    assert _session(first) is _session(second)
    assert len(first.execute("Hello")["token_ids"]) > 3
    result = second.execute("Hello")
    assert (len(result["token_ids"]), result["engine_id"]) == (3, "b")
    first.shutdown()
    second.shutdown()


@pytest.mark.parametrize(
    "other", [{"model_path": "other"}, {"max_num_seqs": 2}, {"provider_options": {"tpot_s": 0.001}}]
)
def test_what_loading_depends_on_does(other) -> None:
    with SageLLMGenerator(MOCK) as first, SageLLMGenerator({**MOCK, **other}) as second:
        assert _session(first) is not _session(second)


def test_one_path_in_two_directories_is_two_models(tmp_path, monkeypatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
    with (
        SageLLMGenerator({**MOCK, "model_path": "model"}) as first,
        SageLLMGenerator({**MOCK, "model_path": "model"}) as second,
    ):
        monkeypatch.chdir(tmp_path / "a")
        one = _session(first)
        monkeypatch.chdir(tmp_path / "b")
        assert _session(second) is not one


def test_threads_that_come_at_once_load_once() -> None:
    operators = [SageLLMGenerator(MOCK) for _ in range(8)]
    sessions: list[object] = []
    start = threading.Barrier(8)

    def use(gen) -> None:
        start.wait()
        sessions.append(_session(gen))

    threads = [threading.Thread(target=use, args=(gen,)) for gen in operators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, sessions))) == 1
    for gen in operators:
        gen.shutdown()


def test_the_last_one_that_goes_takes_the_model_along() -> None:
    first, second = SageLLMGenerator(MOCK), SageLLMGenerator(MOCK)
    engine = _session(first).engine
    _session(second)
    first.shutdown()
    assert engine.stats() is not None
    second.shutdown()
    with pytest.raises(EngineClosedError):
        first.load()
    third = SageLLMGenerator(MOCK)
    assert _session(third).engine is not engine
    third.shutdown()


def test_a_dropped_operator_keeps_no_model() -> None:
    gen = SageLLMGenerator(MOCK)
    gen.load()
    del gen
    gc.collect()  # loading may leave cycles of frames behind
    assert release_models() == 0


def test_models_can_be_released_behind_operators_that_stay() -> None:
    gen = SageLLMGenerator(MOCK)
    before = gen.execute("Hello")["text"]
    session = _session(gen)
    assert release_models() == 1
    assert release_models() == 0
    assert gen.execute("Hello")["text"] == before
    assert _session(gen) is not session
    gen.shutdown()


# --- pickles and checkpoints ----------------------------------------------------------------


class _Prefixed(SageLLMGenerator):
    def __init__(self, prefix: str, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.prefix = prefix

    def execute(self, data, **options):
        return super().execute(f"{self.prefix}{data}", **options)


def test_a_pickle_carries_configuration_and_own_attributes_only() -> None:
    gen = SageLLMGenerator({**MOCK, "on_error": "record"})
    gen.label = "mine"
    gen.ctx = threading.Lock()  # as a runtime's context, not to be pickled
    expected = gen.execute("Hello")["text"]
    data = pickle.dumps(gen)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert (copy.label, copy.on_error, copy.ctx) == ("mine", "record", None)
    assert copy.config == gen.config
    assert copy.execute("Hello")["text"] == expected
    copy.shutdown()
    gen.shutdown()


def test_subclasses_work() -> None:
    with _Prefixed("Say ", MOCK) as own, SageLLMGenerator(MOCK) as gen:
        assert own.execute("it")["text"] == gen.execute("Say it")["text"]
        assert _session(own) is _session(gen)


def test_a_checkpoint_holds_no_engine(check, kernel) -> None:
    out = check(
        f"""
        import pickle
        from sagellm_sage import SageLLMGenerator
        gen = SageLLMGenerator({MOCK!r}, on_error="record")
        gen.execute("Hello")
        state = pickle.loads(pickle.dumps(gen.get_state()))
        print(sorted(state))
        other = SageLLMGenerator(backend_type="mock", model_path="other")
        other.load()
        other.restore_state(state)
        assert other.on_error == "record"
        assert other.execute("Hello")["text"] == gen.execute("Hello")["text"]
        assert other.config == gen.config
        other.shutdown()
        gen.shutdown()
        """,
        kernel,
    )
    assert out == "['config']\n"


@pytest.mark.parametrize("end", ["pass", "gen.shutdown()", "del gen"])
def test_a_process_ends_whatever_became_of_its_operators(check, end) -> None:
    out = check(f"""
        from sagellm_sage import SageLLMGenerator
        gen = SageLLMGenerator({MOCK!r})
        print(len(gen.execute("Hello")["token_ids"]))
        {end}
    """)
    assert out == "8\n"
