"""A sweep: the same run with several seeds, as experiments of DVC whose results are kept."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.analysis import experiments
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records import fingerprint, json_file
from redistill.records.json_file import read_json
from redistill.settings import sections

KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
BEST, LADDER = "metrics/best.json", "metrics/ladder.json"
KEPT = (
    "the seeds before it are kept, params.yaml is as it was, and the same command goes on from here"
)


@dataclass(frozen=True)
class Plan:
    """Experiments of DVC in *root* with the settings *pairs*, their results kept in *folder*."""

    root: Path
    folder: Path
    pairs: tuple[str, ...]

    def words(self, seed: int) -> list[str]:
        """Return the command of DVC that runs *seed*."""
        settings = [f"seed={seed}", *self.pairs]
        return ["dvc", "exp", "run", *(f"--set-param={pair}" for pair in settings)]

    def file(self, seed: int) -> Path:
        """Say where the results of *seed* go."""
        return self.folder / f"seed{seed}.json"

    def name(self, seed: int) -> str:
        """Name the experiment of *seed* where it is queued, by all of its settings."""
        return f"seed{seed}-{self.settings()[:8]}"

    def rest(self, seed: int) -> Callable[[], str]:
        """Have what is in params.yaml digested but for *seed* and the *pairs*, which DVC sets."""
        known = (seed, sections.read(self.root / experiments.PARAMS).seed)

        def digest() -> str:
            found = sections.read(self.root / experiments.PARAMS).seed
            return f"{self.settings()} {known if found in known else found}"

        return digest

    def head(self) -> str:
        """Name the commit that experiments of now are made on; empty without one."""
        return _git(self.root, "rev-parse", "HEAD").strip()

    def settings(self, file: Path = experiments.PARAMS) -> str:
        """
        Make a digest of params.yaml, or *file*, with the *pairs* set and the seed left out.

        It is the same before an experiment as while it runs, with its settings in params.yaml.
        """
        content = deepcopy(dict(sections.read(self.root / file).content))
        for pair in self.pairs:
            _set(content, pair)
        content.pop("seed", None)
        return fingerprint.digest(json.dumps(content, sort_keys=True, default=str))


@dataclass(frozen=True)
class Held(Plan):
    """A plan with the settings *said* and the commit *on*, whatever is edited since."""

    said: str
    on: str

    def head(self) -> str:
        """Return the commit that the experiments were queued on."""
        return self.on

    def settings(self, file: Path = experiments.PARAMS) -> str:
        """Return the digest of the settings that the experiments were queued with."""
        return self.said


def held(plan: Plan) -> Held:
    """Hold *plan* to the settings and the commit of now."""
    return Held(plan.root, plan.folder, plan.pairs, plan.settings(), plan.head())


def plan(root: Path, folder: Path, pairs: Sequence[str]) -> Plan:
    """
    Plan a sweep of the run in *root* with ``key=value`` *pairs*, checked before anything runs.

    Raises RefusedError for a pair that is none, or whose key params.yaml does not have.
    """
    made = Plan(root, folder, tuple(pairs))
    made.settings()
    return made


def take_back(plan: Plan) -> str | None:
    """Put params.yaml back where a sweep was killed, and say so, as `experiments.take_back`."""
    killed = (plan.root / experiments.KEPT).is_file()
    same = killed and plan.settings(experiments.KEPT) == plan.settings()
    return experiments.take_back(plan.root, same)


def missing(plan: Plan, seeds: Sequence[int], *, force: bool) -> list[int]:
    """
    Find those of *seeds* without results, or all with *force*; a queued run's results are taken in.

    Raises RefusedError for results that other settings made.
    """
    left = []
    for seed in dict.fromkeys(seeds):
        file = plan.file(seed)
        if not force and not file.is_file():
            _take_in(plan, seed)
        if force or not file.is_file():
            left.append(seed)
        elif read_json(file).get("settings") != plan.settings():
            raise RefusedError(
                f"{file}: these results are from other settings (params.yaml or --set); run it "
                "again with --force, or name another folder with --results",
                code=CONFIG,
            )
    return left


def run(plan: Plan, seed: int) -> None:
    """
    Run *seed* as an experiment of DVC in the working tree, and keep its results in their file.

    The params.yaml is left as it was. Raises RefusedError where DVC fails or is interrupted; what
    it finished then is in its cache.
    """
    words = plan.words(seed)
    experiments.run(plan.root, words, f"seed {seed}", KEPT, plan.rest(seed))
    found = {name: read_json(plan.root / name) for name in (BEST, LADDER)}
    _keep(plan, seed, words, found)


def _keep(plan: Plan, seed: int, words: Sequence[str], found: Mapping[str, Any]) -> None:
    content = {"seed": seed, "command": " ".join(words), "settings": plan.settings()}
    json_file.write_json(plan.file(seed), content | {"best": found[BEST], "ladder": found[LADDER]})


def _take_in(plan: Plan, seed: int) -> None:
    """Keep the results of a queued experiment on this commit, where it has ended."""
    head = plan.head()
    name = f"refs/exps/{head[:2]}/{head[2:]}/{plan.name(seed)}"
    texts = [_git(plan.root, "show", f"{name}:./{file}") for file in (BEST, LADDER)]
    if head and all(texts):
        best, ladder = (json.loads(text) for text in texts)
        words = [*plan.words(seed), "--queue", f"--name={plan.name(seed)}"]
        _keep(plan, seed, words, {BEST: best, LADDER: ladder})


def _git(root: Path, *words: str) -> str:
    """What git prints, nothing where it fails."""
    ran = subprocess.run(  # noqa: S603 - git, no shell
        ["git", *words],  # noqa: S607 - the one on the PATH, as DVC uses it
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout if ran.returncode == 0 else ""


def _set(content: dict[str, Any], pair: str) -> None:
    """Set the ``key=value`` *pair* in *content*, the value read as YAML, as DVC does."""
    key, sign, text = pair.partition("=")
    if not sign or not KEY.fullmatch(key) or key == "seed":
        raise RefusedError(
            f"--set {pair}: expected section.key=value, such as train.steps=800", code=CONFIG
        )
    *sections, last = key.split(".")
    place: Any = content
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        raise RefusedError(f"--set {pair}: params.yaml has no {key}", code=CONFIG)
    try:
        place[last] = YAML(typ="safe").load(text)
    except YAMLError as problem:
        raise RefusedError(f"--set {pair}: the value is not YAML", code=CONFIG) from problem
