"""What a circuit's JSON holds, name by name and type by type. Unknown names are refused: it may be damage.

`provenance` alone may hold anything that JSON can. Of it only names that somebody relies on are declared here, each of
which may be missing or null, as JSON has it for a number that is none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic's, before Python 3.12

from discogp.reading import Flag, Number, Text, Whole
from discogp.terms import Ablation, Bos, Searched

FORMAT = "discogp-circuit"
VERSION = 1

_Count = Annotated[Whole, Field(ge=0)]
_Seed = Annotated[Whole, Field(ge=0, lt=2**64)]
_Share = Annotated[Number, Field(ge=0, le=1)]
_EXACT = with_config(ConfigDict(extra="forbid"))
_OPEN = with_config(ConfigDict(extra="ignore"))
_Figures = dict[Text, Number | None]


@_EXACT
class _Graph(TypedDict):
    # Larger than any model there is, and small enough that naming the parts costs nothing.
    n_layers: Annotated[Whole, Field(ge=1, le=1024)]
    n_heads: Annotated[Whole, Field(ge=1, le=1024)]
    parallel: NotRequired[Flag]
    joint_heads: NotRequired[Flag]


@_EXACT
class _EdgeCount(TypedDict):
    kept: _Count
    total: _Count


@_EXACT
class Mask(TypedDict):
    """One mask, without its bits."""

    shape: Annotated[list[Annotated[Whole, Field(ge=0, le=2**40)]], Field(max_length=64)]  # numpy's most axes
    kept: NotRequired[_Count | None]


@_EXACT
class Weights(TypedDict):
    """What weight masks keep, without the masks."""

    masks: dict[Text, Mask]
    density: NotRequired[_Share | None]
    density_of_searched: NotRequired[_Share | None]
    unmasked: NotRequired[_Count]  # older files: every weight is masked


@_OPEN
class _Metrics(TypedDict, total=False):
    full: _Figures | None
    circuit: _Figures | None
    complement: _Figures | None
    accuracy: Number | None
    top1: Number | None
    kl: Number | None
    logit_diff: Number | None
    n: Whole | None
    n_edges: Whole | None
    edge_density: Number | None
    weight_density: Number | None


@_OPEN
class _Provenance(TypedDict, total=False):
    model: Text | None
    fingerprint: Text | None
    task: Text | None
    task_options: dict[Text, Any] | None
    split_sizes: dict[Literal["train", "validation", "test"], Annotated[Whole, Field(ge=1)]] | None
    data_seed: _Seed | None
    seed: _Seed | None
    only_known: Flag | None
    need_counterfactual: Flag | None
    full_accuracy: Number | None
    chance: Number | None
    kept_share: Number | None
    dropped: dict[Text, Whole] | None
    held_out: Text | None
    notes: list[Text] | None
    bos: Bos | None
    prompts: dict[Text, Text] | None
    data_files: dict[Text, Text] | None
    answered_wrongly: dict[Text, list[Whole]] | None
    method: Text | None
    config: dict[Text, Any] | None
    step: Whole | None
    history: list[dict[Text, Any]] | None
    versions: dict[Text, Text] | None
    metrics: _Metrics | None
    run: Text | None
    created: Text | None
    switched_off: list[Text] | None


@_EXACT
class Document(TypedDict):
    """A circuit's JSON without its seal. `all_edge_scores` is of a single file, `checksums` of a folder's half."""

    format: Literal["discogp-circuit"]
    version: Whole
    graph: _Graph
    ablation: Ablation
    searched: Searched
    edges: dict[Text, Number | None]
    provenance: _Provenance
    n_edges: NotRequired[_EdgeCount | None]
    weights: NotRequired[Weights | None]
    all_edge_scores: NotRequired[Text | None]
    checksums: NotRequired[Text | None]


DOCUMENT: TypeAdapter[Document] = TypeAdapter(Document)
