"""Stage S2: the chosen plugin in this process, and what its hooks may not do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import (
    BrokenProviderError,
    EmbedderConfig,
    EngineConfig,
    InsufficientMemoryError,
    LoadOptions,
    ModelDescription,
    ModelFormat,
    RunnerConfig,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.providers import Provider, choose_provider, load_provider

CONFIG = RunnerConfig(max_slots=1, max_model_len=8)
MORE_OPENERS = """
    @hookimpl
    def sagellm_open_engine(model, config):
        {engine}

    @hookimpl
    def sagellm_open_embedder(model, config):
        {embedder}
"""


def describe(reference: str, *, allow_download: bool) -> ModelDescription:
    return ModelDescription(reference=reference, format=ModelFormat.GGUF, path=Path("/m"))


def load(site: Any, name: str = "npu") -> Provider:
    return load_provider(choose_provider("m", site.controls(name), describe=describe))


def test_a_provider_opens_what_its_plugin_opens(plugin_site: Any) -> None:
    module = plugin_site.add(
        "npu",
        version="1.2",
        tail=MORE_OPENERS.format(engine="return Opened()", embedder="return Opened()"),
    )
    assert module not in sys.modules
    provider = load(plugin_site)
    assert module in sys.modules
    assert (provider.has_runner, provider.has_engine, provider.has_embedder) == (True,) * 3
    model = provider.load_model(LoadOptions())
    assert model.description.path == Path("/m")
    assert provider.open_runner(model, CONFIG).capacity.num_blocks == 8
    assert provider.open_engine(model, EngineConfig()).max_model_len == 64
    assert provider.open_embedder(model, EmbedderConfig()).dimension == 2
    assert provider.stamp() == {
        "name": "npu",
        "dist": "sagellm-npu",
        "version": "1.2",
        "device": "dev:0",
        "why": "npu on dev:0 was asked for by name.",
    }
    assert (provider.name, provider.info.vendor) == ("npu", "Fake")


def test_what_it_does_not_open_is_an_unsupported_option(plugin_site: Any) -> None:
    plugin_site.add("npu")
    provider = load(plugin_site)
    assert (provider.has_runner, provider.has_engine, provider.has_embedder) == (
        True,
        False,
        False,
    )
    model = provider.load_model(LoadOptions())
    with pytest.raises(UnsupportedOptionError, match="does not offer embedders"):
        provider.open_embedder(model, EmbedderConfig())
    with pytest.raises(UnsupportedOptionError, match="does not offer engines"):
        provider.open_engine(model, EngineConfig())


# True in the process that loads, false in the probe's child.
HERE = "'pytest' in sys.modules"


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("raise RuntimeError('no driver')", "RuntimeError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_an_import_that_fails_here_only(plugin_site: Any, what: str, kind: str) -> None:
    plugin_site.add("npu", head=f"if {HERE}:\n    {what}")
    with pytest.raises(BrokenProviderError, match=f"raised {kind} while it was imported") as caught:
        load(plugin_site)
    assert type(caught.value.__cause__).__name__ == kind


def test_hooks_that_change_between_probe_and_load(plugin_site: Any) -> None:
    plugin_site.add("npu", tail=f"if {HERE}:\n    del sagellm_load_model")
    with pytest.raises(BrokenProviderError, match="lacks the required hook sagellm_load_model"):
        load(plugin_site)


def openers(site: Any, hook: str, body: str) -> Any:
    bodies = {"load": "return Model(model)", "runner": "return Opened()"}
    more = {"engine": "return Opened()", "embedder": "return Opened()"}
    (bodies if hook in bodies else more)[hook] = body
    site.add("npu", **bodies, tail=MORE_OPENERS.format(**more))
    provider = load(site)
    if hook == "load":
        return lambda: provider.load_model(LoadOptions())
    model = provider.load_model(LoadOptions())
    return {
        "runner": lambda: provider.open_runner(model, CONFIG),
        "engine": lambda: provider.open_engine(model, EngineConfig()),
        "embedder": lambda: provider.open_embedder(model, EmbedderConfig()),
    }[hook]


OPENERS = ("load", "runner", "engine", "embedder")


@pytest.mark.parametrize("hook", OPENERS)
@pytest.mark.parametrize(
    ("body", "sentence", "lacking"),
    [
        ("return None", "returned None, which lacks", "close"),
        ("return object()", "returned a object, which lacks", "close"),
    ],
)
def test_results_that_are_not_the_contracts(
    plugin_site: Any, hook: str, body: str, sentence: str, lacking: str
) -> None:
    call = openers(plugin_site, hook, body)
    with pytest.raises(BrokenProviderError, match=sentence) as caught:
        call()
    assert lacking in caught.value.message
    assert hook in caught.value.message


@pytest.mark.parametrize("hook", OPENERS)
def test_exceptions_of_the_plugins_own(plugin_site: Any, hook: str) -> None:
    call = openers(plugin_site, hook, "raise OSError('no driver')")
    with pytest.raises(BrokenProviderError, match=r"raised OSError in sagellm_\w+: no driver") as (
        caught
    ):
        call()
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise SystemExit(1)", BrokenProviderError),
        ("raise MemoryError", InsufficientMemoryError),
        ("raise UnsupportedModelError('no mamba')", UnsupportedModelError),
        ("raise KeyboardInterrupt", KeyboardInterrupt),
    ],
)
def test_what_else_a_hook_may_throw(
    plugin_site: Any, body: str, error: type[BaseException]
) -> None:
    call = openers(plugin_site, "load", body)
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        ("load", "tokenizer"),
        ("load", "max_model_len"),
        ("load", "eos_token_ids"),
        ("load", "dtype"),
        ("load", "notes"),
        ("load", "description"),
        ("runner", "capacity"),
        ("runner", "max_slots"),
        ("engine", "max_model_len"),
        ("embedder", "dimension"),
        ("embedder", "max_length"),
        ("embedder", "pooling"),
        ("embedder", "prompts"),
    ],
)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("raise RuntimeError('not yet')", r"raised RuntimeError in {}: not yet\."),
        ("raise SystemExit(3)", r"raised SystemExit in {}: 3\."),
        ("return None", r"{} is None, not a "),
        ("return True", r"{} is a bool, not a "),
    ],
)
def test_values_of_what_a_hook_opened(
    plugin_site: Any, hook: str, name: str, value: str, said: str
) -> None:
    closed = plugin_site.path / "closed"
    base = "Model" if hook == "load" else "Opened"
    body = f"""
        class Bad({base}):
            @property
            def {name}(self): {value}
            @{name}.setter
            def {name}(self, _): pass
            def close(self): open({str(closed)!r}, "w").close()
        return Bad({"model" if hook == "load" else ""})
    """
    call = openers(plugin_site, hook, body)
    with pytest.raises(BrokenProviderError, match=said.format(rf"\w+\.{name}")) as caught:
        call()
    assert caught.value.hint
    assert closed.exists(), "what was opened is given back"


@pytest.mark.parametrize("value", ["1", "None", "'yes'"])
def test_a_yes_or_no_is_nothing_else(plugin_site: Any, value: str) -> None:
    body = f"one = Opened()\n        one.normalizes = {value}\n        return one"
    call = openers(plugin_site, "embedder", body)
    with pytest.raises(BrokenProviderError, match=r"Embedder\.normalizes is .*, not a bool"):
        call()


def test_an_exception_whose_text_cannot_be_shown(plugin_site: Any) -> None:
    body = """
        class Mute(Exception):
            def __str__(self): raise RuntimeError("no text")
        raise Mute
    """
    call = openers(plugin_site, "load", body)
    with pytest.raises(BrokenProviderError, match="raised Mute in sagellm_load_model"):
        call()


def test_members_made_on_demand_count(plugin_site: Any) -> None:
    body = """
        class Proxy:
            def __getattr__(self, name): return getattr(Opened(), name)
        return Proxy()
    """
    plugin_site.add("npu", runner=body)
    provider = load(plugin_site)
    runner = provider.open_runner(provider.load_model(LoadOptions()), CONFIG)
    assert runner.max_slots == 4
