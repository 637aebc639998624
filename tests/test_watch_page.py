"""What `monitor` shows: text and HTML alike, small, and steered by no value in it."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from birds import NOW, World, in_kilograms, normal, number, published, told, windows
from sklearn.linear_model import LinearRegression, LogisticRegression

from nbdeploy import cli
from nbdeploy.capture.counts import counts_of
from nbdeploy.errors import DiskFailed
from nbdeploy.render.plain import figures
from nbdeploy.watch import null, power
from nbdeploy.watch.axis import floored
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.histogram import histogram
from nbdeploy.watch.lanes import lanes
from nbdeploy.watch.sections import chosen, sections
from nbdeploy.watch.sheet import bars

if TYPE_CHECKING:
    from pathlib import Path

    from traffic import Past


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return published(tmp_path_factory.mktemp("world"))


@pytest.fixture
def past(world: World) -> Past:
    return world.past("birds")


def test_the_command_shows_writes_and_gives_the_page(
    world: World, past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows(past, 3, in_kilograms)

    def said_by(*words: str) -> tuple[int, str]:
        code = cli.main(words, lambda: world.workspace)
        return code, capsys.readouterr().out

    code, text = said_by("monitor", "birds", "--every", "6h")
    assert (code, text.splitlines()[0]) == (0, "birds  • stopped")
    assert "mass: values look divided by 1,000" in text
    code, text = said_by("monitor", "birds", "--every", "6h", "--json")
    told = json.loads(text)
    assert (code, told["name"], len(told["readings"])) == (0, "birds", 29)
    assert told["versions"][0]["drifted"]
    page = tmp_path / "page.html"
    code, text = said_by("monitor", "birds", "--html", str(page))
    assert "The page is in" in text
    assert "mass" in page.read_text(encoding="utf-8")
    assert said_by("drift", "birds", "--every", "6h")[0] == 0
    assert said_by("drift", "birds", "--every", "6h", "--fail")[0] == 1
    code, text = said_by("drift", "birds", "--every", "6h", "--json", "--against", "1.0.0")
    assert json.loads(text)["against"] == "the training of 1.0.0"
    assert said_by("monitor", "nobody")[0] == 1
    assert said_by("monitor", "birds", "--last", "soon")[0] == 2


def test_words_of_a_column_name_what_they_count(world: World, past: Past) -> None:
    windows(past, 2, in_kilograms)
    text = normal(world.monitor().text)
    assert re.search(r"(out of range|jensen-shannon|wasserstein) [\d.e-]+, threshold", text)
    assert "unseen" not in text.partition("Columns of")[2].partition("Rows of")[0]
    windows(world.past("birds"), 1)
    quality = next(lane for lane in lanes(world.monitor()) if lane.title.startswith("odd rows"))
    assert not quality.words.startswith("at most 0 %")


def test_text_and_html_say_the_same_things(world: World, past: Past) -> None:
    windows(past, 8, in_kilograms, methods=("predict_proba",))
    past.refuse(30, NOW - timedelta(hours=1))
    health = world.monitor()
    page = normal(html.unescape(re.sub(r"<[^>]*>", "", health.html())))
    text = normal(health.text)
    said_things = [one.text for one in health.findings] + [one.next for one in health.findings]
    said_things += [lane.words for lane in lanes(health)] + [lane.title for lane in lanes(health)]
    said_things += [note for section in sections(health) for note in section.notes]
    said_things += [str(cell) for section in sections(health) for row in section.rows for cell in row]
    assert len(said_things) > 30
    for thing in said_things:
        assert normal(thing) in page, thing
        assert normal(thing) in text, thing
    assert f"as of {NOW:%Y-%m-%d %H:%M:%S} UTC" in page
    assert max(map(len, health.text.splitlines())) <= 80
    coloured = health.as_text(colour=True)
    assert "\x1b[31m✗\x1b[0m" in coloured
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == health.text


def test_rows_that_retention_removed_are_an_event_once(world: World, past: Past) -> None:
    windows(past, 2)
    registry = world.workspace.registry
    for segments in (1, 2):
        registry.record("cleaned", "log cleaned", segments=segments)
    health = replace(world.monitor(), events=tuple(registry.events("cleaned")))
    [section] = [one for one in sections(health) if one.title == "Versions and events"]
    assert [row[1] for row in section.rows] == ["old rows of the log removed, as its retention says"]


def test_columns_that_are_not_shown_say_why_they_are_not_computable(world: World, past: Past) -> None:
    windows(past, 2)
    health = world.monitor()
    assert health.version is not None
    track = health.version.track("bill")
    reasons = ["hashed", "dropped", "dropped", "dropped", "dropped", "dropped", "dropped"]
    unknown = [
        replace(track, name=f"input.c{place}", now=replace(track.now, verdict=NotComputable(f"{reason} by the policy")))
        for place, reason in enumerate(reasons)
    ]
    shown, rest = chosen(replace(health.version, tracks=(*[track] * 6, *unknown)))
    assert [one.column for one in shown] == ["bill"] * 6
    assert rest == (
        "and 7 more columns: 1 not computable (hashed by the policy): c0; "
        "6 not computable (dropped by the policy): c1, c2, c3, c4 and 2 more"
    )


@pytest.mark.thorough
def test_the_page_is_small_also_with_two_hundred_columns_and_ninety_days(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(null, "DRAWS", (200, 200))
    monkeypatch.setattr(power, "DRAWS", 20)
    random = np.random.default_rng(0)
    names = [f"a_rather_long_name_of_a_column_{place}" for place in range(200)]
    rows = pd.DataFrame(random.normal(size=(500, 200)), columns=names)
    past = world.publish("wide", LogisticRegression().fit(rows, rows[names[0]] > 0), rows)
    for day in range(90):
        given = pd.DataFrame(random.normal(size=(60, 200)), columns=names)
        given[names[:150]] *= 1_000 if day > 80 else 1
        began = floored(NOW, timedelta(days=1)) - timedelta(days=89 - day)
        past.ask(given, began, min(began + timedelta(days=1), NOW), batch=60)
    health = world.monitor("wide", "90d", "1d")
    assert health.version is not None
    assert len(health.version.drifted) >= 150
    assert "and 188 more columns" in health.text
    assert "more columns drifted" in told(health)
    saved = {"text/html": health._repr_html_(), "text/plain": health.text}
    assert len(json.dumps(saved)) < 50_000
    assert len(health.html()) < 50_000


def test_names_and_values_of_columns_cannot_steer_the_page(world: World) -> None:
    names = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a\u202eb\n&amp;c", "]]></desc><svg onload=z>"]
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(300, 4)), columns=names)
    past = world.publish("hostile", LinearRegression().fit(rows, rows[names[0]]), rows)
    for hours in (11, 5):
        past.ask(rows * 1_000, NOW - timedelta(hours=hours), NOW - timedelta(hours=hours - 4))
    health = world.monitor("hostile")
    assert health.version is not None
    assert len(health.version.drifted) == 5
    for page in (health.html(), health._repr_html_()):
        assert "&lt;script&gt;" in page
        assert not re.search(r"<(script|img|svg onload)", page)
        assert "\u202e" not in page
    assert "\u202e" not in health.text
    assert not re.search(
        r"https?:|url\(|src=|@import", html.unescape(health.html()).replace("src=x", "")
    )  # all is here


def test_every_drawing_says_what_it_shows(world: World, past: Past) -> None:
    windows(past, 4)
    page = world.monitor().html()
    drawings = re.findall(r"<svg.*?</svg>", page)
    assert len(drawings) >= 10
    for drawing in drawings:
        assert re.match(r'<svg role="img"[^>]*><title>[^<]+</title><desc>[^<]+</desc>', drawing)
    assert all('scope="' in head for head in re.findall(r"<th[ >][^>]*>?", page))
    assert "prefers-color-scheme: dark" in page
    assert 'data-jp-theme-light="false"' in page


def test_the_page_can_be_written(world: World, past: Past, tmp_path: Path) -> None:
    windows(past, 2)
    path = world.monitor().write(tmp_path / "page.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(DiskFailed, match="Is a directory"):
        world.monitor().write(tmp_path)


def test_small_bars_show_what_is_there_and_what_is_not() -> None:
    assert bars([0.0, 0.5, 1.0, None, 2.0], 0.0, 1.0) == "▁▅█·█"


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([1, 2, 3, 4, 5] * 100, "▁▁████████████████▁▁"),  # stars
        ([0, 0, 0, 1] * 100, "▁▆████████▃▃▃▃▃▃▃▃▂▁"),  # no and yes
        ([7] * 100, "▁▁▁▁▁▁▁▁▁▁█▁▁▁▁▁▁▁▁▁"),
    ],
)
def test_numbers_of_few_values_are_drawn_as_often_as_each_is_there(values: list[float], shape: str) -> None:
    before = counts_of("number", values, None)
    drawn = histogram(before, before.counted(values))
    assert drawn is not None
    assert bars(drawn.before, 0.0, max(drawn.before)) == shape
    assert drawn.now == drawn.before
    assert sum(drawn.now) == pytest.approx(1.0)


def test_a_table_wider_than_the_screen_scrolls_in_a_box_that_keys_reach(world: World, past: Past) -> None:
    windows(past, 2, in_kilograms)
    page = world.monitor().html()
    boxes = page.count('<div class="wide" role="region" tabindex="0" aria-label="')
    assert boxes == page.count("<table>") > 1
    assert ".wide { overflow-x: auto;" in page
    assert "::-webkit-scrollbar" in page, "to be seen where bars show themselves only while they move"


def test_a_lane_says_which_line_is_which_and_how_high_it_goes(world: World, past: Past) -> None:
    windows(past, 6, in_kilograms)
    past.refuse(10, NOW - timedelta(hours=8))
    health = world.monitor()
    page = health.html()
    shown = {lane.title: lane for lane in lanes(health)}
    keys = [
        '<i class="accent line"></i>p95', '<i class="plain line"></i>p50',
        '<i class="accent bars"></i>refused (4xx)', '<i class="bad bars"></i>failed (5xx)',
        '<i class="plain bars"></i>times its threshold', '<i class="bad bars"></i>beyond it',
    ]  # fmt: skip
    assert [key for key in keys if key not in page] == []
    assert page.count('<div class="key">') == sum(not lane.empty for lane in shown.values())
    assert not shown["requests per second"].legend
    tops = {title: lane.scaled for title, lane in shown.items() if not lane.empty}
    slowest = max(number(reading, "p95_ms") for reading in health.readings[-6:])
    assert tops["latency in ms"] == f"0 to {figures(slowest)}"
    assert tops["failed and refused"] == "0 to 20 %"
    assert tops["odd rows, worst column"] == "0 to 100 %"
    assert tops["drift, worst column"] == "0 to 3"
    assert all(f"<span>{top}</span>" in page for top in tops.values())
