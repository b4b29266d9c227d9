"""How much memory there is: what a search may plan with, and what may be kept between two runs of a circuit."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import torch

from discogp.errors import ConfigError

MB = 2**20
KEPT_SHARE = 0.25
"""Of the free memory, for what makes the next run of a circuit quicker; `DISCOGP_KEEP` sets another."""


def available_mb(device: torch.device) -> float:
    """Free memory of a GPU; on a CPU what the system can give, less where a container's limit is tighter."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MB
    free = psutil.virtual_memory().available / MB
    # psutil tells of the machine, not of the control group that a container runs in.
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (text := limit.read_text(encoding="ascii").strip()).isdigit():
        free = min(free, (int(text) - int(used.read_text(encoding="ascii"))) / MB)
    return free


def kept_bytes(device: torch.device) -> int:
    """How much a circuit's runs may keep, a share of what is free now. ConfigError for a share that is none."""
    written = os.environ.get("DISCOGP_KEEP", "")
    try:
        share = float(written) if written else KEPT_SHARE
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"DISCOGP_KEEP is {written!r}; it is a share of the free memory, from 0 to 1")
    return int(share * max(0.0, available_mb(device)) * MB)
