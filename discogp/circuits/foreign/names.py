"""What nodes and edges are called elsewhere, in this package's words.

Own and EAP-IG's: `a0.h1->a3.h2<q>`. auto-circuit's: `A0.1->A3.2.Q`, `MLP 3`, `Resid Start`, `Resid End`. Edge
Pruning's: `a3.h2.q`, `embeds`, `resid_post`. ACDC's are pairs of TransformerLens hooks with an index each, the reader
often first: `blocks.3.hook_q_input[:, :, 2]`, `blocks.0.attn.hook_result[:, :, 1]`. ACDC also lists the edges within a
component (from a head's query to its output, say); here those are no edges, for they are never cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError

ARROWS = re.compile(r"<?(?:-{1,2}|=|–|—)>|→|➔|⟶|<-{1,2}(?!>)|←")
_SOURCES = (
    (re.compile(r"input|residstart|embeds|tok_embeds"), "input"),
    (re.compile(r"a(\d+)\.h?(\d+)"), "a{0}.h{1}"),
    (re.compile(r"m(?:lp)?(\d+)"), "m{0}"),
)
_READERS = (
    (re.compile(r"logits|residend|resid_post|output"), "logits"),
    (re.compile(r"a(\d+)\.h?(\d+)(?:<([qkv])>|\.([qkv])|\[([qkv])\])"), "a{0}.h{1}<{2}>"),
    (re.compile(r"m(?:lp)?(\d+)"), "m{0}"),
)
_HOOK = re.compile(
    r"(?:blocks\.(?P<layer>\d{1,6})\.)?(?P<hook>(?:\w{1,40}\.)?hook_\w{1,60})"
    r"(?:['\"\s,]{0,4}(?:TorchIndex\()?(?P<index>[\[(][\w\s:,.]{0,40}[\])])\)?)?"
)
_EVERYTHING = frozenset({":", "none", "col", "colon", "...", "slice(none)", "slice(none,none,none)"})
_WITHIN = frozenset({"attn.hook_q", "attn.hook_k", "attn.hook_v"})


@dataclass(frozen=True, slots=True)
class HookEdge:
    """A pair of hooks: the `name` that the edge has here, None for one within a component, which is no edge here.

    `embedding`: which half of the input it leaves, for files that tell token and position embeddings apart.
    """

    name: str | None
    embedding: Literal["hook_embed", "hook_pos_embed"] | None
    rest: str


@dataclass(frozen=True, slots=True)
class _Hook:
    text: str
    role: Literal["source", "reader", "within"]
    node: str
    kind: str = ""

    @property
    def reader(self) -> str:
        return f"{self.node}<{self.kind}>" if self.kind else self.node


def has_hooks(text: str) -> bool:
    return "hook_" in text


def edge_name(text: str) -> str:
    """An edge in any of the ways with an arrow, as this package writes it; as it stands if it is in none of them."""
    parts = ARROWS.split(tidy(text))
    if len(parts) != 2:
        return tidy(text)
    return joined_name(*(reversed(parts) if re.search(r"<-{1,2}(?!>)|←", tidy(text)) else parts))


def joined_name(source: str, reader: str) -> str:
    return f"{_named(source, _SOURCES)}->{_named(reader, _READERS)}"


def tidy(text: str) -> str:
    """Without the quotes that files put around a name."""
    return text.strip().strip("\"'`").strip()


def _named(text: str, forms: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    plain = re.sub(r"\s+", "", tidy(text)).lower()
    for form, ours in forms:
        if found := form.fullmatch(plain):
            groups = [group for group in found.groups() if group is not None]
            return ours.format(*(str(int(g)) if g.isdigit() else g for g in groups))
    return tidy(text)


def hook_edge(text: str, graph: ComputationGraph) -> HookEdge:
    """The edge that a line with two hooks names, and what else the line says (`rest`).

    ArtifactError for a hook that is no node here, an index that picks out positions, or two hooks of one kind.
    """
    found = list(_HOOK.finditer(text))
    if len(found) != 2:
        raise ArtifactError(f"{text.strip()[:120]!r} names {len(found)} hooks; an edge is from one hook to another")
    rest = text[: found[0].start()] + " " + text[found[0].end() : found[1].start()] + " " + text[found[1].end() :]
    first, second = (_hook(match, graph) for match in found)
    if "within" in (first.role, second.role):
        return HookEdge(None, None, rest)
    if first.role == second.role:
        both = "write into" if first.role == "source" else "read from"
        raise ArtifactError(f"{first.text} and {second.text} both {both} the residual stream, so there is no edge")
    source, reader = (first, second) if first.role == "source" else (second, first)
    if source.node == reader.node:
        return HookEdge(None, None, rest)
    half = next((h for h in ("hook_embed", "hook_pos_embed") if source.text.startswith(h)), None)
    return HookEdge(f"{source.node}->{reader.reader}", half, rest)  # type: ignore[arg-type]  # one of the two


def _hook(match: re.Match[str], graph: ComputationGraph) -> _Hook:
    text, hook = match.group().strip(" ,'\"")[:100], match["hook"]
    layer = None if match["layer"] is None else int(match["layer"])
    head = _head(match["index"], text)
    if layer is None:
        if hook in ("hook_embed", "hook_pos_embed"):
            return _Hook(text, "source", "input")
        raise _unknown(text)
    hook = hook.removeprefix("attn.") if hook.endswith("_input") else hook
    if hook in ("attn.hook_result", "hook_q_input", "hook_k_input", "hook_v_input", *_WITHIN):
        if head is None:
            raise ArtifactError(f"{text} is all heads of layer {layer} at once; name one, as {hook}[:, :, 0]")
        node, kind = f"a{layer}.h{head}", hook[5] if hook.endswith("_input") else ""
        return _Hook(text, "reader" if kind else "within" if hook in _WITHIN else "source", node, kind)
    if head is not None:
        raise ArtifactError(f"{text} picks out a part of {hook}, which has no equivalent here")
    if hook == "hook_mlp_out":
        return _Hook(text, "source", f"m{layer}")
    if hook in ("hook_mlp_in", "hook_resid_mid"):
        return _Hook(text, "reader", f"m{layer}")
    if hook == "hook_resid_pre" and layer == 0:
        return _Hook(text, "source", "input")
    if hook == "hook_resid_post" and layer == graph.n_layers - 1:
        return _Hook(text, "reader", "logits")
    raise _unknown(text)


def _unknown(text: str) -> ArtifactError:
    return ArtifactError(
        f"the hook {text} has no equivalent among the nodes here, which are the embedding (hook_embed or the first "
        "hook_resid_pre), heads (attn.hook_result, hook_q_input, hook_k_input, hook_v_input), MLPs (hook_mlp_in, "
        "hook_mlp_out) and the last hook_resid_post"
    )


def _head(index: str | None, text: str) -> int | None:
    """The head that an index picks out, None for one that picks out everything; ArtifactError for any other."""
    picked = list(_picked(index or ""))
    if all(part is None for part in picked):
        return None
    if len(picked) in (3, 4) and [p is None for p in picked] == [True, True, False, True][: len(picked)]:
        return picked[2]
    raise ArtifactError(f"the index of {text} picks out positions or dimensions, of which edges here have none")


def _picked(index: str) -> Iterator[int | None]:
    for part in index.strip("[]()").split(","):
        word = part.strip().lower()
        if word in _EVERYTHING or not word:
            yield None
        elif word.isdecimal() and len(word) < 7:
            yield int(word)
        else:
            raise ArtifactError(f"{index[:60]!r} is no index of a hook; they look like [:] or [:, :, 5]")
