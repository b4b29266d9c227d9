"""KL between a chat as its model's template writes it and as a task asks it: `python -m tests.benchmarks.chat_kl`.

Five chats (digits, another script, a line end), given as messages and written out as a prompt. In nats; 0 is right.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from discogp import load_model
from discogp.cli.output import say
from discogp.evaluation.measures import kl_divergence
from discogp.prompts.reading import reading_of
from discogp.tasks import encode, get_task

CHATS = (
    ("Is the sky blue? Answer Yes or No.", "Yes", "No"),
    ("What is 3+2? Answer with a digit.", "5", "6"),
    ("中国的首都是哪里？", "北京", "上海"),
    ("Reply with one word: capital of France?", "Paris", "Rome"),
    ("Is fire cold? Yes or No:\n", "No", "Yes"),
)


def divergences(model: Any, written_out: bool) -> list[float]:
    """KL(the template's own tokens ‖ those asked) of each chat's next token."""
    tokenizer = model.tokenizer
    chats = [[{"role": "user", "content": question}] for question, _, _ in CHATS]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    given = [{"prompt": text} for text in texts] if written_out else [{"messages": chat} for chat in chats]
    rows = [{**row, "correct": right, "wrong": wrong} for row, (_, right, wrong) in zip(given, CHATS, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chats.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        task: Any = get_task("custom", file=str(file))
        prompts = encode(task.pool().examples, tokenizer, model.bos_id, reading_of(model, task)).prompts
    found = []
    for place, chat in enumerate(chats):
        wanted = tokenizer.apply_chat_template(chat, tokenize=True, add_generation_prompt=True, return_dict=False)
        asked = prompts.tokens[place, : int(prompts.lengths[place])]
        written, ours = (model.logits(ids[None])[:, -1] for ids in (torch.tensor(wanted), asked))
        found.append(float(kl_divergence(written.log_softmax(-1), ours)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="one with a chat template")
    model = load_model(parser.parse_args().model)
    for name, written_out in (("messages", False), ("prompt", True)):
        say(f"{name:10} {' '.join(f'{value:.6f}' for value in divergences(model, written_out))}")


if __name__ == "__main__":
    main()
