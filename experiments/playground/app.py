"""The playground's widgets, in gradio: a tab for images and one for clouds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

import mixkit
from experiments.base.errors import ExperimentError
from experiments.playground.choices import (
    PAINT,
    QUERY,
    UPLOAD,
    Chosen,
    Shown,
    click,
    forget,
    sentence,
    set_option,
    show,
)
from experiments.playground.controls import Control, make_controls
from experiments.playground.saliency import KINDS
from experiments.playground.samples import SOURCES, load_source

FIRST = {  # what is shown first, and a seed that mixes it evenly
    "image": (("photographs", "temple"), ("photographs", "flower"), 37),
    "points": (("digits", "3"), ("digits", "8"), 19),
}
TITLES = {"image": "Images", "points": "Point clouds"}
INTRODUCTION = "# mixkit playground\nTwo samples, any method, every option: look at what is mixed, and take the code."
ON_LOAD = """
const view = document.createElement("div");
const show = () => {
  if (view.parentNode !== element) element.replaceChildren(view);
  if (props.value) window.mixkitView(view, JSON.parse(props.value), (panel, place) => trigger("click", {panel, place}));
};
watch("value", show);
show();
"""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
LIVE: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}


def build(roots: tuple[Path, ...]) -> gr.Blocks:
    """The app; `roots` are the folders that hold data sets."""
    with gr.Blocks(title="mixkit playground", analytics_enabled=False) as app:
        gr.Markdown(INTRODUCTION)
        for domain, title in TITLES.items():
            with gr.Tab(title):
                _tab(app, domain, roots)
    return app


def _tab(app: gr.Blocks, domain: str, roots: tuple[Path, ...]) -> None:
    """All widgets of a domain, and what happens where one is touched."""
    first_a, first_b, first_seed = FIRST[domain]
    kinds = list(KINDS[domain])
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            samples = [*_sample("A", domain, first_a, roots), *_sample("B", domain, first_b, roots)]
            method = gr.Dropdown(
                mixkit.list_methods(domain), value="sagemix", label="method", elem_id=f"method-{domain}"
            )
            options = gr.Column(elem_id=f"options-{domain}")
            with gr.Row():
                seed = gr.Number(first_seed, label="seed of the draws", precision=0, minimum=0, min_width=120)
                again = gr.Button("draw again", min_width=120)
            kind = gr.Radio(kinds, value=kinds[0], label="saliency, where a method goes by it")
            does = gr.Radio([QUERY, PAINT], value=QUERY, label="a click on A or B")
            prior = gr.Slider(0, 1, 0.5, step=0.01, label="π, where a click has set a query")
            clear = gr.Button("forget clicks")
        with gr.Column(scale=5, min_width=320, elem_classes="mk-shown"):
            view = gr.HTML("", html_template="", js_on_load=ON_LOAD, elem_id=f"view-{domain}")
            said = gr.Markdown("", elem_id=f"message-{domain}")
            code = gr.Code("", "python", label="the code that does it", elem_id=f"code-{domain}", interactive=False)
    memory, scale = gr.State({}), gr.State(None)
    widgets = [*samples, method, kind, prior, seed, memory, scale]
    outputs = [view, code, said, method, kind, memory, scale]

    def results(shown: Shown) -> tuple[Any, ...]:
        chosen = shown.chosen
        scene = gr.skip() if shown.scene is None else shown.scene
        code = gr.skip() if shown.code is None else shown.code
        return scene, code, shown.sentence, chosen.method, chosen.kind, chosen.memory, chosen.scale

    def chose(*values: Any) -> tuple[Any, ...]:
        return results(show(domain, roots, Chosen(*values)))

    def chose_method(*values: Any) -> tuple[Any, ...]:
        chosen = Chosen(*values)
        return results(show(domain, roots, replace(chosen, memory=forget(chosen.memory, ["options"]))))

    def clicked(event: gr.EventData, does: str, *values: Any) -> tuple[Any, ...]:
        return results(click(domain, roots, Chosen(*values), event.panel, event.place, does))

    def cleared(*values: Any) -> tuple[Any, ...]:
        chosen = Chosen(*values)
        return results(show(domain, roots, replace(chosen, memory=forget(chosen.memory, ["queries", "painted"]))))

    def drew_again(*values: Any) -> tuple[Any, ...]:
        chosen = Chosen(*values)
        chosen = replace(chosen, seed=int(chosen.seed or 0) + 1, memory=forget(chosen.memory, ["queries"]))
        return chosen.seed, *results(show(domain, roots, chosen))

    def optioned(control: Control, value: Any, *values: Any) -> tuple[Any, ...]:
        chosen = Chosen(*values)
        try:
            chosen = replace(chosen, memory=set_option(chosen.memory, control, value))
        except ValueError as error:
            return results(Shown(chosen, sentence(f"{error}.")))
        return results(show(domain, roots, chosen))

    app.load(chose, widgets, outputs, **QUIET)
    method.input(chose_method, widgets, outputs, **QUIET)
    for widget in (kind, prior, seed):
        widget.input(chose, widgets, outputs, **LIVE)
    clear.click(cleared, widgets, outputs, **QUIET)
    again.click(drew_again, widgets, [seed, *outputs], **QUIET)
    view.click(clicked, [does, *widgets], outputs, **QUIET)
    for source, member, file in (samples[:3], samples[3:]):
        came = source.input(partial(_members, domain, roots), [source], [member, file, said], **QUIET)
        came.success(chose, widgets, outputs, **QUIET)
        member.input(chose, widgets, outputs, **QUIET)
        file.change(chose, widgets, outputs, **QUIET)

    with options:

        @gr.render(inputs=[method, scale], triggers=[method.change, scale.change], **{"show_progress": "hidden"})
        def controls(name: str, length_scale: float | None) -> None:
            for control in make_controls(name, domain, length_scale or 0.3):
                widget = _widget(control)
                for event in (widget.blur, widget.submit) if control.kind == "text" else (widget.input,):
                    event(partial(optioned, control), [widget, *widgets], outputs, **LIVE)


def _widget(control: Control) -> Any:
    """The widget of an option."""
    value = control.default
    said: dict[str, Any] = {"label": control.name, "info": _short(control.info), "interactive": True}
    if control.kind == "choice":
        return gr.Dropdown(list(control.choices), value=value, **said)
    if control.kind == "flag":
        return gr.Checkbox(value, **said)
    if control.kind == "text":
        return gr.Textbox("", placeholder="none, or a list such as [1, 2]", **said)
    if control.kind == "number":
        return gr.Number(value, placeholder="none", **said)
    return gr.Slider(control.low, control.high, value, step=control.step, **said)


def _short(info: str) -> str:
    """The first sentence."""
    return info.partition(". ")[0].rstrip(".")


def _sample(letter: str, domain: str, first: tuple[str, str], roots: tuple[Path, ...]) -> list[Any]:
    """The widgets of a sample: its source, its class, and a file."""
    sources = [(source.title, name) for name, source in SOURCES[domain].items()]
    members = list(load_source(domain, first[0], roots).samples)
    place = f"{letter.lower()}-{domain}"
    with gr.Group():
        with gr.Row():
            source = gr.Dropdown(
                [*sources, UPLOAD], value=first[0], label=f"sample {letter}", min_width=120, elem_id=f"source-{place}"
            )
            member = gr.Dropdown(members, value=first[1], label="class", min_width=100)
        file = gr.File(label=f"a file for {letter}", visible=False, height=120, elem_id=f"upload-{place}")
    return [source, member, file]


def _members(domain: str, roots: tuple[Path, ...], source: str) -> tuple[Any, Any, str]:
    """The classes of a source, whether a file is asked for, and a sentence where the source is absent."""
    if source == UPLOAD:
        return gr.update(visible=False), gr.update(visible=True), ""
    try:
        members = list(load_source(domain, source, roots).samples)
    except ExperimentError as error:
        return gr.update(choices=[], value=None, visible=True), gr.update(visible=False), sentence(str(error))
    return gr.update(choices=members, value=members[0], visible=True), gr.update(visible=False), ""
