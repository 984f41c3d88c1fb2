"""Stage S0: what is installed, by its metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.providers import Controls, PluginEntry, discover


def found(site: Any, controls: Controls = Controls()) -> list[PluginEntry]:  # noqa: B008
    return discover(controls, path=[str(site.path)])


def only(site: Any, controls: Controls = Controls()) -> PluginEntry:  # noqa: B008
    (entry,) = found(site, controls)
    return entry


def code(entry: PluginEntry) -> str | None:
    return entry.rejection.code if entry.rejection else None


def test_entries_come_by_name_with_what_their_metadata_says(plugin_site: Any) -> None:
    plugin_site.add("zeta", version="2.1", dist="vendor-zeta")
    module = plugin_site.add("alpha")
    first, second = found(plugin_site)
    assert first == PluginEntry(
        name="alpha",
        module=module,
        dist="sagellm-alpha",
        version="1.0",
        group="sagellm.plugins.v1",
        requires_core="sagellm-core>=0.1,<0.2",
        location=str(plugin_site.path),
    )
    assert (second.name, second.dist, second.version) == ("zeta", "vendor-zeta", "2.1")
    assert second.title == "zeta (vendor-zeta 2.1)"


def test_nothing_installed(plugin_site: Any) -> None:
    plugin_site.dist("other", "[console_scripts]\nother = other:main\n")
    assert found(plugin_site) == []


def test_one_name_in_two_dists_rejects_both_and_names_both(plugin_site: Any) -> None:
    plugin_site.add("npu", dist="maker-npu", version="1.0")
    plugin_site.add("npu", dist="other-npu", version="2.0")
    entries = found(plugin_site)
    assert [code(entry) for entry in entries] == ["duplicate", "duplicate"]
    for entry in entries:
        assert entry.rejection is not None
        assert "maker-npu 1.0 and by other-npu 2.0" in entry.rejection.message
        assert "pip uninstall other-npu" in entry.rejection.hint


def test_a_shadowed_copy_is_no_duplicate(plugin_site: Any) -> None:
    entry_points = "[sagellm.plugins.v1]\nnpu = {}\n"
    plugin_site.dist("Maker_NPU", entry_points.format("new"), version="2.0", under="first")
    plugin_site.dist("maker-npu", entry_points.format("old"), version="1.0", under="second")
    path = [str(plugin_site.path / "first"), str(plugin_site.path / "second")]
    (entry,) = discover(Controls(), path=path)
    assert (entry.version, entry.module, entry.rejection) == ("2.0", "new", None)
    (entry,) = discover(Controls(), path=path[::-1])
    assert (entry.version, entry.module) == ("1.0", "old")


def test_a_copy_that_registers_no_plugin_shadows_one_that_does(plugin_site: Any) -> None:
    plugin_site.dist("maker", "[console_scripts]\na = b:c\n", version="2.0", under="first")
    plugin_site.dist("maker", "[sagellm.plugins.v1]\nnpu = old\n", version="1.0", under="second")
    path = [str(plugin_site.path / "first"), str(plugin_site.path / "second")]
    assert discover(Controls(), path=path) == []


def test_one_dist_that_registers_a_name_twice(plugin_site: Any) -> None:
    plugin_site.dist("maker", "[sagellm.plugins.v1]\nnpu = one\nnpu = two\n")
    entries = found(plugin_site)
    assert [code(entry) for entry in entries] == ["duplicate", "duplicate"]
    assert entries[0].rejection is not None
    assert "more than once: one and two" in entries[0].rejection.message


def test_one_dist_may_serve_two_contracts(plugin_site: Any) -> None:
    plugin_site.dist(
        "maker", "[sagellm.plugins.v1]\nnpu = now\n[sagellm.plugins.v2]\nnpu = tomorrow\n"
    )
    entry = only(plugin_site)
    assert (entry.module, entry.rejection) == ("now", None)


@pytest.mark.parametrize("name", ["auto", "none", "CUDA", "9lives", "a b", "a.b"])
def test_names_that_cannot_be(plugin_site: Any, name: str) -> None:
    plugin_site.dist("maker", f"[sagellm.plugins.v1]\n{name} = module\n")
    entry = only(plugin_site)
    assert code(entry) == "bad_name"
    assert entry.rejection is not None
    assert repr(name) in entry.rejection.message


@pytest.mark.parametrize(
    ("entry_points", "metadata"),
    [
        ("[sagellm.plugins.v1]\nnpu\n", None),
        (b"[sagellm.plugins.v1]\nnpu = \xff\n", None),
        ("[sagellm.plugins.v1]\nnpu = module:function\n", None),
        ("[sagellm.plugins.v1]\nnpu = not a module\n", None),
        ("[sagellm.plugins.v1]\nnpu = module\n", "nothing here"),
        (
            "[sagellm.plugins.v1]\nnpu = module\n",
            "Name: maker\nVersion: 1.0\nRequires-Dist: sagellm-core (>=",
        ),
    ],
)
def test_damaged_metadata_is_a_finding_about_that_dist(
    plugin_site: Any, entry_points: str | bytes, metadata: str | None
) -> None:
    plugin_site.dist("maker", entry_points, metadata=metadata)
    plugin_site.add("good")
    codes = {entry.name: code(entry) for entry in found(plugin_site)}
    assert codes.pop("good") is None
    assert list(codes.values()) == ["bad_metadata"]


@pytest.mark.parametrize(
    ("requires", "hint"),
    [
        ("sagellm-core>=0.5", 'Run: pip install "sagellm-core>=0.5"'),
        ("sagellm-core<0.1", "Run: pip install -U sagellm-npu"),
        ("sagellm-core[hub] ~= 0.2.1", 'Run: pip install "sagellm-core~= 0.2.1"'),
    ],
)
def test_the_requirement_gate_says_what_mends_it(
    plugin_site: Any, requires: str, hint: str
) -> None:
    plugin_site.add("npu", version="1.2", requires=["torch", requires])
    entry = only(plugin_site)
    assert code(entry) == "core_requirement"
    assert entry.requires_core == requires
    assert entry.rejection is not None
    assert "npu (sagellm-npu 1.2) needs sagellm-core" in entry.rejection.message
    assert "0.1.0 is installed" in entry.rejection.message
    assert entry.rejection.hint == hint


def test_a_dist_that_requires_no_core_is_let_through(plugin_site: Any) -> None:
    plugin_site.add("npu", requires=[])
    assert only(plugin_site).rejection is None


def test_the_group_gate(plugin_site: Any) -> None:
    plugin_site.add("npu", group="sagellm.plugins.v7")
    entry = only(plugin_site)
    assert code(entry) == "group_major"
    assert entry.rejection is not None
    assert "is made for contract 7, and sagellm-core 0.1.0 runs contract 1" in (
        entry.rejection.message
    )
    assert "pip install -U sagellm-core" in entry.rejection.hint


@pytest.mark.parametrize(
    "group", ["sagellm.plugins.v", "sagellm.plugins.v1.x", "sagellm.plugins.vX"]
)
def test_other_groups_are_not_ours(plugin_site: Any, group: str) -> None:
    plugin_site.add("npu", group=group)
    assert found(plugin_site) == []


class TestControls:
    @pytest.mark.parametrize(
        ("controls", "codes"),
        [
            (Controls(), [None, None, None]),
            (Controls(block=("b",)), [None, "blocked", None]),
            (Controls(allow=("a",)), [None, "not_allowed", "not_allowed"]),
            (Controls(allow=("a", "b"), block=("b",)), [None, "blocked", "not_allowed"]),
            (Controls(autoload=False), ["not_allowed"] * 3),
            (Controls(autoload=False, allow=("c",)), ["not_allowed", "not_allowed", None]),
            (Controls(autoload=False, backend="b"), ["not_allowed", None, "not_allowed"]),
            (Controls(backend="b", block=("b",)), [None, "blocked", None]),
        ],
    )
    def test_who_may_run(
        self, plugin_site: Any, controls: Controls, codes: list[str | None]
    ) -> None:
        for name in ("a", "b", "c"):
            plugin_site.add(name)
        assert [code(entry) for entry in found(plugin_site, controls)] == codes

    def test_blocking_is_a_way_out_of_a_duplicate(self, plugin_site: Any) -> None:
        plugin_site.add("npu", dist="one")
        plugin_site.add("npu", dist="two")
        entries = found(plugin_site, Controls(block=("npu",)))
        assert [code(entry) for entry in entries] == ["blocked", "blocked"]

    def test_an_unknown_name_is_an_error(self, plugin_site: Any) -> None:
        plugin_site.add("npu")
        with pytest.raises(ConfigurationError, match="'npuu'"):
            found(plugin_site, Controls(block=("npuu",)))


def test_listing_imports_nothing_heavy_and_no_plugin(plugin_site: Any) -> None:
    modules = [plugin_site.add(name) for name in "abcdef"]
    done = plugin_site.run(
        """
        import json, sys
        from sagellm_core.providers import Controls, discover
        names = [entry.name for entry in discover(Controls.from_environment())]
        print(json.dumps([names, sorted(sys.modules)]))
        """
    )
    names, loaded = json.loads(done.stdout)
    assert set("abcdef") <= set(names)
    heavy = ["torch", "transformers", "pydantic", "pluggy", "packaging", "dataclasses", *modules]
    assert not set(heavy) & set(loaded)


def test_the_order_does_not_hang_on_the_hash_seed(plugin_site: Any) -> None:
    for name in ("b", "a", "c"):
        plugin_site.add(name, dist=f"maker-of-{name}")
        plugin_site.add(name, dist=f"other-maker-of-{name}")
    code = """
        from sagellm_core.providers import Controls, discover
        for entry in discover(Controls()):
            print(entry)
    """
    outputs = {
        plugin_site.run(code, env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert "maker-of-b" in outputs.pop()
