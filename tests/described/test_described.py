"""What is described of a view holds together, and is enough to have an option or a colour on both sides."""

import dataclasses
import json
import re
from pathlib import Path

import made_records
import pytest
from made_records import lens, patterns

from mi_widgets.data import AttentionComparison, LogitLensComparison
from mi_widgets.described.attention import ATTENTION
from mi_widgets.described.logit_attribution import LOGIT_ATTRIBUTION
from mi_widgets.described.logit_lens import LOGIT_LENS
from mi_widgets.described.measure import NOT_A_NUMBER, Measure, measured
from mi_widgets.described.option import Option, words
from mi_widgets.described.prompt import PROMPT
from mi_widgets.errors import DataError
from mi_widgets.figures.choice import unit_of
from mi_widgets.figures.legend import NO_VALUE
from mi_widgets.figures.lens_field import Drawn, field_of
from mi_widgets.widgets.attention import Attention
from mi_widgets.widgets.logit_attribution import LogitAttribution
from mi_widgets.widgets.logit_lens import LogitLens
from mi_widgets.widgets.prompt import Prompt
from mi_widgets.wire import typescript

VIEWS = {"attention": ATTENTION, "lens": LOGIT_LENS, "attribution": LOGIT_ATTRIBUTION, "prompt": PROMPT}
GENERATED = Path(__file__).parents[2] / "js" / "src" / "core" / "options.gen.ts"
#: Keys that every view has, for the prompt and the interventions.
SHARED = set("/zyhkK?")

each_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


def on_the_page(view):
    """The constant that the page reads."""
    text = re.search(rf"^export const {view.name.upper()}: .*? = (\{{.*?^\}});", GENERATED.read_text(), re.M | re.S)
    assert text is not None
    return json.loads(text[1])


@each_view
def test_every_default_is_a_value_that_may_be_given(view):
    assert view.changed({}, view.defaults) == view.defaults


@each_view
def test_every_choice_of_a_menu_may_be_given(view):
    for option in view.options:
        for choice in option.choices:
            assert view.changed({}, {option.name: choice.value})[option.name] == choice.value


@each_view
def test_no_key_works_two_things(view):
    keys = [option.key for option in view.options] + [
        choice.key for option in view.options for choice in option.choices
    ]
    keys = [key for key in keys if key]
    assert len(set(keys)) == len(keys)
    assert not SHARED & set(keys)


@each_view
def test_every_control_teaches_its_term(view):
    for option in view.options:
        assert option.tip or (option.choices and all(choice.tip for choice in option.choices)), option.name


@each_view
def test_what_is_no_option_is_refused_with_the_nearest(view):
    name = view.options[0].name
    with pytest.raises(DataError, match="unknown option") as refused:
        view.changed({}, {f"{name}s": 1})
    assert f"Did you mean {name!r}?" in refused.value.hint


@each_view
def test_the_page_has_the_defaults_heights_and_computed_options_of_the_kernel(view):
    page = on_the_page(view)
    assert {name: option["default"] for name, option in page["options"].items()} == view.defaults
    assert {name for name, option in page["options"].items() if option.get("computed")} == view.computed
    assert page["height"] == view.height


def test_views_have_the_options_that_are_described():
    shells = {Attention: ATTENTION, LogitLens: LOGIT_LENS, LogitAttribution: LOGIT_ATTRIBUTION, Prompt: PROMPT}
    for shell, described in shells.items():
        assert shell.OPTIONS is described


def test_the_manual_of_a_view_names_every_option():
    for shell in (Attention, LogitLens, LogitAttribution, Prompt):
        for option in shell.OPTIONS.options:
            assert f"`{option.name}` = {option.default!r}" in str(shell.__doc__), (shell.__name__, option.name)
    assert "'linear' | 'sqrt' | 'log'" in str(Attention.__doc__)


def test_figures_of_the_lens_print_the_words_of_the_page():
    page = on_the_page(LOGIT_LENS)
    drawn = Drawn.of(lens())
    for name, measure in page["measures"].items():
        field = field_of(drawn, name, 0)
        assert field.unit == measure["legend"].replace("{token}", "·t4"), name
        assert field.none == measure.get("none", "")
        assert field.rank == (measure["scale"] == "rank")
    two = Drawn.of(LogitLensComparison(lens(), lens(1), lens().kl))
    for name, measure in page["differences"].items():
        assert field_of(two, name, 0).unit == measure["legend"].replace("{token}", "·t4"), name


def test_figures_of_attention_print_the_words_of_the_page():
    page = on_the_page(ATTENTION)
    assert unit_of(patterns()) == page["measures"]["pattern"]["legend"]
    two = AttentionComparison(patterns(), patterns(1))
    assert unit_of(two) == page["differences"]["pattern"]["legend"]


def test_what_is_no_number_is_called_the_same_on_paper_and_on_the_page():
    assert NO_VALUE == NOT_A_NUMBER
    assert f'export const NOT_A_NUMBER = "{NOT_A_NUMBER}"' in GENERATED.read_text()


def test_a_new_option_is_one_place():
    marks = Option("marks", words("dots", "bars"), "dots", key="m", tip="How pinned tokens are marked")
    view = dataclasses.replace(LOGIT_LENS, options=(*LOGIT_LENS.options, marks))
    # Given and checked in Python, saved, and written in a recipe
    assert view.defaults["marks"] == "dots"
    chosen = view.changed({}, {"marks": "bars"})
    assert view.words(chosen) == {"marks": "bars"}
    with pytest.raises(DataError, match="unknown marks 'lines'"):
        view.changed({}, {"marks": "lines"})
    # Typed on the page, and there with a default, a menu, a tip and a key (`js/tests/options.test.ts` shows them)
    assert '  marks: "dots" | "bars";' in typescript.options_type(view)
    page = json.loads(typescript.described_view(view)[-1].split(" = ", 1)[1].removesuffix(";"))["options"]["marks"]
    assert page["default"] == "dots"
    assert page["control"] == "menu"
    assert [choice["value"] for choice in page["choices"]] == ["dots", "bars"]
    assert (page["label"], page["tip"], page["key"]) == ("marks", "How pinned tokens are marked", "m")


def test_a_new_colour_of_the_lens_is_its_declaration_and_its_numbers(monkeypatch):
    margin = Measure("margin", "margin of the top token", "nats", scale="sqrt", tip="How far the second is")
    by_name = {option.name: option for option in LOGIT_LENS.options}
    color = dataclasses.replace(by_name["color"], kind=measured((*LOGIT_LENS.measures, margin)))
    view = dataclasses.replace(
        LOGIT_LENS,
        options=tuple(color if option.name == "color" else option for option in LOGIT_LENS.options),
        measures=(*LOGIT_LENS.measures, margin),
    )
    monkeypatch.setattr("mi_widgets.figures.lens_field.LOGIT_LENS", view)
    # The computation: here the entropy stands in for it
    monkeypatch.setattr("mi_widgets.figures.lens_field.cell_values", lambda one, _name, _target: one.entropy)
    field = field_of(Drawn.of(made_records.lens()), "margin")
    assert field.unit == "margin of the top token, nats"
    assert field.scale.transform == "sqrt"
    page = typescript.described_view(view)[-1]
    told = json.loads(page.split(" = ", 1)[1].removesuffix(";"))
    assert told["measures"]["margin"]["block"] == "margin"
    assert '"margin"' in typescript.options_type(view)[5]
