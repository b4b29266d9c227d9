"""Chats are asked as the tokenizer's template writes them; a template can neither hang nor fill the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from discogp.errors import TaskError
from discogp.tasks import chat, encode, get_task
from discogp.tasks.chat import Refused, render
from discogp.tasks.encoding import CHAT_REFUSED
from tests.tasks.words import byte_tokenizer

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system turns') }}"
    "{% endif %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def tokenizer(template: str | None = TEMPLATE) -> Any:
    made = byte_tokenizer()
    made.add_special_tokens({"bos_token": "<s>"})
    made.chat_template = template
    return made


def write(folder: Path, *rows: dict[str, Any]) -> Any:
    file = folder / "chats.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return get_task("custom", file=str(file))


def turn(content: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def test_a_chat_is_asked_as_transformers_renders_it_without_a_token_in_front(tmp_path: Path) -> None:
    made = tokenizer()
    task = write(tmp_path, {"messages": turn("Is it?"), "correct": "Y", "wrong": "N", "counterfactual": turn("Is he?")})
    prompts = encode(task.pool().examples, made, made.bos_token_id).prompts
    wanted = made.apply_chat_template(turn("Is it?"), add_generation_prompt=True, tokenize=True, return_dict=False)
    assert prompts.tokens[0, : int(prompts.lengths[0])].tolist() == wanted
    assert made.decode(wanted) == "<user>Is it?\n<assistant>\n"
    assert prompts.counterfactual is not None
    assert made.decode(prompts.counterfactual[0]) == "<user>Is he?\n<assistant>\n"
    assert prompts.examples[0].prompt == "<user>Is it?\n<assistant>\n"
    assert made.decode(prompts.correct[0]) == "Y"  # no space added


def test_a_chat_that_the_template_refuses_costs_one_row_and_says_why(tmp_path: Path) -> None:
    rows = [
        {"messages": turn(text, role), "correct": "Y", "wrong": "N"} for text, role in (("A", "user"), ("B", "system"))
    ]
    encoded = encode(write(tmp_path, *rows).pool().examples, tokenizer(), None)
    assert len(encoded.prompts) == 1
    assert encoded.dropped == {CHAT_REFUSED: 1}
    assert encoded.first == ("line 2: the chat template says: no system turns",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [], "correct": "Y", "wrong": "N"}, "a list of messages needed"),
        ({"messages": [{"role": "user"}], "correct": "Y", "wrong": "N"}, "a text role and a text content"),
        ({"messages": [{"role": "user", "content": [1]}], "correct": "Y", "wrong": "N"}, "a text content"),
        ({"messages": "Hi", "correct": "Y", "wrong": "N"}, "a JSON list of messages"),
        ({"messages": turn("A"), "prompt": "A", "correct": "Y", "wrong": "N"}, "both a prompt and messages"),
    ],
)
def test_what_is_no_chat_is_told(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        write(tmp_path, row).pool()


def test_no_template_is_told_with_what_to_do() -> None:
    with pytest.raises(TaskError, match="has no chat template; take a model that was trained for chats"):
        render([(("user", "A"),)], tokenizer(None))


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ 'a' * 200000 }}", "200,000 characters; at most 100,000"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% bad", "unknown tag"),
        ("{{ 'a' * 100000000000 }}", "memory"),
    ],
)
def test_a_template_is_held_to_the_sandbox_and_to_a_length(template: str, why: str) -> None:
    (found,) = render([(("user", "A"),)], tokenizer(template))
    assert isinstance(found, Refused)
    assert why in found.why


def test_a_template_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "SECONDS", 0.5)
    monkeypatch.setattr(chat, "STARTING", 5.0)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(TaskError, match=r"chat template (was not done after|needed more than)"):
        render([(("user", "A"),)], tokenizer(endless))
