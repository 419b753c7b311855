"""The same run with several seeds, as experiments of DVC, and what holds over all of them."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.analysis import experiments, statistics
from redistill.analysis.comparison import Bar
from redistill.analysis.figures import Figures
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records import fingerprint, json_file
from redistill.records.json_file import read_json
from redistill.settings import sections

NAMED = re.compile(r"(.*?)seed-?(\d+)")
KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
OUTSIDE = ", out of domain"
BEST, LADDER = "metrics/best.json", "metrics/ladder.json"
KEPT = (
    "the seeds before it are kept, params.yaml is as it was, and the same command goes on from here"
)
HEAD = (
    "round", "against", "seeds", "gain, points", "95 % interval", "by seed",
    "sd over seeds, of items", "fixed, broken",
)  # fmt: skip


class Row(Figures):
    """What the results of one seed say of a round over the branch *against*, its *rung*."""

    rung: str
    against: str = ""
    n: int
    fixed: int
    broken: int


class Rows(Figures):
    """The rounds of one seed's ladder, and the one that dev *chose*."""

    chosen: str
    rounds: dict[str, tuple[Row, ...]]
    outside: dict[str, tuple[Row, ...]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """
    The results of one seed: the *chosen* round, its rows (*best*) and those of all rounds.

    *outside* has the rows of all rounds on the out-of-domain tests together.
    """

    seed: int
    chosen: str
    best: tuple[Row, ...]
    rounds: dict[str, tuple[Row, ...]]
    command: str | None
    outside: dict[str, tuple[Row, ...]] = field(default_factory=dict)


class Pooled(Figures):
    """
    One comparison over several seeds: the mean gain, and the items of all seeds put together.

    *items_deviation* is the deviation that the choice of the test items alone gives the gain of a
    seed; where that over seeds is much larger, training itself varies. *better_in* counts seeds.
    """

    gain_points: statistics.Mean
    by_seed: dict[str, float]
    items_deviation: float
    better_in: int
    n: int
    fixed: int
    broken: int
    unchanged: int


class Summary(Figures):
    """What several seeds have in common: by round, and the chosen ones, the gain over each rung."""

    seeds: tuple[int, ...]
    commands: dict[str, str | None]
    chosen: dict[str, str]
    comparisons: dict[str, dict[str, Pooled]]


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


def queue(plan: Plan, seed: int, copied: Sequence[str] = ()) -> str:
    """Queue *seed* as an experiment of DVC with what is to be *copied*, and return its name."""
    name = plan.name(seed)
    words = [*plan.words(seed), "--queue", f"--name={name}"]
    words += [f"--copy-paths={path}" for path in copied]  # which git does not track
    kept = "what was queued before stays queued"
    try:
        experiments.run(plan.root, words, f"seed {seed}", kept, plan.rest(seed))
    except RefusedError:  # it may be queued with what was edited meanwhile, under this name
        subprocess.run(  # noqa: S603 - dvc, no shell
            [sys.executable, "-m", "dvc", "queue", "remove", name],
            cwd=plan.root,
            capture_output=True,
            check=False,
        )
        raise
    return name


def gather(folder: Path, seeds: Sequence[int] = ()) -> list[Run]:
    """
    Read the results of every seed in *folder*, or of *seeds*, by seed.

    A file is for a seed if its name ends in seedN.json; it holds what a sweep kept, a ladder.json
    or a best.json. Raises RefusedError where there is none, or two for a seed.
    """
    found: dict[int, Path] = {}
    for file in sorted(folder.glob("*.json")):
        named = NAMED.fullmatch(file.stem)
        if named is None or (seeds and int(named[2]) not in seeds):
            continue
        if int(named[2]) in found:
            raise RefusedError(f"{folder}: {found[int(named[2])].name} and {file.name}: one seed")
        found[int(named[2])] = file
    if not found:
        raise RefusedError(f"{folder}: there is no file of a seed, such as seed1.json")
    return [_run(seed, found[seed]) for seed in sorted(found)]


def summary(runs: Sequence[Run]) -> Summary:
    """
    Put *runs* together: for the chosen rounds, and for each round, the gain over each rung.

    Branches that are one rung (`ladder.rung`) are put together, whatever their names. Rounds have
    rows on the out-of-domain tests as well, where there are some.
    """
    rounds = dict.fromkeys(name for run in runs for name in run.rounds)
    abroad = dict.fromkeys(name for run in runs for name in run.outside)
    return Summary(
        seeds=tuple(run.seed for run in runs),
        commands={str(run.seed): run.command for run in runs},
        chosen={str(run.seed): run.chosen for run in runs},
        comparisons={
            "chosen": _over((run.seed, run.best) for run in runs),
            **{
                name: _over((run.seed, run.rounds[name]) for run in runs if name in run.rounds)
                for name in rounds
            },
            **{
                f"{name}{OUTSIDE}": _over(
                    (run.seed, run.outside[name]) for run in runs if name in run.outside
                )
                for name in abroad
            },
        },
    )


def pooled(seeds: Sequence[int], rows: Sequence[Row]) -> Pooled:
    """Put one comparison over *seeds* together, with Student's t interval of the mean gain."""
    n, fixed, broken = (sum(getattr(row, key) for row in rows) for key in ("n", "fixed", "broken"))
    gains = [100 * (row.fixed - row.broken) / row.n for row in rows]
    spread = [statistics.item_variance(row.fixed, row.broken, row.n) / row.n for row in rows]
    return Pooled(
        gain_points=statistics.mean(gains),
        by_seed={str(s): round(g, 2) for s, g in zip(seeds, gains, strict=True)},
        items_deviation=round(100 * (sum(spread) / len(spread)) ** 0.5, 4),
        better_in=sum(gain > 0 for gain in gains),
        n=n,
        fixed=fixed,
        broken=broken,
        unchanged=n - fixed - broken,
    )


def lines(summary: Summary) -> list[tuple[str, ...]]:
    """Write the table of a sweep for people, its header first."""
    rows: list[tuple[str, ...]] = [HEAD]
    for round, found in summary.comparisons.items():
        for name, row in found.items():
            gain = row.gain_points
            deviation = "unknown" if gain.deviation is None else f"{gain.deviation:.1f}"
            rows.append(
                (
                    round,
                    name,
                    str(gain.n),
                    f"{gain.mean:+.1f}",
                    _interval(gain),
                    ", ".join(f"{value:+.1f}" for value in row.by_seed.values()),
                    f"{deviation}, {row.items_deviation:.1f}",
                    f"{row.fixed}, {row.broken}",
                )
            )
    return rows


def bars(summary: Summary) -> list[Bar]:
    """
    Return the mean gains of *summary* that have an interval, to be drawn.

    Told apart is what Student's t interval over the seeds sets apart from nothing; with one seed
    there is no interval, and nothing is.
    """
    return [
        Bar(
            f"{round} - {name}",
            gain.mean,
            gain.low,
            gain.high,
            told_apart=gain.low > 0 or gain.high < 0,
        )
        for round, found in summary.comparisons.items()
        for name, gain in ((name, row.gain_points) for name, row in found.items())
        if gain.low is not None and gain.high is not None
    ]


def _over(found: Iterable[tuple[int, Sequence[Row]]]) -> dict[str, Pooled]:
    """The rows of each seed put together by rung; by branch where two of a seed are one rung."""
    by_rung: dict[str, list[tuple[int, Row]]] = {}
    for seed, rows in found:
        times = Counter(row.rung for row in rows)
        for row in rows:
            name = row.rung if times[row.rung] == 1 else row.against
            by_rung.setdefault(name, []).append((seed, row))
    return {
        name: pooled([seed for seed, _ in pairs], [row for _, row in pairs])
        for name, pairs in by_rung.items()
    }


def _run(seed: int, file: Path) -> Run:
    content = read_json(file)
    ladder = content if "rounds" in content else content.get("ladder")
    where = f"{file}: not the results of a run"
    if ladder is not None:
        found = Rows.held(ladder, where)
        if found.chosen not in found.rounds:
            raise RefusedError(f"{where}: rounds: no {found.chosen}, which is the chosen one")
        best = found.rounds[found.chosen]
        command = content.get("command")
        return Run(seed, found.chosen, best, found.rounds, command, found.outside)
    rows = tuple(
        Row.held({"rung": name} | content.get(key, {}), f"{where}: {key}")
        for name, key in (
            ("one-shot", "against_first"),
            ("one-shot, step-matched", "against_control"),
        )
    )
    return Run(seed, str(content.get("round")), rows, {}, None)


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


def _interval(gain: statistics.Mean) -> str:
    if gain.low is None or gain.high is None:
        return "one seed"
    return f"{gain.low:+.1f} to {gain.high:+.1f}"
