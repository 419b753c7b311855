"""A published data set on the Hugging Face hub: what would go there, and sending it."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from redistill.console.exceptions import CONFIG, PERMISSION, TRY_AGAIN, RefusedError
from redistill.datasets.card import merged
from redistill.datasets.files import CARD, FILES, PROVENANCE, seal
from redistill.records import manifest
from redistill.records.json_file import write_text

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
DENIED = (401, 403)


@dataclass(frozen=True)
class Parcel:
    """What a push sends: files with bytes and rows, the card's front matter, and what it lacks."""

    files: list[tuple[str, int, int | None]]
    front: str
    missing: list[str]


def parcel(folder: Path) -> Parcel:
    """
    Return what *folder* would send, checked against its manifest.

    Raises RefusedError where it is not what was written.
    """
    faults = manifest.verify(folder)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise RefusedError(f"{faults[0]}{more}; dvc checkout, or dvc repro publish")
    listed = _json(folder / manifest.NAME)["files"]
    files = [(name, entry["bytes"], entry.get("rows")) for name, entry in sorted(listed.items())]
    size = (folder / manifest.NAME).stat().st_size
    card = (folder / CARD).read_text(encoding="utf-8")
    return Parcel(
        [*files, (manifest.NAME, size, None)],
        card.removeprefix("---\n").partition("\n---\n")[0],
        missing(_json(folder / PROVENANCE)),
    )


def missing(provenance: dict[str, Any]) -> list[str]:
    """Name what *provenance* does not say and others would need before they may use the data."""
    faults = []
    if provenance["license"] is None:
        faults.append("no licence: set publish.license, then dvc repro publish")
    for name, thing in (("teachers", "teacher"), ("sources", "source")):
        count = sum(n for value, n in provenance[name].items() if not value.strip())
        if count:
            faults.append(f"no {thing} in {count} rows of the view records")
    return faults


def push(folder: Path, repo: str, hub: "HfApi", *, public: bool) -> str:
    """
    Send *folder* to the data set *repo* of *hub* in one commit; returns what was done.

    The repository is made private unless *public*. The card that is there is read first: what
    others wrote in it outside our section stays, and the manifest that is sent is that of the card
    that is sent. The commit is refused by the hub if another came between. Raises RefusedError,
    before anything is sent, for a folder that is not what was written, for what is missing in it,
    for a licence other than the card's, and for a repository that all can see unless *public*.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if not REPO.fullmatch(repo):
        raise RefusedError(f"{repo!r} is no name of a data set such as ORG/NAME", code=CONFIG)
    sent = parcel(folder)
    if sent.missing:
        raise RefusedError(f"{folder}: not pushed: {'; '.join(sent.missing)}", code=CONFIG)
    try:
        return _push(folder, repo, hub, public=public)
    except LocalTokenNotFoundError as problem:
        told = "no token; run hf auth login, or set HF_TOKEN"
        raise RefusedError(f"{repo}: {told}", code=PERMISSION) from problem
    except HfHubHTTPError as problem:
        status = problem.response.status_code
        code = PERMISSION if status in DENIED else TRY_AGAIN
        told = " ".join(str(problem).split())
        raise RefusedError(f"{repo}: the hub refused ({status}): {told}", code=code) from problem
    except (OSError, httpx2.HTTPError) as problem:
        raise RefusedError(f"{repo}: the hub: {problem}", code=TRY_AGAIN) from problem


def _push(folder: Path, repo: str, hub: "HfApi", *, public: bool) -> str:
    hub.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
    there = hub.dataset_info(repo)
    if not there.private and not public:
        raise RefusedError(
            f"{repo}: can be seen by everyone; add --public if that is what you want", code=CONFIG
        )
    with TemporaryDirectory(prefix="redistill-") as place:
        staged = Path(place) / folder.name
        shutil.copytree(folder, staged)
        card, at = CARD, there.sha
        if hub.file_exists(repo, card, repo_type="dataset", revision=at):
            theirs = hub.hf_hub_download(repo, card, repo_type="dataset", revision=at)
            _merge(staged, Path(theirs).read_text(encoding="utf-8"))
        hub.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=str(staged),
            commit_message=f"{folder.name}, published by Redistill",
            parent_commit=at,
            delete_patterns=sorted(FILES - {CARD}),
        )
    return (
        f"{repo}: {'private' if there.private else 'public'}, {len(list(folder.iterdir()))} files"
    )


def _merge(staged: Path, theirs: str) -> None:
    """Put our section into the card *theirs*, and seal the folder *staged* with it anew."""
    card = staged / CARD
    rows = _json(staged / PROVENANCE)["views"]
    write_text(card, merged(theirs, card.read_text(encoding="utf-8")))
    seal(staged, rows)


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))
