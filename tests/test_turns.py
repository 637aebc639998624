from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nbdeploy.turns import turn, uninterrupted

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from nbdeploy.turns import turn
with turn(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_waits_and_says_so(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        holder.kill()  # a lock whose holder died is free

    with turn(tmp_path, tell):
        assert len(said) == 1
    holder.communicate()


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    inside, order = threading.Event(), []

    def second() -> None:
        with turn(tmp_path, lambda _text: inside.set()):
            order.append("second")

    with turn(tmp_path, print):
        thread = threading.Thread(target=second)
        thread.start()
        assert inside.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_who_waited_for_a_folder_that_was_removed_holds_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "penguins"
    waiting, entered, leave = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with turn(folder, lambda _text: waiting.set()):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=second)
    with turn(folder, print):
        thread.start()
        assert waiting.wait(10)
        shutil.rmtree(folder)
    assert entered.wait(10)
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        leave.set()

    with turn(folder, tell):
        assert len(said) == 1
    thread.join()


def test_ctrl_c_is_held_back_until_the_change_is_whole() -> None:
    done: list[int] = []

    def change() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        change()
    assert done == [1]


def test_an_error_inside_is_the_error_that_is_raised() -> None:
    def change() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        change()
