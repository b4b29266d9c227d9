"""Our own form: `prompt` (or `messages`), `correct`, `wrong`."""

from __future__ import annotations

from discogp.tasks.from_files.forms.base import Form, register

OWN = register("own", Form("our own", ("prompt|messages", "correct", "wrong"), "", lambda cells: cells))
