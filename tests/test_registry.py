"""Names of domains and methods, and plugins: a stranger's can break nothing of ours and take no name unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mixkit
from mixkit import create_mixer


def test_registering_a_name_twice_is_refused() -> None:
    class Impostor(mixkit.methods.Mixup):
        pass

    with pytest.raises(ValueError, match=r"registered already: mixkit\.methods.*override=True"):
        mixkit.register_method("mixup")(Impostor)
    with pytest.raises(ValueError, match=r"a domain named 'image' is registered already: mixkit_image"):
        mixkit.register_domain("image")(type("Domain", (mixkit.Domain,), {}))
    mixkit.register_method("mixup")(mixkit.methods.Mixup)  # a reload is fine


def test_a_name_can_be_taken_where_that_is_asked_for() -> None:
    class Mine(mixkit.methods.Mixup):
        pass

    mixkit.register_method("mixup", override=True)(Mine)
    try:
        assert mixkit.registry.get_method("mixup") is Mine
        assert type(create_mixer("mixup", "points", num_classes=2).method) is Mine
    finally:
        mixkit.register_method("mixup", override=True)(mixkit.methods.Mixup)


def test_a_method_can_be_for_some_domains_only() -> None:
    @mixkit.register_method("only_points", domains=["points"])
    class OnlyPoints(mixkit.methods.Mixup):
        pass

    try:
        assert "only_points" in mixkit.list_methods("points")
        assert "only_points" not in mixkit.list_methods("image")
        with pytest.raises(ValueError, match="serves points, not domain 'image'"):
            create_mixer("only_points", domain="image")
    finally:
        del mixkit.registry._methods["only_points"]


@pytest.mark.parametrize("error", [ImportError("no such thing"), SystemExit(3), SystemExit()])
def test_a_broken_plugin_is_a_warning(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    class Entry:
        name, value = "broken", "broken_plugin"

        def load(self) -> None:
            raise error

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry()])
    with pytest.warns(UserWarning, match=r"'broken' \(broken_plugin\) could not be imported"):
        mixkit.registry._load_plugins.__wrapped__()


def test_installed_plugins_of_strangers(tmp_path: Path) -> None:
    """Whatever order they are found in: one that exits, one that takes names, one that takes a name and says so."""
    plugins = {
        "a_exits": "import sys\nsys.exit('no licence')",
        "a_takes": TAKES.format(name="points", more=""),
        "a_asks": TAKES.format(name="image", more=", override=True"),
    }
    for name, code in plugins.items():
        (tmp_path / f"{name}.py").write_text(code)
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[mixkit.plugins]\n{name} = {name}\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["mixkit_points.domain", "a_asks", "mixkit_points.domain"]
    assert "mixkit plugin 'a_exits' (a_exits) could not be imported: SystemExit('no licence')" in done.stderr
    assert "mixkit plugin 'a_takes' (a_takes) could not be imported: ValueError" in done.stderr
    assert "a_asks" not in done.stderr


TAKES = """
import mixkit

@mixkit.register_domain({name!r}{more})
class Mine(mixkit.Domain):
    pass
"""
LOOK = """
import sys
import mixkit
try:
    import a_takes  # before anything else of mixkit is looked at
except ValueError:
    print(mixkit.registry._domains["points"].__module__)
for name in ("image", "points"):
    print(mixkit.registry.get_domain(name).__module__)
assert "puzzlemix" in mixkit.list_methods()
mixkit.create_mixer("cutmix", "points", num_classes=2)
"""
