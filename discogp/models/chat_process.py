"""The process in which a chat template is run: work on standard input, texts or reasons why not on standard output."""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any


def main() -> None:
    work = json.load(sys.stdin)
    # Imported before the limits: what counts is what the template takes.
    from transformers.utils.chat_template_utils import render_jinja_template

    limits = work["limits"]
    _limit(resource.RLIMIT_AS, int(limits["memory_mb"] * 2**20 + _address_space()))
    _limit(resource.RLIMIT_CPU, int(_cpu_seconds() + limits["seconds"]))
    sys.stdout.write(json.dumps([_render(chat, work, render_jinja_template) for chat in work["chats"]]))
    sys.stdout.flush()


def _render(chat: Any, work: dict[str, Any], render: Any) -> dict[str, str]:
    try:
        (text,), _ = render(
            conversations=[chat], chat_template=work["template"], add_generation_prompt=True, **work["special"]
        )
    except MemoryError:
        return {"refused": "it needs too much memory"}
    except Exception as error:  # a template may raise anything, and has a function to do so in its own words
        return {"refused": " ".join(str(error).split())[:200]}
    longest = work["limits"]["longest"]
    return {"text": text} if len(text) <= longest else {"refused": f"{len(text):,} characters; at most {longest:,}"}


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    """Bytes of address space in use, since a library maps far more of it than it touches."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 8 * 2**30


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
