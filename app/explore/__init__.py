"""The parts of the Explore page: graph, figures, toggles, edges, weights, tokens, export."""
