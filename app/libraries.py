"""The large libraries, loaded beside the page, and what their million objects cost every visitor.

Python's collector walks all objects that it knows, and Streamlit runs it in full after every run of a script, that is
after every click and every look at whether something is ready. While the libraries load, that multiplied their time
by five and more. Frozen, objects are not looked at; freezing is a matter of microseconds. No Streamlit here.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from contextlib import suppress
from typing import Any

_loading = threading.Lock()
_state = {"begun": False, "there": False}


def begin() -> None:
    """Load them in a thread of their own, so that they are there when a visitor needs them. Returns at once."""
    if not _state["begun"]:
        _state["begun"] = True
        threading.Thread(target=_load_early, name="libraries", daemon=True).start()


def _load_early() -> None:
    with suppress(Exception):  # whoever needs them tries again and is told; at the program's end nobody does
        load()


def load() -> None:
    """Returns when they are there. Only one thread loads: two that import the same modules can see halves of them."""
    with _loading:
        if _state["there"]:
            return
        _state["begun"] = True
        automatic = gc.isenabled()
        gc.disable()
        try:
            import torch  # noqa: F401
            import transformers.models.gpt2.modeling_gpt2
            import transformers.models.llama.modeling_llama  # noqa: F401

            import discogp.evaluation.session
            import discogp.models.loading
            import discogp.prompts.prepare
            import discogp.prompts.task_check  # noqa: F401
        finally:
            if automatic:
                gc.enable()
        gc.freeze()
        _state["there"] = True


def there() -> bool:
    """Whether they are loaded."""
    return _state["there"]


def cpu() -> Any:
    """The device that the page computes on; only once the libraries are there."""
    import torch

    return torch.device("cpu")


def spare() -> None:
    """Call at the end of a script that runs while they load: its collection then has nothing to walk."""
    if _state["begun"] and not _state["there"]:
        gc.freeze()


def settle() -> None:
    """After loading a model: its young garbage goes now, the rest is not walked at every click."""
    gc.collect()
    gc.freeze()


def release() -> None:
    """After giving up a model: all garbage goes, also what was frozen with it, and its memory back to the system."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Give memory that is free in this process back to the system."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if malloc_trim is not None:  # glibc only
        malloc_trim(0)
