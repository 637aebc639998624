"""Thresholds from settings, YAML and --gate become conditions; what cannot be read is never passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as told_to
from hypothesis import strategies as st

from nbdeploy.errors import NbdeployError, UnknownOption, WrongUse
from nbdeploy.judge.thresholds import conditions
from nbdeploy.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def loaded(folder: Path, text: str, name: str = "nbdeploy.toml") -> Settings:
    (folder / name).write_text(text, encoding="utf-8")
    return Settings.load(folder, {})


def compiled(settings: Settings, *gate: str) -> list[str]:
    return [str(condition) for condition in conditions(gate, settings)]


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        ("f1_macro]\nthreshold = 0.9", ["f1_macro>=0.9"]),
        ("log_loss]\nthreshold = 0.4", ["log_loss<=0.4"]),
        ("f1_macro]\nmin_gain = 0.01", ["f1_macro>=live+0.01"]),
        ("f1_macro]\nmin_gain = 0", ["f1_macro>=live"]),
        ("f1_macro]\nmin_gain = -0.01", ["f1_macro>=live-0.01"]),
        ("mae]\nmin_gain = 0.5", ["mae<=live-0.5"]),
        ("f1_macro]\nmin_relative_gain = 0.1", ["f1_macro>=live*1.1"]),
        ("mae]\nmin_relative_gain = 0.1", ["mae<=live*0.9"]),
        ("mae]\nthreshold = 1\ninterval = true", ["mae.high<=1"]),
        (
            'f1_macro]\nthreshold = 0.9\nmin_gain = 0\ninterval = true\nslices = ["island"]',
            ["f1_macro.low>=0.9", "f1_macro@island.low>=0.9", "f1_macro.low>=live", "f1_macro@island.low>=live"],
        ),
        ('"accuracy@island=Dream"]\nthreshold = 0.8', ["accuracy@island=Dream>=0.8"]),
        ("profit]\nthreshold = 3\ngreater_is_better = true", ["profit>=3"]),
    ],
)
def test_a_table_says_its_conditions(tmp_path: Path, table: str, wanted: list[str]) -> None:
    assert compiled(loaded(tmp_path, f"[thresholds.{table}")) == wanted
    (tmp_path / "nbdeploy.toml").unlink()
    assert compiled(loaded(tmp_path, f"[tool.nbdeploy.thresholds.{table}", "pyproject.toml")) == wanted


def test_settings_files_and_options_add_up_each_once(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'gate = ["accuracy>=0.5"]\n[thresholds.mae]\nthreshold = 2')
    file = tmp_path / "thresholds.yaml"
    file.write_text("gate:\n  - accuracy >= 0.5\n  - r2>=0\nthresholds:\n  mse: {threshold: 3}\n", encoding="utf-8")
    assert compiled(settings, str(file), "r2>=0", "r2>0") == ["accuracy>=0.5", "mae<=2", "r2>=0", "mse<=3", "r2>0"]


def test_a_missing_file_is_said_to_be_missing_without_the_unrelated_ones(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text("name: other", encoding="utf-8")
    with pytest.raises(WrongUse, match=r'no file ".*gates\.yaml".* write a condition: "accuracy>=0\.9"') as caught:
        compiled(Settings.load(tmp_path, {}), str(tmp_path / "gates.yaml"))
    assert "environment" not in str(caught.value)


def test_the_environment_has_one_condition_on_a_line(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, {"NBDEPLOY_GATE": "accuracy@site=a, b>=0.5\nr2>=0"})
    assert compiled(settings) == ["accuracy@site=a, b>=0.5", "r2>=0"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[thresholds.f1_macro]\ntreshold = 1", 'Did you mean "threshold"?'),
        ("[tresholds.f1]\nthreshold = 1", 'Did you mean "thresholds"?'),
        ("[thresholds.f1_macro]\nthreshold = true", "no number"),
        ("[thresholds.f1_macro]\nthreshold = nan", "no number"),
        ('[thresholds.f1_macro]\nthreshold = "0.9"', "no number"),
        ("[thresholds.profit]\nthreshold = 1", "give greater_is_better"),
        ("[thresholds.mae]\nthreshold = 1\ngreater_is_better = true", "less is better for mae"),
        ("[thresholds.f1_macro]\ninterval = true", "asks for nothing"),
        ("[thresholds.f1_macro]\nthreshold = 1\ninterval = 1", "neither true nor false"),
        ("[thresholds.f1_macro]\nthreshold = 1\nslices = [1]", "not a list of columns"),
        ("[thresholds.mae]\nmin_relative_gain = 20", "0.02 is 2 %"),
        ("[thresholds]\nf1_macro = 0.9", "threshold = 0.9 in a table of its own"),
        ('[thresholds."f1 macro"]\nthreshold = 1', 'Did you mean "f1_macro"?'),
        ("thresholds = 3", "write it as tables"),
        ('gate = ["f1=>1"]', "in gate in the settings"),
        ("gate = [1]", "not a list of conditions"),
    ],
)
def test_a_mistake_in_the_settings_is_wrong_use(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(WrongUse) as caught:
        compiled(loaded(tmp_path, text))
    assert told in str(caught.value)


ALIASES = "\n".join(  # a value of 9 ** 40 texts
    [
        "thresholds:",
        "  r2:",
        "    threshold:",
        "    - &a0 x",
        *(f"    - &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 41)),
    ]
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gates: []", 'Did you mean "gate"?'),
        ("- a>=1", "holds no keys"),
        ("gate: [a>=1", "not valid YAML"),
        ("gate: [a>=1]\ngate: [a>=0]", "written twice"),
        ("thresholds:\n  r2: {threshold: 1, threshold: 0}", "written twice"),
        ("gate: !!python/object/apply:os.system [echo]", "not valid YAML"),
        ("thresholds:\n  r2: {threshold: 1e-3}", "write 0.9, or 1.0e-3"),
        ("gate: a>=1", "not a list of conditions"),
        ("? [a]\n: b", "not valid YAML"),
        (f"thresholds:\n  r2: {{threshold: {'9' * 400}}}", "is no number"),
        (ALIASES, "..."),
    ],
)
def test_a_mistake_in_a_file_is_wrong_use(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "gate.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(WrongUse) as caught:
        compiled(Settings(tmp_path, tmp_path), str(file))
    assert told in str(caught.value)


@told_to(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["gate", "thresholds", "r2", "threshold"]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(st.sampled_from(["r2", "threshold", "slices", "min_gain"]), inner, max_size=3),
            ),
            max_leaves=6,
        ),
    )
)
def test_any_file_is_conditions_or_wrong_use(tmp_path: Path, content: dict[str, Any]) -> None:
    import yaml

    file = tmp_path / "gate.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        found = compiled(Settings(tmp_path, tmp_path), str(file))
    except NbdeployError as error:
        found = []
        wrong = error.exit_code
    else:
        wrong = 2
    assert wrong == 2
    assert all(isinstance(text, str) for text in found)


def test_a_table_may_take_over_another_s_keys(tmp_path: Path) -> None:
    file = tmp_path / "gate.yml"
    file.write_text("thresholds:\n  r2: &same {threshold: 0.5}\n  f1_macro:\n    <<: *same\n    min_gain: 0\n")
    assert compiled(Settings(tmp_path, tmp_path), str(file)) == ["r2>=0.5", "f1_macro>=0.5", "f1_macro>=live"]


def test_a_missing_file_is_told_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "thresholds.yaml").write_text("", encoding="utf-8")
    with pytest.raises(NbdeployError, match="Did you mean"):
        compiled(Settings(tmp_path, tmp_path), str(tmp_path / "threshold.yaml"))


def test_an_unknown_setting_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownOption):
        loaded(tmp_path, "[watching]\nx = 1")
