"""From a circuit to a picture. Needs no torch.

In: a `Circuit`. `view` places nodes and edges once (`GraphView`, plain data); the page, `svg` and `standalone` all draw
from it, in the colours of `palette`; `frontend` is the JavaScript that page and standalone file share.
"""
