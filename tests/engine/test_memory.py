"""What may be kept between two runs of a circuit is a share of the memory that is free."""

from __future__ import annotations

import pytest
import torch

from discogp.engine import memory
from discogp.engine.memory import MB, kept_bytes
from discogp.errors import ConfigError

CPU = torch.device("cpu")


@pytest.mark.parametrize(("written", "share"), [(None, 0.25), ("", 0.25), ("0.5", 0.5), ("0", 0.0), ("1", 1.0)])
def test_the_share_is_a_quarter_unless_another_is_set(
    monkeypatch: pytest.MonkeyPatch, written: str | None, share: float
) -> None:
    monkeypatch.setattr(memory, "available_mb", lambda device: 1000.0)
    monkeypatch.delenv("DISCOGP_KEEP", raising=False)
    if written is not None:
        monkeypatch.setenv("DISCOGP_KEEP", written)
    assert kept_bytes(CPU) == int(share * 1000 * MB)


@pytest.mark.parametrize("written", ["half", "-0.1", "1.5", "nan"])
def test_what_is_no_share_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("DISCOGP_KEEP", written)
    with pytest.raises(ConfigError, match=r"DISCOGP_KEEP is .*; it is a share of the free memory, from 0 to 1"):
        kept_bytes(CPU)


def test_where_nothing_is_free_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_mb", lambda device: -5.0)
    monkeypatch.delenv("DISCOGP_KEEP", raising=False)
    assert kept_bytes(CPU) == 0
