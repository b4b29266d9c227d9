"""Several processes on one search: `torchrun --nproc-per-node N -m discogp discover …`.

Data-parallel over the batch: every process draws the same masks from the same generator, takes its part of the prompts,
and the gradients are added up before the update. So all hold the same mask logits after every step, and nothing but the
order of sums tells N processes from one. Each process evaluates for itself, on its own device: all then know the best
candidate without being told. Only the first one prints and writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from discogp.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """This process among those that search together; by default alone."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def part(self, items: Sequence[int]) -> Sequence[int]:
        """This process's consecutive part of a batch; parts differ in size by one at most, and may be empty."""
        bounds = [len(items) * i // self.size for i in (self.rank, self.rank + 1)]
        return items[bounds[0] : bounds[1]]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over all processes: one message a dtype, not one a tensor."""
        if self.size == 1:
            return
        for dtype in {tensor.dtype for tensor in tensors}:
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            for tensor, total in zip(same, flat.split([tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def wait(self) -> None:
        """Until every process has come here."""
        if self.size > 1:
            dist.barrier()


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def local_size() -> int:
    """Processes on this machine, which share its memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, str]]:
    """Join the other processes that torchrun started, if any: (this process, its device).

    "cuda" becomes one device a process. ConfigError if a machine has fewer devices than processes.
    """
    if not launched():
        yield Processes(), device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        place, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= there:
            raise ConfigError(
                f"this machine has {there} CUDA devices and {local_size()} processes; start at most one a device "
                "(torchrun --nproc-per-node)"
            )
        device = f"cuda:{place}"
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
