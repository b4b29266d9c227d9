"""Where published data lie: a file, a folder in one of the layouts people keep them in, or the Hugging Face hub."""

from __future__ import annotations

import time
from pathlib import Path

from discogp.errors import TaskError
from discogp.paths import user_path

# Folders, within the one given, in which the files of a data set may lie: a folder for several data sets, the data
# set's own, or a clone of its repository.
_PLACES = {
    "blimp": ("", "blimp", "data", "blimp/data"),
    "pararel": ("", "pararel", "data", "pararel/data"),
    "mib": ("", "mib", "data", "MIB-causal-variable-track/tasks"),
    "lre": ("", "lre_relations", "lre", "data", "relations/data"),
}
_ORIGINS = {
    "blimp": "github.com/alexwarstadt/blimp",
    "pararel": "github.com/yanaiela/pararel",
    "lre": "github.com/evandez/relations",
    "mib": "github.com/aaronmueller/MIB",
}
_TITLES = {"pararel": "PARAREL", "lre": "LRE", "mib": "MIB"}
# A hub out of reach costs half a minute of retries; within this many seconds it is not asked again.
_PATIENCE = 120.0
_out_of_reach_since = float("-inf")


def published_file(collection: str, name: str, data: str | Path | None) -> Path:
    """The file `name` of a collection (blimp, pararel, lre, mib): in the folder `data`, or `data` itself if that is a
    file, or, without `data` and for BLiMP, from the hub. TaskError says where it was looked for.
    """
    if data is None:
        return _from_hub(collection, name)
    given = user_path(data, TaskError)
    if given.is_file():
        return given
    # The last: the folder within the data set in which the file lies.
    tried = [*(given / place / name for place in _PLACES[collection]), given / Path(name).name]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        what = f"has no {name}" if given.is_dir() else "does not exist"
        raise TaskError(
            f"the folder {str(data)!r} {what}; give with --data the file itself, or a folder that has it as "
            f"{' or '.join(str(path.relative_to(given)) for path in tried[:3])} (from {_ORIGINS[collection]})"
        )
    return found


def _from_hub(collection: str, name: str) -> Path:
    where = f"get it from {_ORIGINS[collection]} and give the file or its folder with --data"
    if collection != "blimp":
        raise TaskError(f"{_TITLES[collection]}'s file {name} is needed; {where}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    global _out_of_reach_since
    try:
        return Path(
            hf_hub_download(
                "nyu-mll/blimp",
                f"{name.removesuffix('.jsonl')}/train-00000-of-00001.parquet",
                repo_type="dataset",
                local_files_only=time.monotonic() - _out_of_reach_since < _PATIENCE,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        _out_of_reach_since = time.monotonic()
        raise TaskError(
            f"BLiMP's file {name} is not on this machine, and the Hugging Face hub does not answer for nyu-mll/blimp "
            f"({type(error).__name__}); {where}"
        ) from error
