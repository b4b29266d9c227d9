"""The tables: changes marked the right way round, and markup in prompts shown, not obeyed."""

from __future__ import annotations

from app.tables import ChangedPrompt, Row, chips, metrics_table, prompts_table, show

CIRCUIT = {"accuracy": 0.98, "top1": 0.5, "kl": 0.4, "logit_diff": 2.0}


def test_worse_is_red_whichever_way_the_number_went():
    worse = {"accuracy": 0.9, "top1": 0.4, "kl": 1.4, "logit_diff": -1.0}
    html = metrics_table([Row("Circuit without", "", worse, versus=CIRCUIT)])
    assert html.count("dg-bad") == 4
    assert "▼ 8.0" in html
    assert "▲ 1.00" in html
    assert "−1.00" in html


def test_better_is_green_and_the_same_is_neither():
    better = {**CIRCUIT, "accuracy": 1.0, "kl": 0.1}
    html = metrics_table([Row("Circuit without", "", better, versus=CIRCUIT)])
    assert html.count("dg-good") == 2
    assert html.count('"dg-change">=') == 2


def test_unknown_figures_are_dashes():
    html = metrics_table([Row("Circuit", "", None), Row("Circuit", "", {"accuracy": 1.0})])
    assert html.count("<td>–</td>") == 4 + 3


def test_the_revision_is_an_attribute():
    assert 'data-revision="3:&quot;x"' in metrics_table([], '3:"x')


def _prompt(text: str) -> ChangedPrompt:
    return ChangedPrompt(text, text, text, text, text, True, False, 1.5, -0.25)


def test_markup_is_shown_as_it_is():
    evil = "<img src=x onerror=alert(1)>'\"&"
    for html in (
        prompts_table([_prompt(evil)]),
        chips([evil]),
        metrics_table([Row(evil, evil, None, role=evil)], evil),
    ):
        assert "<img" not in html
        assert "&lt;img" in html


def test_only_the_first_prompts_are_listed_and_the_rest_counted():
    html = prompts_table([_prompt(str(i)) for i in range(50)], limit=10)
    assert html.count("<tr>") == 11
    assert "… and 40 more" in html


def test_numbers():
    assert show(0.5, True) == "50.0 %"
    assert show(-0.5, False) == "−0.50"
