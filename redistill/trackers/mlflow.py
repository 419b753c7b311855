"""MLflow: a run is found by the id in its tags; without a server it lies in SQLite."""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.tracking.identity import Identity

DESTINATION = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "REDISTILL_TRACKER_PROJECT")
ID = "redistill.id"
LONGEST = 5000  # characters of a tag
SETTING = 500  # characters of a setting
AT_ONCE = 100  # settings that a server takes in one request
UNKNOWN = re.compile(r"[^0-9A-Za-z_. :/-]")  # in a name, which a server refuses
# A server that is down is known to be so well before a stage gives up on it
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}


class _Run:
    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def figures(self, found: Mapping[str, float]) -> None:
        self._mlflow.log_metrics({_named(name): value for name, value in found.items()})

    def words(self, found: Mapping[str, str]) -> None:
        self._mlflow.set_tags({_named(name): text[:LONGEST] for name, text in found.items()})

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([head, *rows])
        self._mlflow.log_text(out.getvalue(), f"tables/{name.replace(' ', '-')}.csv")

    def follow(self, callback: Any, args: Any, state: Any, model: Any) -> None:
        callback.on_train_begin(args, state, None, model=model)

    def end(self) -> None:
        self._mlflow.flush_async_logging()
        self._mlflow.end_run()


def begin(identity: Identity, place: Path) -> _Run:
    """
    Open the run of *identity*, or go on with it.

    It lies in *place* where MLFLOW_TRACKING_URI names nothing else.
    """
    import mlflow

    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    if local:
        place.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(f"sqlite:///{place.resolve()}/mlflow.db")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or identity.project
    experiment = mlflow.get_experiment_by_name(name)
    number = (
        experiment.experiment_id
        if experiment
        else mlflow.create_experiment(
            name, artifact_location=(place.resolve() / "mlflow").as_uri() if local else None
        )
    )
    found = mlflow.search_runs(
        [number], filter_string=f"tags.`{ID}` = '{identity.id}'", output_format="list"
    )
    if found:
        mlflow.start_run(run_id=found[0].info.run_id)
    else:
        tags = {ID: identity.id, "group": identity.group, "branch": identity.branch}
        mlflow.start_run(experiment_id=number, run_name=identity.name, tags=tags)
        _settings(mlflow, identity)
    return _Run(mlflow)


def _settings(mlflow: Any, identity: Identity) -> None:
    told = {"commit": identity.commit, "seed": identity.seed, **identity.settings}
    named = [(_named(name), str(value)[:SETTING]) for name, value in told.items()]
    for start in range(0, len(named), AT_ONCE):
        mlflow.log_params(dict(named[start : start + AT_ONCE]))


def _named(name: str) -> str:
    return UNKNOWN.sub("_", name)
