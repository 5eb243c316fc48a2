"""The playground in a real browser: the app, which asks nobody else, and the page without a server."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from experiments.playground.page import write_page

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
# a GPU is nothing that a test may ask for: WebGL is drawn by the processor
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 60_000  # milliseconds, of a machine that has much else to do
LOOPBACK = "0100007F"  # 127.0.0.1 in /proc/net/tcp
LISTENING = "0A"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, str]]:
    """The app as a process of its own: its number, and its address."""
    pytest.importorskip("gradio")
    command = [sys.executable, "-m", "experiments", "playground", "--port", "0"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    started = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert started.stdout is not None
    try:
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in started.stdout)))
        yield started.pid, found.group()
    finally:
        started.terminate()
        started.wait(60)


class Page:
    """A page whose console and requests are written down, and the view of a domain in it."""

    def __init__(self, browser: Any, width: int, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))

    def view(self, domain: str) -> str:
        return f"[data-view={domain}]"

    def shown(self, domain: str) -> Any:
        """What is drawn: the mixed sample and lambda, as they were sent to the browser."""
        return self.page.evaluate(
            "(where) => { const s = document.querySelector(where).scene; return [s.mixed, s.own, s.queries]; }",
            self.view(domain),
        )

    def picture(self, domain: str) -> bytes:
        return self.page.locator(f"{self.view(domain)} [data-key=mixed]").screenshot()

    def times(self, domain: str) -> int:
        return int(self.page.get_attribute(self.view(domain), "data-drawn") or 0)

    def wait(self, domain: str, times: int = 0) -> None:
        """Wait until a view has been drawn more often than that."""
        self.page.wait_for_function(
            "([where, times]) => Number(document.querySelector(where)?.dataset.drawn || 0) > times",
            arg=[self.view(domain), times],
        )

    def changes(self, domain: str, do: Any) -> None:
        """Do something, and see that it changes what is drawn."""
        times, before, picture = self.times(domain), self.shown(domain), self.picture(domain)
        do()
        self.wait(domain, times)
        assert self.shown(domain)[:2] != before[:2]
        assert self.picture(domain) != picture


@pytest.fixture
def app(browser: Any, server: tuple[int, str]) -> Iterator[Page]:
    page = Page(browser, 1280)
    page.page.goto(server[1])
    page.wait("image")
    page.page.locator("#options-image").get_by_label("number input for sigma").wait_for()
    yield page
    assert page.errors == []
    address = server[1].removeprefix("http://")
    strangers = [url for url in page.requests if not re.match(rf"(http|ws)://{address}/|data:|blob:", url)]
    assert page.requests
    assert strangers == []
    page.page.close()


def choose(page: Any, widget: str, option: str) -> None:
    page.locator(f"#{widget} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_it_listens_on_loopback_alone(server: tuple[int, str]) -> None:
    pid, address = server
    links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and f"socket:[{inode}]" in links:
                listening.append(local)
    assert listening == [f"{LOOPBACK}:{int(address.rpartition(':')[2]):04X}"]


def test_it_answers_to_no_other_name_or_page(server: tuple[int, str]) -> None:
    for host, origin, status in (
        ("elsewhere.example", None, 400),
        ("localhost", None, 200),
        ("localhost", "http://localhost", 200),
        ("localhost", "http://elsewhere.example", 403),
        ("localhost", "null", 403),
    ):
        call = HTTPConnection(server[1].removeprefix("http://"), timeout=60)
        call.request("GET", "/", headers={"Host": host, **({"Origin": origin} if origin else {})})
        answer = call.getresponse()
        assert answer.status == status
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"] or status != 200
        call.close()


def test_images_change_by_every_control(app: Page) -> None:
    page = app.page

    def move_sigma() -> None:
        box = page.locator("#options-image").get_by_label("number input for sigma")
        box.fill("60")
        box.press("Enter")

    def click_a_query() -> None:
        place = page.locator(f"{app.view('image')} [data-key=b]").bounding_box()
        x, y = place["x"] + 0.9 * place["width"], place["y"] + 0.15 * place["height"]
        page.mouse.move(x, y)
        page.mouse.click(x, y)

    app.changes("image", move_sigma)
    assert "sigma=60" in page.locator("#code-image").inner_text()
    app.changes("image", click_a_query)
    column, row = app.shown("image")[2][1] % 96, app.shown("image")[2][1] // 96
    assert (column, row) == (pytest.approx(0.9 * 96, abs=2), pytest.approx(0.15 * 96, abs=2))
    app.changes("image", lambda: choose(page, "method-image", "cutmix"))
    page.locator("#options-image").get_by_label("bands").wait_for()
    app.changes("image", lambda: page.get_by_role("button", name="draw again").first.click())
    assert page.locator("#message-image").inner_text() == ""


def test_clouds_are_clicked_and_uploaded(app: Page, tmp_path: Path) -> None:
    page = app.page
    page.get_by_role("tab", name="Point clouds").click()
    app.wait("points")
    view = page.locator(f"{app.view('points')} [data-key=a]")
    page.locator("#options-points").get_by_label("number input for tolerance").wait_for()
    page.wait_for_timeout(1500)  # the panels have come to rest
    # the pixel at which the camera shows a point
    place = page.evaluate(
        """(where) => {
          const plot = document.querySelector(where), scene = plot._fullLayout.scene._scene, trace = plot._fullData[0];
          const { model, view, projection } = scene.glplot.cameraParams, box = plot.getBoundingClientRect();
          const by = (m, v) => [0, 1, 2, 3].map((r) => [0, 1, 2, 3].reduce((sum, c) => sum + m[4 * c + r] * v[c], 0));
          const scaled = ["x", "y", "z"].map((axis, d) => trace[axis][100] * scene.dataScale[d]);
          const clip = by(projection, by(view, by(model, [...scaled, 1])));
          return [box.x + (1 + clip[0] / clip[3]) / 2 * box.width, box.y + (1 - clip[1] / clip[3]) / 2 * box.height];
        }""",
        f"{app.view('points')} [data-key=a]",
    )

    def click_a_point() -> None:
        page.mouse.move(place[0] - 3, place[1])
        page.mouse.move(*place)
        page.wait_for_timeout(1500)  # the point below the pointer is found once it rests, a press in the next picture
        page.mouse.click(*place, delay=500)

    before = app.shown("points")[2]
    app.changes("points", click_a_point)
    after = app.shown("points")[2]
    assert after[0] != before[0]
    assert after[1] == before[1]
    view.wait_for()

    (tmp_path / "bad.ply").write_text("ply\nformat ascii 1.0\nend_header\n")
    (tmp_path / "helix.txt").write_text("\n".join(f"{math.cos(i)} {math.sin(i)} {i / 99}" for i in range(600)))
    choose(page, "source-a-points", "upload")
    said = page.locator("#message-points")
    said.get_by_text("Nothing has been uploaded yet; wanted a cloud").wait_for()
    page.locator("#upload-a-points input[type=file]").set_input_files(tmp_path / "bad.ply")
    said.get_by_text("bad.ply: it is a PLY file without vertices; wanted a cloud").wait_for()
    page.locator("#upload-a-points").get_by_label("Clear").first.click()

    def upload() -> None:
        page.locator("#upload-a-points input[type=file]").set_input_files(tmp_path / "helix.txt")

    app.changes("points", upload)
    page.wait_for_function("document.querySelector('#message-points').innerText.trim() === ''")
    assert "helix.txt" in page.locator("#code-points").inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_needs_no_server(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, width: int, scheme: str
) -> None:
    folder = tmp_path_factory.mktemp("page")
    page = Page(browser, width, scheme)
    page.page.goto(write_page(folder).as_uri())
    for domain in ("image", "points"):
        page.wait(domain)
        section = page.page.locator(f"section[data-domain={domain}]")
        prior, sigma = section.locator("input").all()
        page.changes(domain, lambda prior=prior: prior.fill("8"))
        page.changes(domain, lambda sigma=sigma: sigma.fill("0"))
        page.changes(domain, lambda section=section: section.locator("select").select_option(index=2))
        assert sigma.is_disabled()
    assert page.page.evaluate("document.documentElement.scrollWidth") == width, "nothing is wider than the screen"
    assert page.errors == []
    assert all(url.startswith((folder.as_uri(), "data:", "blob:")) for url in page.requests)
    page.page.close()
