"""Look again in a moment: a part of the page that runs again by itself, for as long as it says so.

Streamlit's own timers go on until the part around them runs again, and that part draws the graph.
"""

from __future__ import annotations

from itertools import count

from streamlit.components.v2 import component

# Where two parts ask in the same moment, the browser lets one of them through: so it asks again until it is answered.
_JS = """
export default function ({ data, setTriggerValue, parentElement }) {
  const ask = wait => {
    parentElement.__look = setTimeout(() => { setTriggerValue("look", data.turn); ask(4 * data.after); }, wait);
  };
  clearTimeout(parentElement.__look);
  ask(data.after);
  return () => clearTimeout(parentElement.__look);
}
"""
_ticker = component("discogp_ticker", js=_JS)
_turns = count()  # what the browser is sent must be new each time, or it would not look


def look_again(after: float, key: str) -> None:
    """Run the fragment around this once more, `after` so many seconds."""
    _ticker(key=key, data={"turn": next(_turns), "after": round(1000 * after)}, on_look_change=_nothing, height=1)


def _nothing() -> None:
    """Streamlit keeps a trigger only for which a callback is given."""
