"""Valid files of every foreign form, with their structure and values mutated: read, or refused in one line, in time."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import numpy as np
import pytest

from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign.edge_lists import edge_list
from discogp.circuits.foreign.mib import mib_document
from discogp.circuits.foreign.reading import read_circuit
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError

GRAPH = ComputationGraph(2, 2)
SCORES = np.linspace(-3, 3, GRAPH.n_edges).astype(np.float32)
CIRCUIT = Circuit(GRAPH, SCORES > 0, SCORES)
EXTREMES: list[Any] = [
    *(None, True, False, 0, -1, 10**400, -(10**400), 1e308, float("nan"), float("inf"), 2**63, 5.5, "5"),
    *("", "x", "\x00", "\ud800", [], {}, [[[]]], {"a": {}}, "input->a0.h0<q>", "x" * 3000, [1] * 1000),
]
DOCUMENTS: list[Any] = [
    json.loads(mib_document(CIRCUIT, 8, {"ablation": "zero"})),
    [["input", "a0.h0.q"], ["m0", "logits"]],
    [{"edge": "m0->logits", "score": 1}],
    {"m0->logits": 1, "m1->logits": 2},
    ["blocks.1.hook_resid_post[:] blocks.0.hook_mlp_out[:]"],
]
TEXTS = [
    edge_list(CIRCUIT, ["a"]),
    edge_list(CIRCUIT, ["a"], separator=","),
    "blocks.1.hook_q_input[:, :, 1]blocks.0.attn.hook_result[:, :, 1], 0.5\nblocks.0.hook_mlp_in[:] hook_embed, 1",
    "source,target,qkv,score,in_graph\ninput,a0.h0,q,1,true",
]
PIECES = [*"\x00\"',\t\n\ré->[](9e\u2028\ud800 #;:<", "inf", "nan", str(10**400), "1e999", "hook_", "blocks.9999999."]


def places(value: Any, at: tuple = ()) -> list[tuple]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in parts for place in places(part, (*at, key)))]


def mutated_document(random_: random.Random) -> Any:
    document = copy.deepcopy(random_.choice(DOCUMENTS))
    for _ in range(random_.randint(1, 3)):
        known = places(document)
        place = random_.choice(known if random_.random() < 0.5 else [p for p in known if len(p) <= 2])
        if not place:
            return random_.choice(EXTREMES)
        parent = document
        for key in place[:-1]:
            parent = parent[key]
        kind = random_.random()
        if kind < 0.6:
            parent[place[-1]] = copy.deepcopy(random_.choice(EXTREMES))
        elif kind < 0.8:
            del parent[place[-1]]
        elif isinstance(parent, dict):
            parent[random_.choice(["x", "", f"{place[-1]}x", "a0.h0->m0"])] = copy.deepcopy(random_.choice(EXTREMES))
    return document


def mutated_text(random_: random.Random) -> bytes:
    text = random_.choice(TEXTS)
    for _ in range(random_.randint(1, 6)):
        at, length = random_.randrange(len(text) + 1), random_.randint(1, 20)
        new = random_.choice([random_.choice(PIECES), "", text[at : at + length] * 2])
        text = text[:at] + new + text[at + random_.choice([0, length]) :]
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files(seed: int) -> None:
    random_ = random.Random(seed)
    read = 0
    for _ in range(500):
        if random_.random() < 0.5:
            content, name = json.dumps(mutated_document(random_)).encode(), "c.json"
        else:
            content, name = mutated_text(random_), random_.choice(["c.txt", "c.csv", "c.json"])
        try:
            circuit = read_circuit(content, name, random_.choice([None, GRAPH]))
        except ArtifactError as error:
            told = str(error)
        else:
            read, told = read + 1, ""
            assert circuit.edge_scores is None or np.isfinite(circuit.edge_scores).all()
        assert "\n" not in told, content[:200]
        assert len(told) < 900
    assert read > 5


LONG = ("a" + " " * 1990 + "x", "-" * 1990, "hook_" + "a" * 1990, "a" * 1900 + " hook_x hook_y", "a.h" * 600)


@pytest.mark.parametrize("line", LONG)
def test_no_line_is_slow(line: str) -> None:
    """A file has tens of thousands of such lines; none may take more than its length."""
    began = time.process_time()
    for _ in range(50):
        with pytest.raises(ArtifactError):
            read_circuit(line.encode(), "c.txt", GRAPH)
    assert time.process_time() - began < 1.5
