"""What dvc.yaml says of the stages, held against what they really are."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from tests.imports import ROOT, imported

PIPELINE = load_yaml(str(ROOT / "dvc.yaml"))["stages"]
CHOSEN = {
    "${teach.teacher}": "tutor",
    "${teach.refiner}": "tutor",
    "${grade.grader}": "numeric",
}
TEACHERS = sorted((ROOT / "redistill/teachers").glob("[a-z]*.py"))
GRADERS = sorted((ROOT / "redistill/graders").glob("[a-z]*.py"))
ITEM = "from|rationales|start|like|of|and|errors|student"
PATTERN = re.compile(rf"\$\{{(key|item\.({ITEM}))\}}")
WITHOUT_TORCH = ["prepare", "generate", "outside", "mine", "refine", "control", "report", "publish",
                 "take", "pool", "tailor", "transfer"]  # fmt: skip
OUTSIDE = ("data/problems/outside", "data/predictions-outside", "metrics/outside")


def body(stage: str) -> dict:
    return PIPELINE[stage].get("do", PIPELINE[stage])


def outs(stage: str) -> set[str]:
    listed = body(stage).get("outs", []) + body(stage).get("metrics", [])
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}


def folders(stage: str) -> list[Path]:
    """The folders of modules among the stage's deps: they stand for all that is in them."""
    deps = [Path(dep) for dep in body(stage)["deps"] if dep.startswith("redistill/")]
    return [dep for dep in deps if (ROOT / dep).is_dir()]


def modules(stage: str) -> tuple[set[str], set[str]]:
    """The modules among the stage's deps, as written and with the chosen names filled in."""
    written = {dep for dep in body(stage)["deps"] if dep.endswith(".py")}
    filled = set()
    for dep in written:
        for blank, name in CHOSEN.items():
            dep = dep.replace(blank, name)
        filled.add(dep)
    return written, filled


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_are_exactly_the_modules_that_the_stage_imports(stage: str):
    written, filled = modules(stage)
    by_name = [
        Path(f) for w in written for f in filled if "${" in w and Path(w).parent == Path(f).parent
    ]

    found = {Path(f"stages/{stage}.py")} | imported(ROOT / "stages" / f"{stage}.py")
    for file in by_name:
        if "${" in "".join(w for w in written if Path(w).parent == file.parent):
            found |= {file} | imported(ROOT / file)
        # what any teacher or grader imports: dvc.yaml cannot choose lists
        others = {"teachers": TEACHERS, "graders": GRADERS}.get(file.parent.name, [])
        found |= {path for other in others for path in imported(other)}
    for folder in folders(stage):
        found |= {path for file in (ROOT / folder).glob("*.py") for path in imported(file)}
        found = {path for path in found if path.parent != folder}

    assert filled == {str(path) for path in found}


def test_compiled_modules_do_not_make_a_folder_of_modules_another():
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").split("\n")

    assert "__pycache__/" in ignored
    assert {stage for stage in PIPELINE if folders(stage)} == {"prepare", "outside", "publish"}


def test_mining_is_no_business_of_generate_and_earlier_stages():
    for stage in ("prepare", "base", "generate", "train", "evaluate"):
        assert "redistill/diagnosis/mine.py" not in body(stage)["deps"]


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_path_of_cmd_is_a_dep_or_an_out(stage: str):
    known = set(body(stage)["deps"]) | outs(stage)
    named = [word for word in body(stage)["cmd"].split() if word.startswith(("data/", "metrics"))]

    assert named
    for path in named:
        inside = any(k == path or k.startswith(f"{path}/") for k in known)
        assert inside, f"{stage}: {path} stands in cmd, but neither in deps nor in outs"
    for out in outs(stage):
        assert any(out == path or out.startswith(f"{path}/") for path in named)


@pytest.mark.parametrize("stage", PIPELINE)
def test_cmd_runs_the_stage_of_its_name_and_interpolates_only_names(stage: str):
    cmd = body(stage)["cmd"]

    assert cmd.startswith(f"exec python -m stages.{stage} ")
    assert "${" not in PATTERN.sub("", cmd)
    assert body(stage)["desc"]


def test_there_is_a_file_for_every_stage_and_a_stage_for_every_file():
    files = {f.stem for f in (ROOT / "stages").glob("*.py")} - {"__init__"}

    assert files == set(PIPELINE)


def test_generate_train_mine_and_refine_never_read_test():
    for stage in ("generate", "train", "mine", "refine", "take", "pool", "tailor"):
        assert not [dep for dep in body(stage)["deps"] if "test" in dep]
        assert "data/problems" not in body(stage)["deps"]  # which test is in


def test_only_prepare_outside_and_report_touch_out_of_domain_tests():
    for stage in set(PIPELINE) - {"prepare", "outside", "report"}:
        for path in {*body(stage)["deps"], *outs(stage)}:
            for place in OUTSIDE:
                apart = not f"{path}/".startswith(f"{place}/") and not place.startswith(f"{path}/")
                assert apart, f"{stage}: {path} reaches into {place}"
    assert "data/problems/outside" in outs("prepare")
    assert "data/problems" not in body("report")["deps"]  # only the splits of the task itself


@pytest.mark.parametrize("stage", WITHOUT_TORCH)
def test_stages_without_a_student_do_not_import_torch(stage: str):
    heavy = ["torch", "transformers", "datasets", "matplotlib"]
    code = f"import stages.{stage}, sys; print([m for m in {heavy} if m in sys.modules])"

    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ran.stdout.strip() == "[]", ran.stderr


@pytest.mark.parametrize("stage", ["mine", "refine"])
def test_stages_without_a_student_end_within_a_second_on_empty_input(stage: str, tmp_path: Path):
    for name in ("params.yaml",):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    gaps = tmp_path / "gaps.json"
    gaps.write_text('{"profile": {"common": []}, "decision": {"stop": false}}')
    options = (
        {
            "mine": "--train-problems e --dev-problems e --rationales e --train e --dev e"
            " --before e",
            "refine": "--round r1 --problems e --rationales e --errors e --gaps g --student s",
        }[stage]
        .replace(" e", f" {empty}")
        .replace(" g", f" {gaps}")
    )
    command = f"{sys.executable} -m stages.{stage} {options} --out out.jsonl --metrics m.json"

    before = _used()
    ran = subprocess.run(
        command.split(),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    seconds = _used() - before

    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert seconds < 1.0


def _used() -> float:
    """Seconds of processor time that ended children took: what else runs here does not count."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
