"""The model with a circuit's weights only, as an ordinary Hugging Face folder.

Weight masks are in this package's layout, parameters in the checkpoint's, which differs from family to family (fused,
transposed, interleaved). No layout is undone here: the family's own extractor is run on parameters whose entries are
their own addresses, and so tells which entry each weight came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discogp.circuits.circuit import Circuit
from discogp.errors import ArtifactError, ConfigError
from discogp.paths import check_writable, replaced_folder

if TYPE_CHECKING:
    from torch import Tensor

    from discogp.models.loading import Opened

NOTE_FILE = "discogp.json"
_DIGIT = 2**12  # extractors hand out fp32, which holds every number below 2^24 exactly


def export_huggingface(circuit: Circuit, folder: str | Path, model: str | None = None) -> Path:
    """Write config, safetensors and tokenizer of the circuit's model (or of `model`), weights outside it being 0.

    ArtifactError for a circuit that drops edges, which no plain weights can express, or masks no weights; for masks
    that are not the model's; and for a folder that holds anything but an earlier export. ModelError as for loading.
    """
    from discogp.models.loading import open_checkpoint

    target = Path(folder)
    if not circuit.edge_mask.all():
        raise ArtifactError(
            f"this circuit keeps {circuit.n_edges:,} of {circuit.graph.n_edges:,} edges, and plain weights cannot drop "
            "an edge: a head's output is read by all or none. Only circuits of weights can be exported as a model "
            "(discover --mask weights)"
        )
    if circuit.weight_masks is None:
        raise ArtifactError(
            "this circuit masks neither weights nor edges, so it is the model itself; nothing to export"
        )
    name = model or circuit.provenance.get("model")
    if not isinstance(name, str):
        raise ConfigError("this circuit does not say which model it is of; give one with --model")
    check_writable(target)
    _check_replaceable(target)
    with open_checkpoint(name) as opened:
        _mask(opened, circuit)
        return _write(opened, circuit, target)


def _mask(opened: Opened, circuit: Circuit) -> None:
    """Set the parameters' entries that the circuit drops to 0, in place, and check the outcome by extraction."""
    import torch

    from discogp.engine.masks import circuit_weights, weight_fields

    assert circuit.weight_masks is not None
    wanted = circuit_weights(opened.extract(), circuit)
    parameters = opened.parameters()
    names = list(parameters)
    with torch.no_grad():
        for name, owners, places in _addresses(opened, parameters):
            if name not in circuit.weight_masks:
                continue
            dropped = ~torch.tensor(circuit.weight_masks[name])
            owner, place = owners[dropped], places[dropped]
            for index in owner.unique().tolist():
                parameter = parameters[names[index]]
                flat = parameter.reshape(-1)
                flat[place[owner == index]] = 0
                parameter.copy_(flat.view_as(parameter))
    for (name, _, _, ours), (_, _, _, theirs) in zip(
        weight_fields(opened.extract()), weight_fields(wanted), strict=True
    ):
        if not torch.equal(ours, theirs):
            raise ArtifactError(
                f"the weights {name} of {opened.row.name} share parameters with others, so their mask cannot be "
                "written into the checkpoint"
            )


def _addresses(opened: Opened, parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(mask name, which parameter, which entry of it) of every weight, the latter two in the weight's shape."""
    import torch

    from discogp.engine.masks import weight_fields

    def extracted(value: Any) -> dict[str, Tensor]:
        made = {
            name: value(index, tensor).view(tensor.shape) for index, (name, tensor) in enumerate(parameters.items())
        }
        return {name: tensor for name, _, _, tensor in weight_fields(opened.extract(made))}

    def digit(size: int) -> Any:
        return lambda _, tensor: (torch.arange(tensor.numel()) // size % _DIGIT).float()

    # An extractor may scale a weight; what it makes of 1 tells by how much.
    scale = extracted(lambda _, tensor: torch.ones(tensor.numel()))
    owner = extracted(lambda index, tensor: torch.full((tensor.numel(),), float(index)))
    digits = [extracted(digit(_DIGIT**power)) for power in range(3)]
    for name, one in scale.items():
        place = sum((d[name] / one).round().long() * _DIGIT**power for power, d in enumerate(digits))
        yield name, (owner[name] / one).round().long(), place  # type: ignore[misc]  # a sum of tensors


def _write(opened: Opened, circuit: Circuit, target: Path) -> Path:
    from discogp.models.load_errors import quiet

    note = {"model": opened.name, "weight_density": circuit.weight_density, "task": circuit.provenance.get("task")}
    try:
        with replaced_folder(target) as staging:
            with quiet():
                opened.module.save_pretrained(staging, safe_serialization=True)
                if opened.tokenizer is not None:
                    opened.tokenizer.save_pretrained(staging)
            (staging / NOTE_FILE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"cannot write the model to {target}: {error}") from error
    return target


def _check_replaceable(target: Path) -> None:
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise ArtifactError(f"{target} is in the way and is not a folder; choose another name")
        present = {entry.name for entry in target.iterdir()} if target.exists() else set()
    except OSError as error:
        raise ArtifactError(f"cannot look into {str(target)[:200]}: {error.strerror or error}") from error
    if present and NOTE_FILE not in present:
        raise ArtifactError(
            f"{target} holds other things than an exported model ({', '.join(sorted(present)[:3])}); it is left as it "
            "is. Choose a folder of its own"
        )
