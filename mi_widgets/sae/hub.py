"""Coders on the Hugging Face hub: only settings and safe weights of one folder are fetched, and nothing where the
machine is offline and has them not.

Knows nothing of the formats but the names of their files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from mi_widgets.errors import DataError, MiWidgetsError
from mi_widgets.sae.reading import PICKLES, pickled, some

SCHEME = "hf://"
#: What is fetched of a folder: never what is pickled, nor the examples and statistics that may lie beside.
SETTINGS = ("cfg.json", "config.json", "config.yaml")
WEIGHTS = ("sae_weights.safetensors", "params.npz", "params.safetensors", "layer_*.safetensors", "W_*.safetensors")
LAYER = re.compile(r"layer_\d+\.safetensors")


def is_id(source: str) -> bool:
    """Whether `source` looks like a repository: `owner/name`, with folders in it after that, or `hf://…`."""
    return source.startswith(SCHEME) or bool(re.fullmatch(r"\w[\w.-]*(/[\w.-]+)+", source))


def folder(source: str, sae_id: str | None = None, layer: int | None = None) -> tuple[Path, str]:
    """A folder of a repository, on this disk, and a name for it. Of the folders in it nothing is fetched.

    Args:
        source: `owner/name`, `owner/name/folder/in/it`, or `hf://owner/name/…?revision=…`.
        sae_id: the folder in it; joined to that of `source`.
        layer: of a set only this layer's file; all if None.

    Returns:
        Where its files are, and `name/folder/in/it`.

    Raises:
        DataError: offline and not fetched before, no such repository or folder, none but folders in it, or no way to
            the hub.
    """
    from huggingface_hub import snapshot_download

    repository, inside, revision = _parted(source)
    inside = "/".join(part for part in (inside, (sae_id or "").strip("/")) if part)
    said = "/".join(part for part in (repository, inside) if part)

    def fetch(local: bool) -> str:
        wanted = [] if local else _files(repository, inside, revision, layer)
        return snapshot_download(repository, revision=revision, allow_patterns=wanted, local_files_only=local)

    there = Path(_fetched(said, fetch)) / inside
    if not there.is_dir():
        raise DataError(f"{said} was not fetched while online.", "Fetch it once while online, or give a folder.")
    return there, "/".join(part for part in (repository.split("/")[-1], inside) if part)


def _files(repository: str, inside: str, revision: str | None, layer: int | None) -> list[str]:
    """What to fetch of one folder of a repository."""
    from huggingface_hub import HfApi

    tree = list(HfApi().list_repo_tree(repository, inside or None, revision=revision))
    files = [entry.path for entry in tree if hasattr(entry, "size")]  # folders have none
    own = {f"layer_{layer}.safetensors"} if layer is not None else set()
    wanted = [
        path
        for path in files
        if any(fnmatch(path.split("/")[-1], name) for name in (*SETTINGS, *WEIGHTS))
        and (layer is None or not LAYER.fullmatch(path.split("/")[-1]) or path.split("/")[-1] in own)
    ]
    weights = [path for path in wanted if path.endswith((".safetensors", ".npz"))]
    folders = [entry.path.removeprefix(f"{inside}/") for entry in tree if not hasattr(entry, "size")]
    where = "/".join(part for part in (repository, inside) if part)
    if folders and not weights and not any(path.endswith("config.yaml") for path in wanted):
        raise DataError(f"{where} has folders, and no weights beside them: {some(folders)}.", "Say which: sae_id=….")
    if not weights and any(path.endswith(PICKLES) for path in files):
        raise pickled(where)
    return wanted


def file(source: str) -> Path:
    """One file of a repository, on this disk.

    Args:
        source: `hf://owner/name/path/of/the/file?revision=…`.

    Raises:
        DataError: as `folder`.
    """
    repository, inside, revision = _parted(source)
    from huggingface_hub import hf_hub_download

    return Path(
        _fetched(source, lambda local: hf_hub_download(repository, inside, revision=revision, local_files_only=local))
    )


def _parted(source: str) -> tuple[str, str, str | None]:
    """Repository, folder in it, revision."""
    read = urlsplit(source.removeprefix(SCHEME))
    parts = read.path.strip("/").split("/")
    if len(parts) < 2:
        raise DataError(f"{source} names no repository.", "Give hf://owner/name, and folders after it.")
    return "/".join(parts[:2]), "/".join(parts[2:]), parse_qs(read.query).get("revision", [None])[0]


def _fetched(source: str, fetch: Callable[[bool], str]) -> str:
    """What `fetch(local_files_only)` gives; its errors as one of ours."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    offline = bool(constants.HF_HUB_OFFLINE)
    try:
        return fetch(offline)
    except LocalEntryNotFoundError as reason:
        why = "this machine is offline (HF_HUB_OFFLINE)" if offline else "the hub cannot be reached"
        raise DataError(
            f"there is no folder {source}, and it was not fetched from the hub before: {why}.",
            "Give a folder of this disk, or fetch it once while online.",
        ) from reason
    except GatedRepoError as reason:
        raise DataError(
            f"{source} is gated on the hub.", "Accept its terms on its page, and log in with `hf auth login`."
        ) from reason
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError, HFValidationError) as reason:
        raise DataError(
            f"neither this disk nor the hub has {source} ({type(reason).__name__}).",
            "Look at its spelling; a private one wants `hf auth login`.",
        ) from reason
    except MiWidgetsError:
        raise
    except Exception as reason:  # the hub's client raises those of its own transport, another in each version
        if not offline:
            with suppress(Exception):
                return fetch(True)
        said = f"{type(reason).__name__}: {reason}".splitlines()[0]
        raise DataError(
            f"{source} could not be fetched from the hub ({said}).", "Try again, or give a folder."
        ) from reason
