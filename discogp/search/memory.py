"""How much memory a search may plan with."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

MB = 2**20


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
