"""The page in a real browser: what it draws, and what it does when somebody uses it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moslab.report.html import page
from tests.unit.report.browser import Browser, Page, find
from tests.unit.report.made import BAD, made

pytestmark = pytest.mark.xdist_group("browser")
MISSING = "there is no browser on the PATH: apt-get install chromium-headless-shell"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a run; at the end it must have said nothing, and asked for nothing."""
    pages = []

    def opens(text: str = "web: given up", scheme: str = "light", scripts: bool = True) -> Page:
        file = tmp_path / "report.html"
        file.write_text(page(made(text)), encoding="utf-8")
        pages.append(Page(browser, scheme, scripts).open(file))
        return pages[-1]

    yield opens
    for one in pages:
        said = one.events("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        assert not said, said
        asked = [event["request"]["url"] for event in one.events("Network.requestWillBeSent")]
        assert asked == [(tmp_path / "report.html").as_uri()]
        one.close()


def texts(shown: Page, where: str) -> list[str]:
    found: list[str] = shown.eval(f"[...document.querySelectorAll({where!r})].map((one) => one.textContent)")
    return found


def boxes(shown: Page, where: str) -> list[dict[str, float]]:
    """Where on the screen these are."""
    found: list[dict[str, float]] = shown.eval(
        f"[...document.querySelectorAll({where!r})].map((one) => one.getBoundingClientRect().toJSON())"
    )
    return found


def at(shown: Page, time_s: float) -> float:
    """The x of a time on the screen."""
    return float(shown.eval(f"x({time_s})"))


def test_the_head(opened: Open) -> None:
    shown = opened()
    assert texts(shown, "#verdict") == ["test failed, history invalid"]
    assert texts(shown, "#title") == ["test_it[web: given up]"]
    assert texts(shown, "#failure") == ["AssertionError: not elsewhere"]
    assert len(texts(shown, "#problems li")) == 2
    assert texts(shown, "#again") == ["pytest 'test_it[sim]' --seed=7"]
    assert f"seed {2**60}" in texts(shown, "#facts")[0], "to the last digit"
    assert shown.eval("document.title") == "test failed, history invalid: test_it[web: given up]"


def test_each_node_has_a_lane_and_each_group_a_row(opened: Open) -> None:
    shown = opened()
    assert texts(shown, "#lanes text.name") == [
        "10.0.0.9", "db", "never", "web", "node 1", "node 2", "node 3",
    ]
    runs = boxes(shown, "[data-group=web] .run")
    assert [box["left"] for box in runs] == pytest.approx([at(shown, time_s) for time_s in (1.0, 7.5)], abs=1)
    assert runs[1]["right"] == pytest.approx(at(shown, 20.0), abs=1)
    assert "node 1" in texts(shown, "[data-group=web] text.on")
    assert texts(shown, "[data-group=db] text.gap") == ["1.00 s"]
    assert texts(shown, "[data-group=never] text") == ["never ran"]
    assert "db · epoch 2" in texts(shown, "[data-node='2'] text.on")
    assert len(boxes(shown, "[data-node='2'] .test")) == 1


def test_an_overlap_is_red_wherever_it_is(opened: Open) -> None:
    shown = opened()
    red = shown.eval("getComputedStyle(document.documentElement).getPropertyValue('--bad')")
    for where in ("[data-group=web]", "[data-node='1']", "[data-node='2']"):
        (box,) = boxes(shown, f"{where} rect.twice")
        assert abs(box["left"] - at(shown, 7.5)) < 1
        assert abs(box["right"] - at(shown, 8.0)) < 1
        colour = shown.eval(f"getComputedStyle(document.querySelector(\"{where} rect.twice\")).fill")
        assert colour == f"rgb({int(red[1:3], 16)}, {int(red[3:5], 16)}, {int(red[5:7], 16)})"
    assert not boxes(shown, "[data-node='3'] rect.twice, [data-group=db] rect.twice")


@pytest.mark.parametrize(("where", "kind", "begin_s", "end_s", "text"), [
    ("[data-node='1']", "cut", 5.0, 10.0, "cut from 2, does not hear 3"), ("[data-node='1']", "off", 9.5, 15.0, "off"),
    ("[data-node='3']", "cut", 5.0, 10.0, "not heard by 1"), ("[data-node='3']", "pause", 11.0, 12.0, "pause"),
    ("[data-node='2']", "stop", 14.0, 20.0, "stop agent"), ("[data-node='2']", "crash", 13.0, 13.0, "✕ crash"),
    ("[data-node='2']", "other", 16.0, 16.01, "SIGKILL group web"), ("[data-node='1']", "shot", 8.5, 8.5, "↯ shot"),
])
def test_a_fault_is_a_band_in_the_lane_of_each_node_that_it_hits(
    opened: Open, where: str, kind: str, begin_s: float, end_s: float, text: str
) -> None:
    shown = opened()
    (box,) = boxes(shown, f"{where} .k-{kind} .band")
    assert abs(box["left"] - at(shown, begin_s)) < 1
    assert abs(box["right"] - max(at(shown, end_s), at(shown, begin_s) + 2)) < 1
    assert texts(shown, f"{where} .k-{kind} text") == [text]


def test_reads_across_nodes_are_shown_at_the_cursor(opened: Open) -> None:
    shown = opened()
    (blind,) = boxes(shown, "[data-node='1'] line.blind")
    assert (blind["left"], blind["right"]) == pytest.approx((at(shown, 5.0), at(shown, 10.0)), abs=1)
    shown.mouse("mouseMoved", at(shown, 6.0), boxes(shown, "[data-node='1']")[0]["top"] + 10)
    assert texts(shown, "#lanes text.dim") == ["reads 1", "reads 1 2", "reads 1 3"]


def test_the_cursor_has_the_state_and_the_logs_of_that_time(opened: Open) -> None:
    shown = opened()
    assert texts(shown, "#state .at") == ["at 7.500 s"], "it begins where the first overlap does"
    assert "web: nodes 1 and 2 AT ONCE (1700.1)" in texts(shown, "#state .twice")
    y = boxes(shown, "[data-group=db]")[0]["top"] + 5
    shown.mouse("mouseMoved", at(shown, 6.5), y)
    state = texts(shown, "#state span")
    assert {"db: nowhere", "web: node 1 (1700.1)", "cut: 1 from 2; 1 does not hear 3"} <= set(state)
    assert texts(shown, "#log .row.now") == ["     6.2500  node 3gave db up, which it had with 1700.1"]
    assert texts(shown, "#log .row .time") == sorted(texts(shown, "#log .row .time"), key=float), "all nodes', by time"
    (line,) = boxes(shown, "#line")
    assert abs(line["left"] - at(shown, 6.5)) < 1


def test_a_click_holds_the_cursor_until_escape(opened: Open) -> None:
    shown = opened()
    y = boxes(shown, "[data-group=db]")[0]["top"] + 5
    shown.click(at(shown, 12.0), y)
    shown.mouse("mouseMoved", at(shown, 15.0), y)
    assert texts(shown, "#state .at")[0].startswith("held at 12.0")
    shown.key("Escape")
    shown.mouse("mouseMoved", at(shown, 15.0), y)
    assert texts(shown, "#state .at")[0].startswith("at 15.0")


def view(shown: Page) -> tuple[float, float]:
    found: dict[str, Any] = shown.eval("view")
    return found["from"], found["to"]


def test_it_zooms_around_the_mouse_and_moves(opened: Open) -> None:
    shown = opened()
    whole = view(shown)
    px, y = 600.0, boxes(shown, "[data-group=db]")[0]["top"] + 5
    under_s = shown.eval(f"timeAt({px})")
    shown.mouse("mouseWheel", px, y, deltaX=0, deltaY=-1200)
    near = view(shown)
    assert near[1] - near[0] < (whole[1] - whole[0]) / 4
    assert abs(at(shown, under_s) - px) < 1, "what is under the mouse stays there"
    shown.eval("show(7, 8.5)")
    shown.drawn()
    under_s = shown.eval(f"timeAt({px})")
    assert any(text.startswith("TWICE 0.50 s") for text in texts(shown, "text.twice"))
    shown.mouse("mousePressed", px, y, button="left", clickCount=1)
    shown.mouse("mouseMoved", px - 100, y, button="left", buttons=1)
    shown.mouse("mouseReleased", px - 100, y, button="left", clickCount=1)
    assert abs(at(shown, under_s) - (px - 100)) < 1
    for _ in range(80):
        shown.eval("zoom(0.5, 7.5)")
    shown.drawn()
    assert view(shown)[1] > view(shown)[0], "there is an end to it"
    shown.key("0")
    assert view(shown) == (0.25, 20.0)
    shown.key("+")
    assert view(shown)[1] - view(shown)[0] < 19.75


def test_keys_go_from_event_to_event_and_problems_to_their_time(opened: Open) -> None:
    shown = opened()
    shown.key("n")
    first = texts(shown, "#state .at")
    shown.key("p")
    assert texts(shown, "#state .at") != first
    shown.eval("document.querySelector('#problems a').click()")
    shown.until("document.querySelector('#state .at').textContent", lambda text: text == "held at 7.500 s")


def test_lines_are_found_by_words_and_nodes(opened: Open) -> None:
    shown = opened()
    shown.eval("by('filters').querySelector('input').focus()")
    shown.call("Input.insertText", text="Given")
    assert [line.split("node 3")[1].strip() for line in texts(shown, "#log .row")] == ["web: given up"]
    shown.eval("[...by('filters').querySelectorAll('button')].find((one) => one.textContent === 'node 3').click()")
    assert texts(shown, "#log .row") == []
    assert texts(shown, "#log .none") == ["nothing of that"]


def test_light_and_dark(opened: Open, tmp_path: Path) -> None:
    grounds, pictures = [], []
    for scheme in ("light", "dark"):
        shown = opened(scheme=scheme)
        grounds.append(shown.eval("getComputedStyle(document.body).backgroundColor"))
        for where in ("#title", "#log .row", "#lanes text.name", "[data-group=web] text.on"):
            assert contrast(shown, where) > 4.5, (scheme, where)
        shown.picture(tmp_path / f"{scheme}.png")
        pictures.append((tmp_path / f"{scheme}.png").read_bytes())
    assert grounds[0] == "rgb(255, 255, 255)"
    assert grounds[0] != grounds[1]
    assert min(map(len, pictures)) > 20_000
    assert pictures[0] != pictures[1]


def contrast(shown: Page, where: str) -> float:
    """Of a text to what it is on, as WCAG has it; 4.5 is what it asks for."""
    script = f"""(() => {{
        const one = document.querySelector({where!r}), svg = one instanceof SVGElement;
        const colour = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const behind = svg && one.classList.contains("on") ? getComputedStyle(document.querySelector(".run")).fill
            : getComputedStyle(document.body).backgroundColor;
        return [colour(svg ? getComputedStyle(one).fill : getComputedStyle(one).color), colour(behind)];
    }})()"""

    def light(colour: list[float]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    one, other = sorted(map(light, shown.eval(script)))
    return (other + 0.05) / (one + 0.05)


def test_what_a_node_says_is_never_markup(opened: Open) -> None:
    shown = opened(BAD)
    title = shown.eval("document.title")
    assert title.startswith("test failed, history invalid: test_it[</script><script>document.title='pwned'</script>")
    assert shown.eval("document.images.length + document.querySelectorAll('iframe, link, object').length") == 0
    assert any(BAD in text for text in texts(shown, "#log .row"))
    assert shown.eval("document.scripts.length") == 2


def test_without_scripts_it_is_the_text(opened: Open) -> None:
    shown = opened(scripts=False)
    shown.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "web runs on nodes 1 and 2 at once" in shown.eval("document.querySelector('noscript pre').textContent")
