"""Every refusal in the code is provoked by a test, which the list in tests/refusals names."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from redistill.cli.main import main
from tests.refusals import sites
from tests.refusals.sites import Site

CODE = """
from redistill.console.exceptions import RefusedError


class OtherError(RefusedError):
    pass


def _late(told: str) -> RefusedError:
    return RefusedError(f"late: {told}")


class Door:
    def open(self) -> None:
        raise RefusedError("the door is shut")

    def knock(self) -> None:
        raise _late("it is night")


def other() -> None:
    raise OtherError("another")
"""


def project(folder: Path) -> Path:
    """A tree with one module that refuses in three ways."""
    for name, text in (("console/exceptions.py", ""), ("door.py", CODE)):
        file = folder / "redistill" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def test_each_place_that_makes_a_refusal_is_found_with_its_function_and_sentence(tmp_path):
    assert {place.site for place in sites.places(project(tmp_path))} == {
        Site("redistill/door.py", "Door.open", "'the door is shut'"),
        Site("redistill/door.py", "Door.knock", "'it is night'"),
        Site("redistill/door.py", "other", "'another'"),
    }


def test_a_record_names_the_place_in_the_function_that_called_for_the_sentence(tmp_path):
    root, record = project(tmp_path), tmp_path / "record"
    line = CODE.splitlines().index('        raise _late("it is night")') + 1
    late = CODE.splitlines().index('    return RefusedError(f"late: {told}")') + 1
    file = str(root / "redistill/door.py")
    row = {"test": "tests/test_a.py::test_b[case]", "places": [(file, late), (file, line)]}
    record.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert sites.provoked(record, root) == {
        Site("redistill/door.py", "Door.knock", "'it is night'"): "tests/test_a.py::test_b"
    }


def test_the_recorder_writes_down_where_a_refusal_was_made(tmp_path):
    record = tmp_path / "record"
    code = "from redistill.console.exceptions import RefusedError as R\nR('no')\n"
    (tmp_path / "one.py").write_text(code, encoding="utf-8")
    path = f"{sites.LIST.parent}:{sites.ROOT}"
    env = {"PYTHONPATH": path, "REDISTILL_REFUSALS": str(record), "PYTEST_CURRENT_TEST": "a (call)"}
    subprocess.run([sys.executable, str(tmp_path / "one.py")], env=env, check=True)
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert rows == [{"test": "a", "places": [[str(tmp_path / "one.py"), 2]]}]


@cache
def present() -> list[sites.Place]:
    """The places of ours that make a refusal."""
    return [*sites.places()]


def test_a_test_provokes_each_refusal_in_the_code():
    known = {*sites.listed(), *sites.unprovoked()}
    missing = [place.site for place in present() if place.site not in known]
    assert not missing, "no test is known to provoke these; add one and run make refusals"


def test_no_refusal_is_both_provoked_and_not():
    assert not sites.unprovoked() & {*sites.listed()}
    assert sites.unprovoked() <= {place.site for place in present()}


def test_the_list_of_refusals_names_nothing_that_is_gone():
    standing = {place.site for place in present()}
    assert [site for site in sites.listed() if site not in standing] == []
    for name in {*sites.listed().values()}:
        file, _, test = name.partition("::")
        text = (sites.ROOT / file).read_text(encoding="utf-8")
        assert f"def {test.rpartition('::')[2]}(" in text, f"{name} is gone; run make refusals"


def test_every_command_that_a_refusal_sends_its_reader_to_is_there():
    told = " ".join(place.site.told for place in present())
    named = {*re.findall(r"redistill ([a-z][a-z-]+)", told)}
    assert {"doctor", "plan"} <= named <= {*main.commands}


def test_every_setting_that_a_refusal_names_is_one():
    params = YAML(typ="safe").load(sites.ROOT / "params.yaml")
    sections = "|".join(key for key, value in params.items() if isinstance(value, dict))
    told = " ".join(place.site.told for place in present())
    named = {*re.findall(rf"(?<![\w./{{\[-])({sections})\.([a-z_]+)(?![\w(./])", told)}
    assert named
    known = {
        (section, key)
        for section, value in params.items()
        if isinstance(value, dict)
        for key in value
    }
    assert named - known == set()
