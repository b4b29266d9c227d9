"""Explore in a real browser: open, click, undo, keep the view, come back, carry away."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from discogp.circuits.document import circuit_from_json

pytestmark = pytest.mark.browser


def view_of(visit) -> list[float]:
    return visit.page.evaluate(
        "(() => { const n = window.__circuitGraph.net, p = n.getViewPosition(); return [n.getScale(), p.x, p.y]; })()"
    )


def off_is(visit, names: list[str]) -> None:
    """Wait until exactly these are listed as switched off."""
    listed = "[...document.querySelectorAll('.dg-chips code')].map(chip => chip.textContent).sort().join()"
    visit.page.wait_for_function(f"names => {listed} === names", arg=",".join(sorted(names)))


def test_the_example_is_on_screen(visit):
    visit.open()
    visit.graph_drawn()
    assert visit.page.locator(".dg-metrics .dg-circuit .dg-value").count() == 4


def test_a_click_changes_the_figures_and_keeps_the_view(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    visit.page.evaluate("window.__circuitGraph.net.moveTo({scale: 0.9, position: {x: 20, y: -40}})")
    before = view_of(visit)
    circuit = visit.row("circuit")
    assert visit.row("without") == []
    first = visit.click_edge()
    assert len(visit.row("without")) == 4
    assert visit.row("circuit") == circuit
    off_is(visit, [first])
    second = visit.click_edge(1)
    off_is(visit, [first, second])
    assert view_of(visit) == pytest.approx(before)


def test_undo_redo_and_reset(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    name = visit.click_edge()
    after = visit.row("without")
    visit.page.get_by_role("button", name="Undo").click()
    visit.page.wait_for_selector(".dg-chips", state="detached")
    visit.page.wait_for_function("window.__circuitGraph.offEdges.size === 0")
    visit.page.get_by_role("button", name="Redo").click()
    off_is(visit, [name])
    assert visit.row("without") == after
    visit.page.wait_for_function("id => window.__circuitGraph.offEdges.has(id)", arg=name)
    visit.page.get_by_role("button", name="Reset").click()
    visit.page.wait_for_selector(".dg-chips", state="detached")


def test_what_is_off_survives_a_refresh_and_a_visit_to_another_page(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    name = visit.click_edge()
    visit.page.wait_for_function("location.search.includes('off=')")
    visit.page.reload()
    visit.graph_drawn()
    off_is(visit, [name])
    visit.page.get_by_role("link", name="Guide").click()
    visit.page.get_by_role("heading", name="Guide").wait_for()
    visit.page.get_by_role("link", name="Explore").click()
    off_is(visit, [name])
    visit.page.wait_for_function("id => window.__circuitGraph?.offEdges.has(id)", arg=name)


def test_which_edges_matter_and_one_of_them_off(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    visit.page.get_by_role("button", name="Which edges matter").click()
    visit.page.wait_for_selector(".dg-minimality", timeout=120_000)
    switch = visit.page.get_by_role("button", name="Switch off", exact=True)
    assert switch.is_disabled()
    visit.page.get_by_test_id("stDataFrame").scroll_into_view_if_needed()
    grid = visit.page.get_by_test_id("stDataFrame").bounding_box()
    visit.page.mouse.click(grid["x"] + 18, grid["y"] + 35 + 17)  # the box before the first row: drawn, not an element
    visit.page.wait_for_function(
        "[...document.querySelectorAll('button')].some(b => b.innerText.endsWith('Switch off') && !b.disabled)"
    )
    before = visit.row("circuit")
    switch.click()
    visit.page.wait_for_function("window.__circuitGraph.offEdges.size === 1")
    (name,) = visit.page.evaluate("[...window.__circuitGraph.offEdges]")
    off_is(visit, [name])
    assert len(visit.row("without")) == 4
    assert visit.row("circuit") == before
    visit.page.get_by_role("button", name="Switch on", exact=True).click()
    visit.page.wait_for_function("window.__circuitGraph.offEdges.size === 0")


def test_a_second_click_ends_the_work_of_the_first_and_its_figures_are_shown(visit):
    """Two clicks as quickly as a hand makes them: what is shown in the end is of both, as a link to both tells anew."""
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    names = visit.page.evaluate("window.__circuitGraph.clickableEdges(2)")
    for name in names:
        point = visit.page.evaluate("id => window.__circuitGraph.edgePoint(id)", name)
        visit.page.mouse.click(point["x"], point["y"])
    off_is(visit, names)
    visit.settled()
    both = visit.row("without")
    assert len(both) == 4
    visit.page.wait_for_function("location.search.includes('off=')")
    visit.page.reload()
    visit.graph_drawn()
    off_is(visit, names)
    visit.settled()
    assert visit.row("without") == both
    assert visit.page.locator(".dg-error").count() == 0


def test_a_chosen_prompt_has_figures_of_its_own(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    visit.click_edge()
    visit.page.get_by_text("Predictions at every position").click()
    visit.page.wait_for_selector(".dg-tokens")
    assert visit.page.locator(".dg-prompts:not(.dg-tokens) .dg-prompt").count() >= 1


def test_a_hostile_link_is_told_and_ignored(visit):
    visit.open(query="?off=%3Cscript%3Ealert(1)%3C/script%3E")
    visit.graph_drawn()
    visit.page.get_by_text("it was ignored").wait_for()
    assert visit.page.locator(".dg-chips").count() == 0


def download(visit, title: str) -> bytes:
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name=title).click()
    return waiting.value.path().read_bytes()


def test_export(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    name = visit.click_edge()
    visit.page.get_by_role("button", name="Export").click()
    svg = ElementTree.fromstring(download(visit, "SVG drawing"))
    assert svg.tag.endswith("svg")
    said = [str(text.text) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    shown = float(visit.row("without")[0].removesuffix(" %")) / 100
    (line,) = [text for text in said if "edited circuit" in text and "accuracy" in text]
    assert float(line.split("edited circuit ")[1][:5]) == pytest.approx(shown, abs=0.0011)
    assert any(f"--off '{name}' --score" in text or f"--off {name} --score" in text for text in said)
    assert download(visit, "PNG picture").startswith(b"\x89PNG")
    assert download(visit, "PDF page").startswith(b"%PDF")
    graphml = ElementTree.fromstring(download(visit, "GraphML"))
    assert graphml.tag.endswith("graphml")
    page = download(visit, "Interactive page").decode()
    assert "<script src=" not in page
    circuit = circuit_from_json(content := download(visit, "Circuit (JSON)"))
    assert name not in circuit.edges
    assert json.loads(content)["graph"] == circuit.graph.to_json()


def test_a_file_that_is_no_circuit_is_told_and_loses_nothing(visit, tmp_path):
    visit.open()
    visit.graph_drawn()
    visit.page.get_by_role("button", name="Open file").click()
    (tmp_path / "bad.json").write_text('{"not": "a circuit"}')
    visit.page.locator("input[type=file]").set_input_files(tmp_path / "bad.json")
    visit.page.get_by_test_id("stAlert").wait_for()
    assert visit.page.locator(".dg-metrics").count() == 1


def test_a_circuit_of_another_program_is_scored_and_opened(visit, tmp_path):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed(180_000)
    known = visit.row("circuit")
    visit.page.get_by_role("button", name="Export").click()
    (tmp_path / "theirs.json").write_bytes(download(visit, "Circuit (MIB / EAP-IG JSON)"))
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("button", name="Open file").click()
    visit.page.locator("input[type=file]").set_input_files(tmp_path / "theirs.json")
    visit.page.get_by_text("Read as MIB / EAP-IG JSON").wait_for()
    for label, choice in (("Its model", "Mini"), ("Task to score it on", "ioi")):
        box = visit.page.get_by_role("combobox", name=label)
        box.click()
        box.fill(choice)
        box.press("Enter")
    visit.page.get_by_role("button", name="Import", exact=True).click()
    visit.page.get_by_test_id("stAlert").get_by_text("Read as MIB / EAP-IG JSON").wait_for(timeout=120_000)
    visit.page.keyboard.press("Escape")
    visit.figures_computed(120_000)
    assert visit.row("circuit") == known


def test_a_pickle_is_refused_with_the_way_out(visit, tmp_path):
    visit.open()
    visit.graph_drawn()
    (tmp_path / "graph.pt").write_bytes(b"PK\x03\x04 and so on")
    visit.page.get_by_role("button", name="Open file").click()
    visit.page.locator("input[type=file]").set_input_files(tmp_path / "graph.pt")
    visit.page.get_by_text("runs whatever code is in it").wait_for()


def test_the_first_look_says_what_is_seen_and_what_a_prompt_gets(visit):
    """The sentence, a real prompt, and what every part answers; a cut shows there too."""
    visit.open()
    visit.graph_drawn()
    visit.page.get_by_text("These 38 of 1,519 connections of mini are enough for the task ioi").wait_for()
    assert visit.page.title() == "mini · ioi · DiscoGP Explorer"
    visit.page.wait_for_selector(".dg-strip")
    parts = visit.page.locator(".dg-part b")
    assert parts.all_inner_texts() == ["full model ✓", "circuit ✓", "complement ✓"]
    visit.page.evaluate("window.__circuitGraph.toggleNode('m0')")
    visit.page.wait_for_selector(".dg-of-edited")
    assert visit.page.locator(".dg-of-edited .dg-bar-right span").bounding_box()["width"] < 5
    assert visit.page.locator(".dg-of-circuit .dg-bar-right span").bounding_box()["width"] > 60


def test_a_text_of_ones_own_is_asked_and_what_cannot_be_is_told(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    before = visit.page.locator(".dg-asked").inner_text()
    visit.page.get_by_role("button", name="Other prompt").click()
    visit.page.get_by_text("Hardest for the circuit").click()
    visit.page.wait_for_function("text => document.querySelector('.dg-asked')?.innerText !== text", arg=before)
    visit.page.get_by_role("combobox", name="Prompt").fill("Your own")
    visit.page.get_by_role("combobox", name="Prompt").press("Enter")
    for label, text in (("Your own text", "Then Emily and Lucy went to the park. Soon Lucy gave the key to"),
                        ("Right answer", "Emily"), ("Wrong answer", "Lucy")):  # fmt: skip
        visit.page.get_by_label(label, exact=True).fill(text)
        visit.page.get_by_label(label, exact=True).press("Enter")
    visit.page.wait_for_function("document.querySelector('.dg-asked')?.innerText.includes('park')")
    visit.page.get_by_label("Wrong answer", exact=True).fill("Zqxj")
    visit.page.get_by_label("Wrong answer", exact=True).press("Enter")
    visit.page.get_by_text("not in the tokenizer's vocabulary").wait_for()


def test_widths_show_effects_or_scores_and_the_view_and_what_is_off_stay(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    wait = "what => window.__circuitGraph.graph.widthsShow.startsWith(what)"
    # Exact ones, if another visitor has left out every edge.
    visit.page.wait_for_function(wait, arg="change of the logit difference if cut")
    visit.page.get_by_text("Width: change of the logit difference if cut").wait_for()
    by_effect = visit.page.evaluate("window.__circuitGraph.links.map(link => link.id)")
    name = visit.click_edge()
    visit.page.evaluate("window.__circuitGraph.net.moveTo({scale: 0.9, position: {x: 20, y: -40}})")
    before = view_of(visit)
    visit.page.get_by_text("Score", exact=True).click()
    visit.page.wait_for_function(wait, arg="score")
    assert visit.page.evaluate("window.__circuitGraph.links.map(link => link.id)") != by_effect
    assert visit.page.evaluate("window.__circuitGraph.off().edges") == [name]
    assert view_of(visit) == pytest.approx(before)
    off_is(visit, [name])
    visit.page.get_by_text("Effect", exact=True).click()
    visit.page.wait_for_function(wait, arg="change of the logit difference if cut")
    assert visit.page.evaluate("window.__circuitGraph.off().edges") == [name]
    visit.page.get_by_role("button", name="Undo").click()
    visit.page.wait_for_function("window.__circuitGraph.offEdges.size === 0")


def test_what_is_left_is_kept_as_a_circuit_with_its_own_figures(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    name = visit.click_edge()
    visit.settled()
    left = visit.row("without")
    visit.page.get_by_role("button", name="Keep what is left as a circuit").click()
    visit.page.get_by_text("These 37 of 1,519 connections").wait_for()
    visit.page.wait_for_function(f"!window.__circuitGraph?.linkById.has({name!r})")
    visit.figures_computed()
    assert visit.row("circuit") == left
    assert visit.row("without") == []
    assert visit.page.locator(".dg-chips").count() == 0
    box = visit.page.get_by_role("combobox", name="Circuit")
    box.fill("Example · mini · ioi · edges")
    box.press("Enter")
    visit.page.get_by_text("These 38 of 1,519 connections").wait_for()
    off_is(visit, [name])


def test_a_click_is_not_lost_where_another_drawing_comes_at_the_same_moment(visit):
    visit.open()
    visit.graph_drawn()
    visit.figures_computed()
    visit.page.wait_for_function("window.__circuitGraph.graph.widthsShow !== 'score'")
    name = visit.page.evaluate("window.__circuitGraph.clickableEdges(1)[0]")
    visit.page.evaluate(
        """name => {
          const score = [...document.querySelectorAll("button")].find(button => button.innerText.trim() === "Score");
          window.__circuitGraph.toggleEdge(name);
          score.click();
        }""",
        name,
    )
    visit.page.wait_for_function("window.__circuitGraph.graph.widthsShow === 'score'")
    off_is(visit, [name])
    assert visit.page.evaluate("window.__circuitGraph.off().edges") == [name]


def test_a_drawing_that_is_replaced_before_it_was_drawn_is_fitted(visit):
    """Of a graph without size nothing is drawn until it has one; by then, another drawing of its nodes may be there."""
    visit.open()
    visit.graph_drawn()
    before = view_of(visit)
    visit.page.evaluate(
        """() => {
          const graph = window.__circuitGraph, old = graph.graph;
          graph.net.moveTo({ scale: 0.3, position: { x: 500, y: 500 } });
          graph.net.destroy();
          graph.net = null;
          graph.read(old);
          graph.read({ ...old, id: "another" });
          graph.start();
        }"""
    )
    assert view_of(visit) == pytest.approx(before)
