"""The recorded run of the LC algorithm, stepped through and played in a browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from lowrank_demo.reproduce.results import FULL_RANKS, LEARNED, TRUNCATED, LcStep, read_results
from lowrank_demo.settings import ASSETS
from tests.helpers.app import RunningApp
from tests.helpers.pages import opened, settle

RESULTS = read_results(ASSETS / "lenet300.json")
HISTORY = RESULTS.histories[-1]


def ranks(step: LcStep) -> list[str]:
    return [f"{step.ranks[name]} of {full}" for name, full in FULL_RANKS.items()]


def test_the_run_is_whole() -> None:
    settings = RESULTS.settings
    assert [history.lambda_ for history in RESULTS.histories] == list(settings.lambdas)
    assert len(RESULTS.networks) == 1 + 2 * len(settings.lambdas)
    for history in RESULTS.histories:
        assert len(history.steps) == settings.steps


def test_a_step_is_chosen_and_the_rest_is_played(app: RunningApp, page: Page) -> None:
    opened(page, app, "tab=how")
    run, last = page.locator(".lr-run"), HISTORY.steps[-1]
    expect(run.locator("output")).to_contain_text(f"Step {last.step}, ")
    expect(run.locator("text.rank")).to_have_text(ranks(last))
    settle(page)

    slider = run.get_by_role("slider", name="LC step")
    slider.focus()
    page.keyboard.press("Home")
    expect(run.locator("output")).to_contain_text(
        f"Step 0, μ = {HISTORY.steps[0].mu:.2g}: {HISTORY.steps[0].macs:,} MACs"
    )
    expect(run.locator("text.rank")).to_have_text(ranks(HISTORY.steps[0]))
    dot = run.locator("circle").get_attribute("cx") or ""

    page.keyboard.press("End")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(run.locator("output")).to_contain_text(f"Step {last.step - 3}, ")
    run.get_by_role("button", name="Play").click()
    expect(run.get_by_role("button")).to_have_text("Stop")
    expect(run.locator("output")).to_contain_text(f"Step {last.step}, ")
    expect(run.get_by_role("button")).to_have_text("Play")
    expect(run.locator("text.rank")).to_have_text(ranks(last))
    expect(run.locator("circle")).not_to_have_attribute("cx", dot)


def test_the_caption_compares_at_the_same_cost(app: RunningApp, page: Page) -> None:
    opened(page, app, "tab=how")
    networks = {one.method: one for one in RESULTS.networks if one.lambda_ == HISTORY.lambda_}
    for method in (LEARNED, TRUNCATED):
        expect(page.locator("#lr-story")).to_contain_text(f"{networks[method].error:.2f} %")
        expect(page.locator("#lr-story")).to_contain_text(f"{networks[method].macs:,} MACs")
