"""Snakemake's plugins for clusters and buckets: they lie beside the environment, where only who asks for them pays."""

import os
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "plugins"


def path_of(*names: str) -> str:
    """What PYTHONPATH must be for plugins: storage, slurm, kubernetes; `make plugins` installs them."""
    folders = [FOLDER / name for name in names]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    assert not missing, f"not installed, run make plugins: {', '.join(missing)}"
    return os.pathsep.join(map(str, folders))
