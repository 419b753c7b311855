"""MLflow: a run is found by the id in its tags; without a server it lies in SQLite."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow

from redistill.tracking.identity import Identity

DESTINATION = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "REDISTILL_TRACKER_PROJECT")
ID = "redistill.id"
LONGEST = 5000  # characters of a tag


class _Run:
    def figures(self, found: Mapping[str, float]) -> None:
        mlflow.log_metrics(dict(found))

    def words(self, found: Mapping[str, str]) -> None:
        mlflow.set_tags({name: text[:LONGEST] for name, text in found.items()})

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([head, *rows])
        mlflow.log_text(out.getvalue(), f"tables/{name.replace(' ', '-')}.csv")

    def follow(self, callback: Any, args: Any, state: Any, model: Any) -> None:
        callback.on_train_begin(args, state, None, model=model)

    def end(self) -> None:
        mlflow.flush_async_logging()
        mlflow.end_run()


def begin(identity: Identity, place: Path) -> _Run:
    """
    Open the run of *identity*, or go on with it.

    It lies in *place* where MLFLOW_TRACKING_URI names nothing else.
    """
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
        _settings(identity)
    return _Run()


def _settings(identity: Identity) -> None:
    told = {"commit": identity.commit, "seed": identity.seed, **identity.settings}
    mlflow.log_params({name.replace("@", "_"): str(value)[:500] for name, value in told.items()})
