"""A report as one HTML page (door to nbconvert): what a manager reads first, then the notebook.

It loads nothing from anywhere and runs nothing: whatever a notebook has put into its outputs passes a list of what HTML
may be, and the page forbids the rest to the browser.
"""

from __future__ import annotations

import base64
import binascii
import copy
import logging
import re
from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from nbdeploy import execution
from nbdeploy.execution import formats
from nbdeploy.judge.records import MEDIA_TYPE
from nbdeploy.judge.summary import summary
from nbdeploy.render.markup import text

if TYPE_CHECKING:
    from nbdeploy.judge.report import Report

_SILENT = logging.getLogger(__name__)  # what nbconvert has to say about pictures without a text is for nobody
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
HERE = Path(__file__).parent
LONGEST = 20_000  # characters of one text output; the executed notebook has the rest
LONGEST_HTML = 200_000  # of one output in HTML, which cannot be cut anywhere
PICTURES = ("image/png", "image/jpeg")
FORMS = ("text/html", *PICTURES, "text/markdown", "text/latex", "text/plain")

_TAGS = """a abbr b blockquote br caption code col colgroup dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd
li ol p pre s samp section small span strong sub summary sup table tbody td tfoot th thead tr u ul var"""
_ATTRIBUTES = {
    "*": ["class", "style", "title", "hidden", "role", "aria-hidden", "aria-label", "scope", "colspan", "rowspan"],
    "a": ["href"],
    "img": lambda _tag, name, value: (
        name in {"alt", "width", "height"} or (name == "src" and value.startswith("data:"))
    ),
}
_STYLES = """background-color border border-bottom border-collapse border-color border-left border-radius border-right
border-style border-top border-width box-sizing color column-gap display flex flex-wrap align-items font-family font-size
font-style font-weight height line-height list-style margin margin-bottom margin-left margin-right margin-top max-width
min-width opacity overflow-wrap overflow-x padding padding-bottom padding-left padding-right padding-top text-align
text-decoration vertical-align white-space width"""
_DROPPED = ("script", "style", "title", "iframe", "object", "noscript", "template", "textarea")
_OPENING = re.compile(rf"<({'|'.join(_DROPPED)})\b", re.IGNORECASE)
_CLOSING = {tag: re.compile(rf"</{tag}\s*>", re.IGNORECASE) for tag in _DROPPED}
_NO_TEXT = "No description has been provided for this image"  # says nbconvert
_PLACE = "bmJkZXBsb3ktcGljdHVyZS0{:08d}"  # stands for a picture while the HTML is cleaned


def page(report: Report) -> bytes:
    return (
        Template((HERE / "page.html").read_text(encoding="utf-8"))
        .substitute(
            title=text(f"{report.subject}: {report.verdict}"),
            style=_style(),
            summary=summary(report),
            notebook=notebook(execution.read(report.executed)),
        )
        .encode(errors="backslashreplace")
    )


def notebook(node: Any) -> str:
    """The cells as HTML that is safe to show, their code folded."""
    pictures: list[str] = []
    body, _ = _exporter().from_notebook_node(_plain(node, pictures))
    body = _clean(body.replace(_NO_TEXT, "a picture the notebook made"))
    for number, picture in enumerate(pictures):
        body = body.replace(_PLACE.format(number), picture, 1)
    return body


@cache
def _exporter() -> Any:
    """It compiles nbconvert's templates for half a second, once."""
    formats.swiftly()
    from nbconvert.exporters import HTMLExporter

    template = (HERE / "page.j2").read_text(encoding="utf-8")
    exporter = HTMLExporter(raw_template=template, exclude_anchor_links=True, log=_SILENT)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    return exporter


def _plain(node: Any, pictures: list[str]) -> Any:
    """A copy without anything a template would put into the page as it is: metadata, attachments, other forms."""
    node = copy.deepcopy(node)
    node.metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    node.cells = [cell for cell in node.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())]
    for cell in node.cells:
        cell.metadata = {}
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            shown = (_shown(output, pictures) for output in cell.outputs)
            cell.outputs = [output for output in shown if output is not None]
    return node


def _shown(output: Any, pictures: list[str]) -> Any:
    """The output as the page shows it, or None. What was recorded stands above."""
    if output.output_type == "stream":
        output.text = _cut(output.text)
    elif output.output_type == "error":
        output.traceback = [_cut(line) for line in output.traceback]
    elif MEDIA_TYPE in output.data:
        return None
    else:
        output.metadata = {}
        form = next((form for form in FORMS if form in output.data and _readable(form, output.data[form])), None)
        if form is None:
            return None
        output.data = {form: _form(form, output.data[form], pictures)}
    return output


def _readable(form: str, content: Any) -> bool:
    if not isinstance(content, str):
        return False
    if form == "text/html":
        return len(content) <= LONGEST_HTML
    return form not in PICTURES or _picture(content) is not None


def _form(form: str, content: str, pictures: list[str]) -> str:
    if form in PICTURES:
        pictures.append(_picture(content) or "")
        return _PLACE.format(len(pictures) - 1)
    return content if form == "text/html" else _cut(content)


def _picture(content: str) -> str | None:
    """Base64 as we write it, so that nothing else can stand there."""
    try:
        return base64.b64encode(base64.b64decode("".join(content.split()), validate=True)).decode()
    except (binascii.Error, ValueError):
        return None


def _cut(content: str) -> str:
    more = len(content) - LONGEST
    return content if more <= 0 else f"{content[:LONGEST]}\n... {more:,} more characters in executed.ipynb"


def _clean(body: str) -> str:
    import bleach
    from bleach.css_sanitizer import CSSSanitizer

    return str(
        bleach.clean(
            _without_dropped(body),
            tags=_TAGS.split(),
            attributes=_ATTRIBUTES,
            protocols=["data", "http", "https", "mailto"],
            css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES.split(), allowed_svg_properties=[]),
            strip=True,
        )
    )


def _without_dropped(body: str) -> str:
    """Without the elements whose content is no text; each part of it is searched once for each of them."""
    kept: list[str] = []
    unclosed: set[str] = set()
    place = 0
    for opening in _OPENING.finditer(body):
        tag = opening[1].lower()
        if opening.start() < place or tag in unclosed:
            continue
        closing = _CLOSING[tag].search(body, opening.end())
        if closing is None:
            unclosed.add(tag)
            continue
        kept.append(body[place : opening.start()])
        place = closing.end()
    return "".join([*kept, body[place:]])


def _style() -> str:
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "monokai"))
    colours = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    return f"{colours}\n{(HERE / 'page.css').read_text(encoding='utf-8')}"
