"""A front as a notebook shows it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from slimfront.search.front import Front
from slimfront.search.inspect.plot import draw_front
from slimfront.search.inspect.table import cell, label
from slimfront.search.run import Run

TEMPLATE = Path(__file__).with_name("notebook.html.jinja")


def as_html(front: Front) -> str:
    """Return a table of the front and its picture as HTML that needs nothing else, all text escaped."""
    import jinja2

    title = Run.open(front.dense.run).study.name if front.dense.run else "front"
    rivals, front = front.rivals(), front.settled
    knee = front.pick("knee") if front.points else front.dense
    shown = [front.dense, *(point for point in front.points if point.trial != front.dense.trial)]
    rows = [
        {
            "trial": point.trial,
            "knee": point is knee,
            "cells": [
                {"text": cell(front, point, name, spread=False), "whole": cell(front, point, name)}
                for name in front.objectives
            ],
            "label": label(front, point, rivals),
        }
        for point in shown
    ]
    picture = io.BytesIO()
    draw_front(front, picture, title)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        count=len(front.points),
        heads=["trial", *front.objectives, "what was done"],
        rows=rows,
        hypervolume=front.hypervolume(),
        picture=base64.b64encode(picture.getvalue()).decode("ascii"),
    )
