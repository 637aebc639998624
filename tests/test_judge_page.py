"""The page of a report: what it says, and that nothing of a notebook's can load or run in it."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import nbformat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_judge_report import CHECKS, METRICS, made

from nbdeploy.judge import page
from nbdeploy.judge.outcome import Outcome
from nbdeploy.judge.records import MEDIA_TYPE, Record

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
EVIL = (
    "<script src='http://evil.example/x.js'>alert(1)</script><style>body{display:none}</style>"
    "<p onclick='alert(1)' style='position:fixed;color:red;background:url(http://evil.example/b.png)'>kept text</p>"
    "<img src='http://evil.example/a.png' onerror='alert(1)'><iframe src='http://evil.example'></iframe>"
    "<link rel=stylesheet href='http://evil.example/a.css'><a href='javascript:alert(1)'>link</a>"
    "<svg onload='alert(1)'><use href='http://evil.example/#x'/></svg><form action='http://evil.example'><input></form>"
    "<meta http-equiv=refresh content='0;url=http://evil.example'><base href='http://evil.example/'>"
    "<scr<script>ipt>alert(1)</script>"
)
LOADING = {"script", "link", "iframe", "object", "embed", "base", "form", "input", "svg", "video", "audio", "source"}


class Page(HTMLParser):
    """What a browser would be told to do."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def harmless(self) -> bool:
        for tag, attributes in self.found:
            assert tag not in LOADING, (tag, attributes)
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert "url(" not in (attributes.get("style") or ""), (tag, attributes)
            assert "position" not in (attributes.get("style") or ""), (tag, attributes)
            assert (attributes.get("src") or "data:image/").startswith("data:image/"), (tag, attributes)
            assert not (attributes.get("href") or "").strip().lower().startswith(("javascript", "data")), (
                tag,
                attributes,
            )
        assert [tag for tag, _ in self.found].count("style") == 1
        metas = [attributes.get("http-equiv") for tag, attributes in self.found if tag == "meta"]
        assert metas == [None, "Content-Security-Policy", None, None]
        return True


def display(**data: Any) -> Any:
    return new_output("display_data", data={name.replace("__", "/"): value for name, value in data.items()})


def paged(folder: Path, cells: list[Any], **changes: Any) -> Page:
    report = made(folder, **changes)
    nbformat.write(new_notebook(cells=cells, metadata={"title": EVIL}), report.executed)
    return Page(page.page(report))


def test_the_verdict_and_the_failing_checks_come_first(tmp_path: Path) -> None:
    text = paged(tmp_path, [new_markdown_cell("# The argument"), new_code_cell("x = 1", execution_count=1)]).text
    words = (
        "penguins@0123456789ab was refused by its gate",
        "2 of 3 checks failed",
        "careful",
        "no <leak>",
        "NaN is no number",
        "not applicable",
        "95 % interval",
        "0.9 to 0.96",
        "not published yet",
        "120 rows, 2 columns, target y",
        "2026-11-21 05:26:00 UTC by ada, in 1.5 s",
        "Other numbers",
        "own",
        "Metrics by slice",
        "island=Dream",
        "Other records",
        "The notebook",
        "The argument",
        "x",
    )
    places = [text.index(words[0])]
    for word in words[1:]:
        places.append(text.index(word, places[-1]))
    assert places == sorted(places)


def test_what_the_notebook_shows_is_there(tmp_path: Path) -> None:
    cells = [
        new_code_cell("plot()", execution_count=1, outputs=[display(image__png=PICTURE, text__plain="<Figure>")]),
        new_code_cell("table", outputs=[display(text__html="<table class='dataframe'><tr><td>cell</td></tr></table>")]),
        new_code_cell(
            "1/0", outputs=[new_output("error", ename="E", evalue="v", traceback=["\x1b[31mTrace\x1b[0m back"])]
        ),
        new_code_cell("print", outputs=[new_output("stream", name="stdout", text="said <b>\n" + "x" * 30_000)]),
        new_code_cell("r", outputs=[new_output("display_data", data={MEDIA_TYPE: {"a": 1}, "text/plain": "RECORDED"})]),
    ]
    found = paged(tmp_path, cells)
    assert found.harmless()
    pictures = [attributes["src"] for tag, attributes in found.found if tag == "img"]
    assert pictures == [f"data:image/png;base64,{PICTURE}"]
    assert [tag for tag, _ in found.found].count("details") == len(cells) + 3
    for word in ("cell", "Trace back", "said <b>", "10,009 more characters"):
        assert word in found.text
    assert "RECORDED" not in found.text


def test_nothing_a_notebook_puts_out_can_load_or_run(tmp_path: Path) -> None:
    """F54."""
    shown = {"text__html": EVIL, "text__markdown": EVIL, "text__latex": EVIL, "text__plain": EVIL}
    cells = [
        new_markdown_cell(
            f"{EVIL}\n\n![x](http://evil.example/y.png) [l](javascript:alert(1))", metadata={"tags": [EVIL]}
        )
    ]
    cells += [new_code_cell(EVIL, outputs=[display(**{form: content})]) for form, content in shown.items()]
    cells += [
        new_code_cell("1", outputs=[new_output("stream", name="stderr", text=EVIL)]),
        new_code_cell("2", outputs=[new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL])]),
        new_code_cell("3", outputs=[display(image__png=f'"><img src=http://evil.example onerror=alert(1)>{PICTURE}')]),
        new_code_cell("4", outputs=[new_output("display_data", data={"image/svg+xml": EVIL, "text/plain": "svg"})]),
        new_code_cell("5", outputs=[new_output("display_data", data={"application/javascript": "alert(1)"})]),
        new_code_cell(
            "6",
            outputs=[
                new_output(
                    "display_data", data={"image/png": PICTURE}, metadata={"image/png": {"width": '1" onload="x'}}
                )
            ],
        ),
    ]
    found = paged(tmp_path, cells)
    assert found.harmless()
    assert "kept text" in found.text


def test_no_name_of_the_user_s_is_markup(tmp_path: Path) -> None:
    """F47: columns, metrics, checks, parameters and their like."""
    found = paged(
        tmp_path,
        [],
        subject=f"penguins {EVIL}",
        checks=(Outcome(EVIL, passed=False, detail=EVIL),),
        metrics={
            **METRICS,
            f"accuracy@{EVIL}=1": Record(EVIL, "number", 1.0),
            "t": Record("t", "table", [{EVIL: EVIL}]),
            "said": Record("said", "text", EVIL),
        },
        conditions=(EVIL,),
        data={"path": EVIL, "rows": EVIL, "columns": EVIL, "fingerprint": {"sha256": EVIL}, "target": EVIL},
        parameters={EVIL: EVIL},
        warnings=(EVIL,),
        by=EVIL,
        notebook=EVIL,
    )
    assert found.harmless()
    assert found.text.count("alert(1)</script>") > 10


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from([*re.findall(r"<[^>]*>|[^<]+", EVIL), "<", ">", "'", '"', "<!--", "]]>", "\x00", "\ud800"])
    )
)
def test_pieces_of_it_in_any_order_are_harmless(tmp_path: Path, pieces: list[str]) -> None:
    content = "".join(pieces)
    node = json.loads(
        json.dumps(
            new_notebook(cells=[new_markdown_cell(content), new_code_cell("1", outputs=[display(text__html=content)])])
        )
    )
    report = made(tmp_path, checks=CHECKS[:1])
    report.executed.write_text(json.dumps(node))
    assert Page(page.page(report)).harmless()


def test_elements_that_are_never_closed_cost_one_search() -> None:
    """Searched for each opening, this would take days."""
    body = "<script " * 300_000
    assert page._without_dropped(body) == body
    assert page._without_dropped("a<Script x>b</SCRIPT\n>c<style>d<script>e</style>f<title>g") == "acf<title>g"


def test_a_page_is_small(tmp_path: Path) -> None:
    assert len(page.page(made(tmp_path))) < 60_000
