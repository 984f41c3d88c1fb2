"""The probe's processes: how they start, how they end, and what they leave behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.providers import ProbeReport, discover, probe


def probed(site: Any) -> dict[str, ProbeReport]:
    entries = discover(site.controls(), path=[str(site.path)])
    return {report.entry.name: report for report in probe(entries, None)}


def only(site: Any) -> ProbeReport:
    (report,) = probed(site).values()
    return report


def test_grandchildren_die_with_the_probe_and_hold_nothing_up(
    plugin_site: Any, process_mark: Any
) -> None:
    # One child leaves a sleeper behind and answers; the other leaves one and dies. Both
    # sleepers hold every pipe open.
    sleeper = "if os.fork() == 0:\n    time.sleep(600)\n"
    plugin_site.add("good", detect=f"{sleeper}return [DeviceInfo(id='d', state='usable')]")
    plugin_site.add("dead", detect=f"{sleeper}os._exit(7)")
    plugin_site.add(
        "spawns",
        detect="subprocess.Popen(['sleep', '600'])\nreturn [DeviceInfo(id='d', state='usable')]",
    )
    began = time.monotonic()
    reports = probed(plugin_site)
    assert time.monotonic() - began < 4
    assert reports["good"].rejection is None
    assert reports["spawns"].rejection is None
    dead = reports["dead"].rejection
    assert dead is not None
    assert "left with code 7 in sagellm_detect_devices" in dead.message
    assert process_mark.gone()


def test_no_python_to_start_is_reported(plugin_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin_site.add("good")
    monkeypatch.setattr("sys.executable", str(plugin_site.path / "no-python"))
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == "cannot_start"


def test_it_works_from_a_parent_with_many_threads(plugin_site: Any) -> None:
    plugin_site.add("good")
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    try:
        assert only(plugin_site).rejection is None
        assert threading.active_count() >= 51
    finally:
        stop.set()
        for thread in threads:
            thread.join()


PROBE_ALL = """
    import sys
    from sagellm_core.providers import Controls, discover, probe
    path = [place for place in sys.path if place.endswith("site")]
    reports = probe(discover(Controls(), path=path), None)
    result = [(r.entry.name, r.rejection and r.rejection.code) for r in reports]
"""


def test_it_works_with_every_standard_stream_closed(plugin_site: Any) -> None:
    plugin_site.add("good")
    out = plugin_site.path / "out"
    code = f"""
        import os
        os.closerange(0, 3)
        {PROBE_ALL.replace(chr(10), chr(10) + "    ")}
        open({str(out)!r}, "w").write(repr(result))
    """
    done = plugin_site.run(code)
    assert done.returncode == 0
    assert out.read_text() == "[('good', None)]"


def test_it_works_where_children_are_reaped_by_the_system(plugin_site: Any) -> None:
    plugin_site.add("good")
    plugin_site.add("left", head="os._exit(3)")
    code = f"""
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        {PROBE_ALL.replace(chr(10), chr(10) + "    ")}
        print(result)
    """
    done = plugin_site.run(code)
    assert done.stdout == "[('good', None), ('left', 'exit')]\n", done.stderr


def test_a_module_in_the_current_directory_does_not_shadow_the_library(
    plugin_site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_site.add("good")
    (tmp_path / "json.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert only(plugin_site).rejection is None


def test_interrupting_the_parent_ends_the_children(plugin_site: Any, process_mark: Any) -> None:
    plugin_site.add("bad", head="import pathlib", detect="while True: time.sleep(1)")
    code = f"""
        import _thread, threading, time
        threading.Timer(1.0, _thread.interrupt_main).start()
        {PROBE_ALL.replace(chr(10), chr(10) + "    ")}
    """
    began = time.monotonic()
    done = plugin_site.run(code)
    assert "KeyboardInterrupt" in done.stderr
    assert time.monotonic() - began < 4
    assert process_mark.gone()


def test_children_end_themselves_when_the_parent_is_killed(
    plugin_site: Any, process_mark: Any
) -> None:
    plugin_site.add("bad", detect="ctypes.CDLL(None).sleep(600)")
    code = f"""
        import os, signal, threading
        threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGKILL)).start()
        {PROBE_ALL.replace("None)", "None, timeout=1)").replace(chr(10), chr(10) + "    ")}
    """
    done = plugin_site.run(code)
    assert done.returncode == -9
    assert process_mark.gone(within=4)


def test_the_probe_leaves_no_file_descriptor_and_no_thread(plugin_site: Any) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("counting descriptors needs /proc")
    plugin_site.add("good")
    plugin_site.add("bad", head="os._exit(1)")
    probed(plugin_site)
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    probed(plugin_site)
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_nothing_of_a_plugin_is_imported_here(plugin_site: Any) -> None:
    module = plugin_site.add("good")
    code = f"{PROBE_ALL}\n    assert {module!r} not in sys.modules\n    print(result)"
    done = plugin_site.run(code)
    assert done.stdout == "[('good', None)]\n", done.stderr
