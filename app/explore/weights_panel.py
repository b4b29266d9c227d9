"""Explore's panel about kept weights, for circuits that have weight masks."""

from __future__ import annotations

import json

import streamlit as st

from app.explore.weights_chart import kept_weights
from app.text import plain
from discogp.circuits.circuit import Circuit
from discogp.circuits.sparsity import sparsity
from discogp.errors import ConfigError


def show(circuit: Circuit, key: str) -> None:
    """A folded heat map of layer × component with its data to carry away; nothing for a circuit of edges."""
    if circuit.weight_masks is None:
        return
    with st.expander("Weights kept, by layer and component", icon=":material/grid_on:"):
        try:
            found = sparsity(circuit)
        except ConfigError as error:  # a file from elsewhere, with masks of weights that there are not
            st.warning(plain(str(error)))
            return
        st.plotly_chart(kept_weights(found), key=f"kept_weights {key}", width="stretch", config={"displaylogo": False})
        note = f"{circuit.weight_density:.2%} of the weights and biases of attention and MLP are kept."
        if circuit.unmasked_weights:
            note += (
                f" Of those searched {circuit.searched_weight_density:.2%}; the other {circuit.unmasked_weights:,} "
                "were not searched, and stay."
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(note)
            st.download_button(
                "Data, with every neuron (JSON)",
                data=lambda: json.dumps(found.to_json(neurons=True)),
                file_name="sparsity.json",
                mime="application/json",
                on_click="ignore",
                icon=":material/download:",
                key=f"sparsity {key}",
            )
