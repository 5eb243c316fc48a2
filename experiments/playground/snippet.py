"""The code that makes what is shown: a whole Python program, as short as it can be."""

from __future__ import annotations

from pathlib import Path

from experiments.playground.mixing import Settings
from experiments.playground.samples import SOURCES


def snippet(settings: Settings) -> str:
    """Python code that leaves the shown mix in ``mixed[0]`` and its label weights in ``targets[0]``.

    An upload is read from a file of its name in the current folder.
    """
    names = [_name(settings.domain, name) for name in (settings.a, settings.b)]
    files = f", roots=[{', '.join(_text(str(root)) for root in settings.roots)}]" if _of_files(settings) else ""
    body = [
        f'batch = load_pair("{settings.domain}", {_text(names[0])}, {_text(names[1])}{files})  # {_shape(settings)}',
        "labels = torch.tensor([0, 1])",
    ]
    saliency = ""
    if settings.salient:
        painted = f", painted={settings.painted}" if settings.kind == "painted" else ""
        body.append(f'saliency = find_saliency("{settings.domain}", batch, "{settings.kind}"{painted})')
        saliency = "    saliency=lambda batch: saliency,\n"
    options = "".join(f"    {name}={_text(value)},\n" for name, value in settings.made_with.items())
    body.append(
        f'mixer = mixkit.create_mixer(\n    "{settings.method}",\n    "{settings.domain}",\n{options}{saliency})'
    )
    if settings.by_hand:
        body += _by_hand(settings)
    else:
        body.append(f"plan = mixer.plan(batch, labels, generator=torch.Generator().manual_seed({settings.seed}))")
    body.append("mixed, targets = mixer.apply_plan(plan, batch, labels)  # mixer(batch, labels) does both")
    head = ["import torch\n", "import mixkit", "from experiments.playground.samples import load_pair"]
    if settings.salient:
        head.append("from experiments.playground.saliency import find_saliency")
    return "\n".join([*head[:2], *sorted(head[2:]), "", *body, ""])


def _by_hand(settings: Settings) -> list[str]:
    sigma = settings.options.get("sigma")
    return [
        "elements = mixer.domain.elements(batch)",
        "partner = torch.tensor([1, 0])",
        f"query = torch.tensor({list(settings.queries or ())})  # an element of a, and one of b",
        "plan = mixkit.functional.sagemix(\n    elements.coords,\n    partner,\n"
        "    mixer.domain.assign(elements.coords, elements.coords[partner]),\n    query,\n    query[partner],\n"
        f"    prior=torch.tensor([{settings.prior}, 1 - {settings.prior}]),\n"
        f"    sigma={repr(sigma) if sigma else 'elements.length_scale'},\n)",
    ]


def _name(domain: str, name: str) -> str:
    return name if name.partition("/")[0] in SOURCES[domain] else Path(name).name


def _text(value: object) -> str:
    """A value as Python has it, texts in double quotes where they can be."""
    plain = isinstance(value, str) and value.isprintable() and not set(value) & set('"\\')
    return f'"{value}"' if plain else repr(value)


def _of_files(settings: Settings) -> bool:
    """Whether a sample is of a data set that needs files."""
    sources = {name.partition("/")[0] for name in (settings.a, settings.b)}
    return bool(sources & {"cifar100", "modelnet10", "modelnet40"})


def _shape(settings: Settings) -> str:
    return "(2, C, H, W) in [0, 1]" if settings.domain == "image" else "(2, N, 3)"
