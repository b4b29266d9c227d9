"""GraphView -> one HTML file with everything inside: the app's own renderer, vis-network, the data.

It opens from a disk (file://), asks the network for nothing, and a content security policy holds it to that.
"""

from __future__ import annotations

import json
from html import escape
from string import Template

from discogp.circuits.describe import PART_LABELS
from discogp.circuits.measures import measures
from discogp.drawing import frontend
from discogp.drawing.palette import PALETTES, Theme
from discogp.drawing.view import GraphView

_EXPORT_LINE = "export default mount;"


def standalone_html(view: GraphView, theme: Theme = "light") -> str:
    """The page. Clicks grey edges out in the drawing; running the model needs the app, and the page says so."""
    data = {
        "graph": view.to_json(),
        "token": view.id,
        "off": {"edges": sorted(view.off_edges), "nodes": sorted(view.off_nodes)},
        "height": None,
    }
    template = Template((frontend.FOLDER / "standalone.html").read_text(encoding="utf-8"))
    page = template.substitute(
        theme=theme,
        title=escape(view.title),
        subtitle=escape(view.subtitle),
        metrics=_metrics_table(view),
        notes="".join(f"<p>{escape(note)}</p>" for note in view.notes),
        css=frontend.css(),
        html=frontend.html(),
        vis=_in_script(frontend.vis_network()),
        js=_in_script(frontend.javascript().replace(_EXPORT_LINE, "")),
        data=_in_script_json(data),
        **{f"{name}_{part}": PALETTES[name][part] for name in PALETTES for part in ("background", "text")},
    )
    # A lone surrogate, from a broken name, has no UTF-8.
    return page.encode("utf-8", "replace").decode("utf-8")


def _in_script(source: str) -> str:
    """Keep the HTML parser from seeing the end of the script, or a comment, within a string of the source."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _in_script_json(data: object) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _metrics_table(view: GraphView) -> str:
    columns = [measure for measure in measures() if any(measure.name in numbers for _, numbers in view.metrics)]
    if not columns:
        return ""
    head = "".join(f"<th>{escape(measure.title)}</th>" for measure in columns)
    rows = []
    for part, numbers in view.metrics:
        shown = (f"{numbers[measure.name]:z.3f}" if measure.name in numbers else "" for measure in columns)
        cells = "".join(f"<td>{text}</td>" for text in shown)
        rows.append(f"<tr><th>{escape(PART_LABELS[part])}</th>{cells}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
