"""The pages as people see them: they load, they move, and nothing in them breaks the policy they are sent with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.system.gateway_rig import Rig, rig

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
MILLISECONDS = 15_000


async def until(page: Page, expression: str, *arguments: object) -> None:
    """Ask until it is so. Not `wait_for_function`: it evaluates text in the page, which the policy rightly forbids."""
    async with asyncio.timeout(MILLISECONDS / 1000):
        while not await page.evaluate(expression, *arguments):
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def chromium() -> str:
    path = which("chromium") or which("chromium-browser")
    assert path, "install chromium: apt-get install chromium"
    return path


@asynccontextmanager
async def browsing(chromium: str, colour: str) -> AsyncIterator[tuple[Browser, Page, list[str]]]:
    """A page, and everything it complains about."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(color_scheme=colour, viewport={"width": 1280, "height": 900})  # type: ignore[arg-type]
        page.set_default_timeout(MILLISECONDS)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url} failed"))
        try:
            yield browser, page, complaints
        finally:
            await browser.close()


@asynccontextmanager
async def busy(rig: Rig) -> AsyncIterator[None]:
    """Somebody counts, all the time."""

    async def count() -> None:
        for number in range(100_000):
            await rig.count(f"t{number % 7}", 1 if number % 2 else -1)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(count())
    try:
        yield
    finally:
        task.cancel()


@pytest.fixture(params=["light", "dark"])
def colour(request: pytest.FixtureRequest) -> Iterator[str]:
    yield str(request.param)


async def test_the_console_moves_and_complains_about_nothing(tmp_path: Path, chromium: str, colour: str) -> None:
    async with rig(tmp_path) as running, browsing(chromium, colour) as (_, page, complaints):
        async with busy(running):
            await page.goto(f"{running.url}/console")
            head = page.locator("#head")
            await until(page, "() => document.getElementById('head').textContent !== '–'")
            before = await head.inner_text()
            await until(page, "(before) => document.getElementById('head').textContent !== before", before)
            await until(page, "() => Number(document.getElementById('accepted').textContent) > 5")
            await until(page, "() => document.querySelector('#throughput polyline').points.length > 6")
            card = page.locator("article[data-view=tallies]")
            assert await card.locator("polyline").count() == 1
            assert re.search(r"at [\d,]+", await card.inner_text())
            assert await page.locator("#recent tr").count() == 12
            assert await page.locator("#lanes tr").count() == 2
            assert await page.locator("#state-text").inner_text() in ("live", "a view is behind")
            await page.screenshot(path=tmp_path / f"console-{colour}.png")
        running.parts.projector.hold(())
        await running.count("late", 1, Prefer="wait=5")
        await until(page, "() => document.querySelector('article[data-view=tallies]').className.includes('behind')")
        assert complaints == []


async def test_the_console_says_when_nobody_answers(tmp_path: Path, chromium: str) -> None:
    async with browsing(chromium, "light") as (_, page, _complaints):
        async with rig(tmp_path) as running:
            await page.goto(f"{running.url}/console")
            await until(page, "() => document.getElementById('state').className === 'is-live'")
        await until(page, "() => document.getElementById('state').className === 'is-away'")


async def test_the_api_page_shows_every_call_and_lets_one_try_it(tmp_path: Path, chromium: str, colour: str) -> None:
    async with rig(tmp_path) as running, browsing(chromium, colour) as (_, page, complaints):
        await page.goto(f"{running.url}/docs")
        send = page.locator("details#sendCount")
        await send.locator("summary").click()
        await send.locator("textarea").fill('{"tally_id": "from the page", "by": 4}')
        await send.get_by_label("Prefer").fill("wait=5")
        await send.get_by_role("button", name="Send").click()
        await send.get_by_text("→ 200").wait_for()
        row = page.locator("details#talliesByKey")
        await row.locator("summary").click()
        await row.get_by_label("key").fill("from the page")
        await row.get_by_label("Consistency-Token").fill("1")
        await row.get_by_role("button", name="Send").click()
        await row.get_by_text('"count": 4').wait_for()
        document = (await running.call("GET", "/openapi.json")).json
        assert await page.locator("details").count() == sum(len(methods) for methods in document["paths"].values())
        await page.screenshot(path=tmp_path / f"docs-{colour}.png")
        assert complaints == []


async def test_pages_are_sent_with_a_policy_that_allows_nothing_foreign(tmp_path: Path) -> None:
    async with rig(tmp_path) as running:
        for path in ("/console", "/docs", "/static/page.js", "/static/page.css", "/static/icon.svg"):
            answer = await running.call("GET", path)
            assert answer.status == 200
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert b"https://" not in answer.json
        assert (await running.call("GET", "/static/app.py")).status == 404
        assert (await running.call("GET", "/")).headers["Content-Security-Policy"]
