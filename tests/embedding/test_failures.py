"""Embedding with providers that fail, and without what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagellm_core import EmbeddingEngine
from sagellm_core.contract import (
    BrokenProviderError,
    ConfigurationError,
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineError,
    RunnerError,
    SageLLMError,
    TokenizerError,
    UnsupportedModelError,
    UnsupportedOptionError,
)


@pytest.mark.parametrize(
    ("embed", "error", "said"),
    [
        ("raise OSError('bus')", RunnerError, "failed in embed with OSError: bus"),
        ("raise SystemExit(3)", RunnerError, "failed in embed with SystemExit"),
        ("raise MemoryError", DeviceOutOfMemoryError, "out of memory in embed"),
        ("raise DeviceOutOfMemoryError('full')", DeviceOutOfMemoryError, "full"),
        ("raise DeviceLostError('gone')", DeviceLostError, "gone"),
        ("raise KeyboardInterrupt('^C')", KeyboardInterrupt, "C"),
        ("return None", RunnerError, "returned a NoneType, not a buffer"),
        ("return [[1.0] * 3] * len(batch)", RunnerError, "returned a list, not a buffer"),
        ("return array('f', [0] * 6)", RunnerError, r"float32 of shape \[6\], not .*\[2, 3\]"),
        (
            "return memoryview(array('d', [0] * 6)).cast('B').cast('d', [2, 3])",
            RunnerError,
            r"float64 of shape \[2, 3\], not float32",
        ),
        (
            "return memoryview(array('f', [0] * 9)).cast('B').cast('f', [3, 3])",
            RunnerError,
            r"shape \[3, 3\], not float32 of shape \[2, 3\]",
        ),
        (
            "return memoryview(array('f', [0, 0, 0, 1, float('nan'), 1])).cast('B').cast("
            "'f', [2, 3])",
            EngineError,
            "vector of text 0 holds infinity or no number",
        ),
        (
            "return memoryview(array('f', [float('inf')] * 6)).cast('B').cast('f', [2, 3])",
            EngineError,
            "vector of text 0 holds infinity",
        ),
    ],
)
def test_a_batch_that_fails(
    recorder: Any, engine: Any, embed: str, error: type[BaseException], said: str
) -> None:
    recorder(embed=embed)
    with pytest.raises(error, match=said) as caught:
        engine("vec").embed(["x", "longer"])
    if not embed.startswith(("raise Device", "raise Key")):
        assert isinstance(caught.value, SageLLMError)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("encode", "error", "said"),
    [
        ("raise OSError('no table')", TokenizerError, "tokenizer failed with OSError: no table"),
        ("raise TokenizerError('no files')", TokenizerError, "no files"),
        ("return None", RunnerError, "failed in encode with AttributeError"),
        (
            "return TokenizedTexts(token_ids=[[1]], lengths=[1, 1])",
            RunnerError,
            "1 lists of token ids for 2 texts",
        ),
        (
            "return TokenizedTexts(token_ids=[[1], [1]], lengths=[1])",
            RunnerError,
            "1 lengths for 2 texts",
        ),
        (
            "return TokenizedTexts(token_ids=[[1], [1] * 11], lengths=[1, 11])",
            RunnerError,
            "11 tokens, and the limit is 10",
        ),
    ],
)
def test_a_tokenizer_that_fails(
    recorder: Any, engine: Any, encode: str, error: type[SageLLMError], said: str
) -> None:
    opening = f"""
        class Failing(Recording):
            def encode(self, texts): {encode}
        return Failing()
    """
    recorder(opening=opening)
    with pytest.raises(error, match=said):
        engine("vec").embed(["x", "y"])


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("dimension = 0", "Embedder.dimension is 0"),
        ("max_length = -1", "Embedder.max_length is -1"),
        ("prompts = {'query': 3}", "Embedder.prompts holds something that is no text"),
        ("normalizes = 1", "Embedder.normalizes is a int, not a bool"),
        ("dimension = True", "Embedder.dimension is a bool, not a int"),
        ("pooling = None", "Embedder.pooling is None, not a str"),
    ],
)
def test_an_embedder_that_says_nonsense_of_itself(
    recorder: Any, engine: Any, member: str, said: str
) -> None:
    opening = f"""
        class Odd(Recording):
            {member}
        return Odd()
    """
    seen = recorder(opening=opening)
    with pytest.raises(BrokenProviderError, match=said) as caught:
        engine("vec").load()
    assert "sagellm-vec" in caught.value.hint
    assert seen.calls("close") == ["embedder", "model"]


def test_a_limit_beyond_the_models_own(recorder: Any, engine: Any) -> None:
    seen = recorder(limit=10)
    with pytest.raises(ConfigurationError, match=r"max_length=11 .* limit is 10") as caught:
        engine("vec", max_length=11).load()
    assert "at most 10" in caught.value.hint
    assert seen.calls("close") == ["embedder", "model"]


def test_a_failed_load_is_tried_again(recorder: Any, engine: Any) -> None:
    seen = recorder(
        opening="if not os.path.exists(os.environ['SAGELLM_TEST_FLAG']):\n"
        "            open(os.environ['SAGELLM_TEST_FLAG'], 'w').close()\n"
        "            raise OSError('busy')\n"
        "        return Recording()",
    )
    flag = seen.log.with_name("flag")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGELLM_TEST_FLAG", str(flag))
        one = engine("vec")
        with pytest.raises(BrokenProviderError, match="busy"):
            one.embed("a")
        assert seen.calls("close") == ["model"]
        assert one.embed("a").shape == (1, 3)


@pytest.mark.parametrize("what", ["raise OSError('stuck')", "raise SystemExit(3)"])
def test_a_provider_that_fails_to_close(recorder: Any, what: str) -> None:
    opening = f"""
        class Stuck(Recording):
            def close(self): {what}
        return Stuck()
    """
    seen = recorder(opening=opening)
    one = EmbeddingEngine("vec", "any")
    one.load()
    with pytest.raises(RunnerError, match="Closing the provider's embedder"):
        one.shutdown()
    assert seen.calls("close") == ["model"]
    one.shutdown()


def test_a_provider_that_does_not_embed(plugin_site: Any, engine: Any) -> None:
    plugin_site.add("npu", capabilities="frozenset({'any_model', 'generate'})")
    with pytest.raises(UnsupportedOptionError, match=r"npu \(sagellm-npu 1.0\) does not embed"):
        engine("npu").load()


def test_a_model_that_the_provider_does_not_embed_with(plugin_site: Any, engine: Any) -> None:
    plugin_site.add(
        "npu",
        capabilities="frozenset({'any_model', 'generate', 'embed'})",
        verdict="LoadAnswer(verdict='yes', capabilities=frozenset({'generate'}))",
    )
    with pytest.raises(UnsupportedModelError, match="cannot embed with this model"):
        engine("npu").load()


def test_a_pooling_that_the_provider_does_not_have(engine: Any) -> None:
    with pytest.raises(UnsupportedOptionError, match="cls"):
        engine(pooling="cls").load()


def test_without_numpy_the_command_is_named(plugin_site: Any, tmp_path: Path) -> None:
    shadow = plugin_site.path / "numpy.py"
    shadow.write_text("raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')")
    done = plugin_site.run("""
        from sagellm_core import EmbeddingEngine
        from sagellm_core.contract import ConfigurationError
        engine = EmbeddingEngine("mock", "any")
        try:
            engine.embed("a")
        except ConfigurationError as error:
            print(error.message, error.hint)
    """)
    assert "No module named 'numpy'" in done.stdout, done.stderr
    assert "pip install 'sagellm-core[embeddings]'" in done.stdout


def test_importing_it_costs_no_numpy(plugin_site: Any) -> None:
    done = plugin_site.run("""
        import sys
        from sagellm_core import EmbeddingEngine
        engine = EmbeddingEngine("mock", "any")
        print([name for name in ("numpy", "torch") if name in sys.modules])
    """)
    assert done.stdout.strip() == "[]", done.stderr
