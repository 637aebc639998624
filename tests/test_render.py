"""Cards as text and as HTML, and the progress of a verb in the places it is shown."""

from __future__ import annotations

import html.parser
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.lib.pretty import pretty

import nbdeploy
from nbdeploy.render import Card, Shown, Table, markup, plain
from nbdeploy.render.progress import Conclusion, Output, Overwritten, Progress, Silent, Written, surface

if TYPE_CHECKING:
    from nbdeploy.render import Tone

SERVICES = Table(
    ("name", "version", "state", "url", "launcher", "since", "pid", "workers", "digest"),
    [
        (f"model_{n}", "1.0.0", "ready", f"http://127.0.0.1:{8000 + n}", "local", "2026-11-02T14:00:03Z", n, 1, None)
        for n in range(40)
    ],
)
CARD = Card(
    "penguins 1.2.0",
    "good",
    "ready",
    facts=(("url", "http://127.0.0.1:8123"), ("gate", None)),
    tables=(Table(("column", "kind"), [("island", "category"), ("体重", "number")]),),
    code=(("from anywhere", "curl -d '{\"rows\": []}' http://127.0.0.1:8123/predict"),),
    notes=(("warning", "cell In[4] was edited"),),
)


class Checker(html.parser.HTMLParser):
    """Collects tags and attributes, and sees that what opens is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(markup_text: str) -> Checker:
    checker = Checker()
    checker.feed(markup_text)
    checker.close()
    assert not checker.open
    return checker


def test_plain_text_is_aligned() -> None:
    assert plain.card(CARD).splitlines() == [
        "penguins 1.2.0  ✓ ready",
        "",
        "  url   http://127.0.0.1:8123",
        "  gate  -",
        "",
        "  column  kind",
        "  island  category",
        "  体重    number",
        "",
        "  from anywhere:",
        "    curl -d '{\"rows\": []}' http://127.0.0.1:8123/predict",
        "",
        "  ! cell In[4] was edited",
    ]


def test_colours_come_only_when_asked_for() -> None:
    assert "\x1b" not in plain.card(CARD)
    coloured = plain.card(CARD, colour=True)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain.card(CARD)
    assert coloured != plain.card(CARD)


def test_large_numbers_are_written_out() -> None:
    told = [plain.figures(value, 2) for value in (0.00123, 0.5, 99.4, 99.9, 812.0, 1_000.0, 2.5e6, -1_234.0, 1e20)]
    assert told == ["0.0012", "0.5", "99", "100", "810", "1,000", "2,500,000", "-1,200", "1e+20"]
    assert [plain.figures(value, 6) for value in (1950.0, 39.20891, 2.5e6)] == ["1950", "39.2089", "2,500,000"]
    assert [plain.figures(value) for value in (float("inf"), float("nan"))] == ["inf", "nan"]


def test_whole_numbers_are_never_rounded_and_others_to_three_figures() -> None:
    told = [plain.number(value) for value in (0.0, 1_004.0, 12_345_678.0, -1_004.0, 1_004.4, 0.08349, 1e20)]
    assert told == ["0", "1,004", "12,345,678", "-1,004", "1,000", "0.0835", "1e+20"]
    assert [plain.number(value) for value in (float("-inf"), float("nan"))] == ["-inf", "nan"]


def test_percentages_are_written_in_one_way() -> None:
    assert [plain.percent(share) for share in (0.0017, 0.084, 0.5, 1.0)] == ["0.17 %", "8.4 %", "50 %", "100 %"]
    assert [plain.percent(0.0017, digits) for digits in (0, 1, 2)] == ["0 %", "0.2 %", "0.17 %"]
    code = Path(nbdeploy.__file__).parent
    lines = [line for file in code.rglob("*.py") for line in file.read_text(encoding="utf-8").splitlines()]
    others = [line for line in lines if re.search(r":\.\d%\}", line) and "width:" not in line]  # of CSS
    assert not others, "these write percentages by themselves: render.plain.percent does it"


def test_an_empty_table_says_what_to_do() -> None:
    table = Table(("name",), [], empty="no service runs; `%deploy MODEL` starts one")
    assert plain.table(table) == table.empty
    assert "no service runs" in markup.table(table)


def test_html_is_small_static_and_self_contained() -> None:
    for card in (CARD, Card("Services", tables=(SERVICES,))):
        shown = markup.card(card)
        assert len(shown) < 10_000
        checker = parsed(shown)
        assert not checker.tags & {"script", "style", "link", "img", "iframe", "a"}
        assert checker.attributes <= {"style", "scope", "aria-hidden"}
        assert "url(" not in shown


def test_rows_that_do_not_fit_are_counted() -> None:
    shown = markup.table(SERVICES)
    rows = shown.count("<tr") - 1
    assert f"and {40 - rows} more" in shown
    assert plain.table(SERVICES).count("\n") == 40


def test_a_long_cell_makes_room_for_the_columns_beside_it() -> None:
    shown = markup.table(Table(("before", "after"), [("f" * 50, "1.0.0")]))
    assert re.search(r'overflow-wrap:anywhere">f{50}<', shown)
    assert re.search(r'white-space:nowrap">1\.0\.0<', shown)


def test_html_takes_the_page_s_colours_and_tones_have_an_icon() -> None:
    tones: tuple[Tone, ...] = ("good", "warning", "bad", "neutral")
    icons = set()
    for tone in tones:
        shown = markup.card(Card("t", tone, "word"))
        assert not re.search(r"[^-]color:(black|white|#000|#fff)", shown)
        icons.add(parsed(shown).text[1])
    assert len(icons) == 4


HOSTILE = "<script>alert(1)</script>\"'&\n\x1b[31m\u202e"


@pytest.mark.parametrize(
    "card",
    [
        Card(HOSTILE, status=HOSTILE),
        Card("t", facts=((HOSTILE, HOSTILE),)),
        Card("t", tables=(Table((HOSTILE,), [(HOSTILE,)], empty=HOSTILE), Table((), [], empty=HOSTILE))),
        Card("t", code=((HOSTILE, HOSTILE),)),
        Card("t", notes=(("bad", HOSTILE),)),
    ],
)
def test_no_text_becomes_markup_or_steers_a_terminal(card: Card) -> None:
    """F54."""
    shown = markup.card(card)
    assert "script" not in parsed(shown).tags
    assert "<script" not in shown
    for text in (shown, plain.card(card)):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[31m" in text


@given(st.text())
def test_any_text_is_one_printable_line_and_comes_back_from_html(text: str) -> None:
    shown = plain.text(text)
    assert len(shown.splitlines()) <= 1
    assert (
        shown.isprintable()
        or not shown.strip()
        or all(char.isspace() or char.isprintable() or char == "\u200d" or ord(char) > 127 for char in shown)
    )
    assert "".join(parsed(f"<p>{markup.text(text)}</p>").text) == shown


def test_a_noun_shows_itself_everywhere() -> None:
    class Noun(Shown):
        def card(self) -> Card:
            return CARD

    class Printer:
        told = ""

        def text(self, text: str) -> None:
            self.told += text

    @dataclass(frozen=True, slots=True)
    class Data(Shown):
        value: int

        def card(self) -> Card:
            return CARD

    assert pretty(Data(1)) == plain.card(CARD)
    printer = Printer()
    Noun()._repr_pretty_(printer, cycle=False)
    assert printer.told == str(Noun()) == plain.card(CARD)
    assert Noun()._repr_html_() == markup.card(CARD)


class Remembering:
    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.closed: list[tuple[str, str]] = []

    def show(self, text: str, tone: Tone) -> None:
        self.shown.append((text, tone))

    def close(self, text: str, tone: Tone) -> None:
        self.closed.append((text, tone))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times of the phases, in order."""
    times = [0.0, 0.2, 0.2, 1.6, 1.6, 1.6, 1.6, 1.6]
    monkeypatch.setattr("nbdeploy.render.progress.time.monotonic", lambda: times.pop(0))
    return times


def test_the_last_state_is_one_line(clock: list[float]) -> None:
    screen = Remembering()
    with Progress(screen) as progress:
        for phase in ("bundle", "check", "publish", "serve"):
            progress(phase)
    assert screen.closed == [("bundled 0.2 s · checked 1.4 s · published · serving", "good")]
    assert screen.shown[1] == ("bundled 0.2 s · checking ...", "neutral")


def test_a_conclusion_stays_in_the_last_line(clock: list[float]) -> None:
    screen = Remembering()
    with Progress(screen) as progress:
        progress("bundle")
        progress(Conclusion("nothing changed: 1.0.0 answers already"))
    assert screen.shown[-1] == ("bundled 0.2 s · nothing changed: 1.0.0 answers already", "neutral")
    assert screen.closed == [("bundled 0.2 s · nothing changed: 1.0.0 answers already", "good")]


def test_a_sentence_is_told_with_its_phase(clock: list[float]) -> None:
    screen = Remembering()
    with Progress(screen) as progress:
        progress("waiting: another process is changing penguins")
        progress("bundle")
        progress("reading 3 files")
    assert [text for text, _ in screen.shown] == [
        "waiting: another process is changing penguins",
        "bundling ...",
        "bundling: reading 3 files",
    ]


def test_a_failure_says_where(clock: list[float]) -> None:
    screen = Remembering()
    progress = Progress(screen)
    progress("bundle")
    progress("check")
    with pytest.raises(ZeroDivisionError), progress:
        raise ZeroDivisionError
    assert screen.closed == [("bundled 0.2 s · checking failed", "bad")]


def test_nothing_is_shown_where_nothing_was_told() -> None:
    screen = Remembering()
    with Progress(screen):
        pass
    with pytest.raises(ValueError, match="x"), Progress(screen):
        raise ValueError("x")
    assert screen.shown == screen.closed == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_s_line_is_overwritten_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    screen = surface(stream)
    assert isinstance(screen, Overwritten)
    screen.show("bundling ...", "neutral")
    screen.close("x" * 50, "good")
    lines = stream.getvalue().split("\r\x1b[2K")
    assert lines[1] == "• bundling ..."
    assert lines[2] == "✓ " + "x" * 15 + "…\n"


def test_elsewhere_each_step_is_a_line() -> None:
    stream = io.StringIO()
    screen = surface(stream)
    assert isinstance(screen, Written)
    with Progress(screen) as progress:
        progress("publish")
        progress("serve")
    assert stream.getvalue().splitlines() == ["publishing ...", "handing over ...", "✓ published · serving"]


def test_a_notebook_s_output_changes_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, str]]] = []

    class Handle:
        def update(self, data: dict[str, str], **_: Any) -> None:
            told.append(("update", data))

    def display(data: dict[str, str], **options: Any) -> Handle:
        assert options == {"raw": True, "display_id": True}
        told.append(("display", data))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    screen = surface(notebook=True)
    assert isinstance(screen, Output)
    with Progress(screen) as progress:
        progress("publish")
        progress("serve")
    assert [kind for kind, _ in told] == ["display", "update", "update"]
    assert told[-1][1]["text/plain"] == "✓ published · serving"
    assert "published · serving" in told[-1][1]["text/html"]
    assert len(told[-1][1]["text/html"]) < 300


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(Silent()) as progress:
        progress("serve")
    assert capsys.readouterr() == ("", "")
