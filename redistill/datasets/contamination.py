"""How much of dev and test stands in train in other words, as `prepare` found it."""

from pathlib import Path
from typing import Any

from redistill.records.json_file import read_json


def read(path: Path) -> dict[str, Any] | None:
    """
    Read from *path*, the metrics of `prepare`, what a card tells of near-duplicates.

    It is the number of dev and of test questions with one in train, whether there may be more, and
    how many rows of train were left out for one; None where none was looked for.
    """
    found = read_json(path).get("near_duplicates")
    if found is None:
        return None
    like = {split: found["questions"].get(split, {}).get("train", 0) for split in ("dev", "test")}
    least = {"at_least": bool(found.get("at_least"))}
    dropped = found.get("dropped", {}).get("train")
    return {"alike": found["alike"], **like, **least, "dropped": dropped}
