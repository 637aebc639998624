"""The panel in a real JupyterLab: every flow, by clicks, in one kernel. What it looked like is kept in build/panel/."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gatebooks import notebook
from kernels import Kernel
from lab import browser, lab, ready, run_first, theme
from nbconvert import HTMLExporter

from nbdeploy.runtime.state import State
from nbdeploy.turns import turn
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from nbdeploy.settings import Settings

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parents[1] / "build" / "panel"
TESTS = Path(__file__).parent
SET_UP = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from models import frame, plain
model = plain()
clf, X_train, y_train = model.model, model.X, model.y
X_test = frame(60, seed=3).fillna({{"bill": 44.0}})[list(X_train.columns)]
y_test = ["heavy" if mass > 4200 else "light" for mass in X_test["mass"]]
%load_ext nbdeploy
"""
SECOND = "clf = plain(C=0.01).model"
CELLS = (SET_UP, "%deploy panel", SECOND, "%deploy panel --code")
# Stock sliders give their handles no name; the number beside each has one, and is the same control.
NAMED = "button, select, textarea, input:not([type=hidden]), [role=tab]"
NAMELESS = """elements => elements.filter(e => e.checkVisibility()).filter(e => {
    const labels = [...(e.labels || [])].map(label => label.textContent).join("");
    return !(e.getAttribute("aria-label") || labels || e.textContent || e.title).trim();
}).map(e => e.outerHTML.slice(0, 200))"""


class Panel:
    """The first panel of the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(".nbd-panel").first

    def tab(self, name: str) -> None:
        self.root.get_by_role("tab", name=name, exact=True).click()

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=re.compile(rf"^\W*{re.escape(name)}$"))

    def click(self, name: str) -> None:
        self.button(name).click()

    def says(self, text: str | re.Pattern[str]) -> None:
        self.root.get_by_text(text).locator("visible=true").first.wait_for()

    def ran(self, line: str, state: str = "done") -> None:
        """The strip shows the line, and how it ended."""
        self.root.locator(".nbd-strip", has_text=line).filter(has_text=f"{state} · begun").wait_for()

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.root.screenshot(path=SHOTS / f"{name}.png")


@pytest.mark.timeout(280)
@pytest.mark.thorough
def test_each_flow_by_clicks_in_a_real_lab(settings: Settings, tmp_path: Path) -> None:
    workspace = Workspace(settings)
    with lab(tmp_path / "lab", CELLS) as address, browser(address) as page:
        page.set_default_timeout(30_000)
        try:
            ready(page)
            run_first(page, 2)
            panel = Panel(page)
            panel.root.wait_for()
            it_looks_first_and_deploys(panel, workspace)
            a_deploy_is_cancelled(panel, workspace, settings)
            it_is_tried(panel)
            a_second_version_takes_over_and_the_first_comes_back(panel, workspace)
            a_gate_is_run(panel, tmp_path)
            its_health_is_shown(panel)
            a_death_is_seen(panel, workspace, settings)
            what_was_clicked_becomes_the_next_cell(panel)
            it_is_seen_in_each_light_and_width(panel)
            a_restarted_kernel_leaves_it_with_its_time(panel)
        except BaseException:
            page.screenshot(path=tmp_path / "failed.png")
            raise
        code = cell_after(page, "--code")
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    the_code_gives_the_same_registry(code, workspace, tmp_path)
    the_page_shows_it_without_a_kernel(tmp_path)


def test_where_nobody_is_there_to_click_a_card_says_what_there_is(tmp_path: Path) -> None:
    """As under papermill: a view nobody draws, and beneath it an output of its own in HTML and text."""
    with Kernel(tmp_path / "kernel") as kernel:
        view, twin = kernel.run("%load_ext nbdeploy\n%deploy panel").displays[:2]  # then it may be read again
        assert set(view) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
        assert "as of" in twin["text/plain"]
        assert "%deploy MODEL --sample" in twin["text/html"]
        shown = kernel.run("%unload_ext nbdeploy\nimport nbdeploy\nnbdeploy.Workspace().panel()").displays
        (card,) = [forms for forms in shown if "nbd-twin" not in forms.get("text/html", "")]
        assert set(card) == {"text/html", "text/plain"}


def it_looks_first_and_deploys(panel: Panel, workspace: Workspace) -> None:
    panel.says("Deploy")
    panel.shot("deploy-empty")
    panel.click("Look first")
    panel.says("It would be clf 1.0.0: first version")
    panel.says("seen")
    assert workspace.names() == []
    panel.button("Deploy").dblclick()
    panel.ran("%deploy clf --name clf --sample X_train --target y_train")
    assert [item.version for item in workspace.versions("clf")] == ["1.0.0"]
    panel.says("ready")
    panel.shot("deploy-done")


def a_deploy_is_cancelled(panel: Panel, workspace: Workspace, settings: Settings) -> None:
    with turn(settings.services / "clf", print):
        panel.click("Deploy")
        panel.says(re.compile("waiting: another process is changing clf"))
        panel.shot("deploy-waiting")
        panel.click("Cancel")
        panel.ran("%deploy clf", "cancelled")
    panel.says("interrupted: nothing was changed")
    assert len(workspace.versions("clf")) == 1


def it_is_tried(panel: Panel) -> None:
    panel.tab("Try it")
    panel.root.get_by_label("Row from").select_option("X_test: DataFrame, 60 rows x 3 columns")
    slider = panel.root.get_by_role("slider").nth(1)
    slider.focus()
    number = panel.root.get_by_label("mass")
    before = float(number.input_value())
    panel.page.keyboard.press("ArrowRight")  # by keys alone
    panel.page.wait_for_function("before => document.activeElement.getAttribute('aria-valuenow') != before", arg=before)
    panel.page.keyboard.press("Tab")
    panel.says("mass")
    handles, names = panel.root.get_by_role("slider").count(), panel.root.locator("input[type=number]").count()
    assert names == handles + 1  # and the row's
    panel.click("Ask")
    panel.says(re.compile("there and back, version 1.0.0"))
    panel.root.get_by_label("What if").select_option("mass")
    panel.click("Plot it")
    panel.root.get_by_role("img", name=re.compile("while mass goes from")).wait_for()
    nobody_is_nameless(panel)
    panel.shot("try")


def a_second_version_takes_over_and_the_first_comes_back(panel: Panel, workspace: Workspace) -> None:
    page = panel.page
    page.locator(".jp-InputArea .cm-content", has_text=SECOND).click()
    page.keyboard.press("Shift+Enter")
    panel.tab("Deploy")
    panel.click("Deploy")
    page.wait_for_function("() => document.querySelector('.nbd-panel').textContent.includes('clf 1.0.1')")
    panel.tab("Services")
    panel.root.get_by_label("Versions", exact=True).select_option(index=1)
    panel.click("Compare")
    panel.says("clf: 1.0.1 to 1.0.0")
    panel.click("Make live")
    panel.says(re.compile(r"clf 1\.0\.0 will answer at .* instead of 1\.0\.1"))
    panel.shot("services-before-going-back")
    nobody_is_nameless(panel)
    panel.click("Make 1.0.0 live")
    panel.ran("%deploy rollback clf --to 1.0.0")
    live = workspace.registry.live("clf")
    assert live is not None
    assert live.version == "1.0.0"


def a_gate_is_run(panel: Panel, folder: Path) -> None:
    gate = notebook(folder / "lab" / "work" / "gate.ipynb", 'import nbdeploy\nnbdeploy.record("accuracy", 0.5)')
    panel.tab("Validation")
    panel.root.get_by_label("Version", exact=True).select_option(index=0)
    panel.root.get_by_label("Notebook").fill(gate.name)
    panel.root.get_by_label("Conditions").locator("visible=true").fill("accuracy>=0.9\naccuracy>=0.1")
    panel.root.get_by_label("Target").locator("visible=true").click()  # out of the field: what was typed counts
    panel.click("Run the gate")
    panel.says("refused by the gate")
    rows = panel.root.get_by_role("row").filter(has_text="accuracy>=0").locator("visible=true").all_text_contents()
    assert "0.9" in rows[0]
    panel.shot("validation")


def its_health_is_shown(panel: Panel) -> None:
    panel.tab("Monitor")
    panel.says("Over time")
    panel.root.get_by_label("Rule").fill("error_rate>0.05")
    panel.root.get_by_label("Over", exact=True).focus()
    panel.click("Preview")
    panel.ran("%deploy alerts clf --when error_rate>0.05 --preview --last 7d")
    nobody_is_nameless(panel)
    panel.shot("monitor")


def a_death_is_seen(panel: Panel, workspace: Workspace, settings: Settings) -> None:
    panel.tab("Services")
    state = State.read(settings.services / "clf")
    assert state is not None
    for pid in (state.process.pid, *state.pids):
        os.kill(pid, signal.SIGKILL)
    state.process.wait(10)
    panel.root.get_by_label("keep up to date").check()
    panel.says("✗ dead")  # by itself
    panel.says(re.compile("start it again here"))
    panel.root.get_by_label("keep up to date").uncheck()
    panel.shot("services-dead")
    panel.click("Start")
    panel.ran("%deploy serve clf")
    panel.says("✓ ready")
    panel.click("Traffic")
    panel.ran("%deploy predictions clf --last 1h")
    panel.says("requests")
    panel.shot("services-traffic")
    panel.click("Logs")
    panel.says(re.compile("version 1.0.0 serves at"))
    panel.click("Stop")
    panel.says(re.compile("get no answer until clf is started again"))
    panel.click("Stop clf")
    panel.ran("%deploy stop clf")
    assert list(workspace.services()) == []
    panel.tab("Try it")
    panel.says(re.compile("clf is not running; start it"))
    panel.shot("try-stopped")


def what_was_clicked_becomes_the_next_cell(panel: Panel) -> None:
    panel.tab("Code")
    panel.says(re.compile("puts these lines into the next cell"))
    panel.shot("code")
    page = panel.page
    page.locator(".jp-InputArea .cm-content", has_text="%deploy panel --code").click()
    page.keyboard.press("Shift+Enter")
    lines = page.locator(".jp-InputArea .cm-content", has_text="%deploy rollback clf --to 1.0.0")
    lines.filter(has_text="nbdeploy.validate(").wait_for()  # it was refused, and is marked so


def it_is_seen_in_each_light_and_width(panel: Panel) -> None:
    page = panel.page
    for light, widths in (("Light", (1200,)), ("Dark", (1200, 480))):
        theme(page, light)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 1400})
            for tab in ("Deploy", "Try it", "Services", "Monitor", "Validation", "Code"):
                panel.tab(tab)
                panel.shot(f"{light.lower()}-{width}-{tab.lower().replace(' ', '-')}")
                wide = "e => [...e.querySelectorAll('.jupyter-widgets, .widget-html-content')].some(w => w.getBoundingClientRect().right > e.getBoundingClientRect().right + 2)"
                assert not panel.root.evaluate(wide), (tab, width)


def a_restarted_kernel_leaves_it_with_its_time(panel: Panel) -> None:
    page = panel.page
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    panel.says(re.compile(r"as of \d\d:\d\d:\d\d"))
    told = "() => getComputedStyle(document.querySelector('.nbd-panel'), '::before').content.includes('has ended')"
    page.wait_for_function(told)
    panel.tab("Services")
    panel.shot("restarted")


def nobody_is_nameless(panel: Panel) -> None:
    found = panel.root.locator(NAMED).evaluate_all(NAMELESS)
    assert found == []


def cell_after(page: Page, typed: str) -> str:
    cells: list[str] = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.getSource())"
    )
    return next(later for cell, later in pairwise(cells) if typed in cell)


def the_code_gives_the_same_registry(code: str, workspace: Workspace, folder: Path) -> None:
    """In a fresh kernel and fresh homes; the variable changes where the cell between the clicks changed it."""
    line = "%deploy clf --name clf --sample X_train --target y_train"
    before, between, after = code.split(line)
    with Kernel(folder / "fresh", cwd=folder / "lab" / "work") as kernel:
        kernel.run(f"{SET_UP}\n{before}{line}\n{between}\n{SECOND}\n{line}{after}")
        found: dict[str, Any] = kernel.value(
            "(lambda w: {'versions': [v.version for v in w.versions('clf')], 'live': w.registry.live('clf').version,"
            " 'running': [s.name for s in w.services()]})(__import__('nbdeploy').Workspace())"
        )
    live = workspace.registry.live("clf")
    versions = [item.version for item in workspace.versions("clf")]
    assert found == {"versions": versions, "live": live and live.version, "running": []}


def the_page_shows_it_without_a_kernel(folder: Path) -> None:
    saved = folder / "lab" / "work" / "panel.ipynb"
    page, _ = HTMLExporter().from_filename(str(saved))
    twin = page.partition('<div class="nbd-twin-')[2].partition('<div class="jp-Cell')[0]
    assert "clicked" in twin
    assert "1.0.1" in twin
    assert "%deploy rollback clf --to 1.0.0" in twin
