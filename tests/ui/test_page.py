"""The page in a real Chromium, in light and dark: pick, drop, read, open every tab, click a point."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from lowrank_demo.models.architecture import LAYERS
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.ui.present import RANK_HEADERS
from tests.helpers.app import RunningApp
from tests.helpers.pages import drop, opened, settle, title, top_answer
from tests.helpers.photos import photo_path


def test_the_code_names_the_address_that_the_visitor_uses(app: RunningApp, page: Page) -> None:
    prefix = "/demos/alexnet"

    def without_prefix(route: Route) -> None:
        """Answer as a proxy does that serves the app below a prefix of its own."""
        route.fulfill(response=route.fetch(url=route.request.url.replace(prefix, "", 1)))

    page.route(f"{app.url}{prefix}/**", without_prefix)
    for url in (app.url, app.url + prefix):
        page.goto(f"{url}/?tab=how")
        expect(page.locator("#lr-how")).to_contain_text(f'Client("{url}")')
    assert "7860" not in page.locator("#lr-how").inner_text()


def test_explore(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled")
    drop(page, photo_path("lion.jpg"))
    expect(page.locator(".st-photo figcaption")).to_contain_text("lion.jpg")
    page.get_by_role("tab", name="Explore").click()
    summary = page.locator("#lr-truncated")
    expect(summary).to_contain_text(re.compile(r"λ = 1\.00e-4, μ = 0\.01: ranks (\d+, ){7}\d+\. 100 MFLOPs"))
    for plot in ("ranks", "spectra", "path"):
        expect(page.locator(f"#lr-truncated-{plot} .js-plotly-plot")).to_be_visible()
    page.locator("#lr-lambda input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(summary).to_contain_text("λ = 1.12e-4")
    page.wait_for_url(re.compile("lambda=-3.95&mu=-2"))
    before = summary.inner_text()
    page.get_by_label("storage").check()
    expect(summary).not_to_have_text(before)
    settle(page)

    page.locator("#lr-try").click()
    answers = page.locator("#lr-truncated-answers tbody tr")
    expect(answers).to_have_count(1)
    expect(page.locator("#lr-truncated-answers thead")).to_contain_text(re.compile(r"cut to \d+ MFLOPs"))
    page.locator("#lr-play").click()
    expect(answers).to_have_count(0)
    page.locator("#lr-stop").click()
    settle(page)
    page.locator("#lr-truncated-file input").click()
    page.get_by_role("option", name="sample-photos.lmdb").click()
    page.locator("#lr-truncated-measure").click()
    expect(page.get_by_role("tab", name="Validate", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".lr-job.lr-done .lr-scroll table")).to_contain_text("bundled/scheme_2/v5@")
    page.get_by_role("tab", name="Trade-off", exact=True).click()
    expect(page.locator("#lr-pareto-plot .legend")).to_contain_text("authors'")
    settle(page)
    page.locator("#lr-source").get_by_label("measured here").check()
    expect(page.locator("#lr-pareto-plot .legend")).to_contain_text("cut, not trained again")


def test_explore_from_a_cut(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled")
    drop(page, photo_path("lion.jpg"))
    page.locator("#st-range").focus()
    page.keyboard.press("End")
    expect(title(page)).to_contain_text("cut to")
    page.get_by_role("tab", name="Explore").click()
    expect(page.locator("#lr-truncated")).to_contain_text("MFLOPs; the model has 151")
    settle(page)  # the cut that was chosen reaches the tab a moment later, and clears answers to the one before
    page.locator("#lr-try").click()
    expect(page.locator("#lr-truncated-answers tbody tr")).to_have_count(1)


def truncation_restored(app: RunningApp, page: Page) -> Locator:
    """Open Explore by a link that names a truncation, and return its summary."""
    opened(page, app, "scheme=2&version=v5&family=bundled&tab=explore&lambda=-3.5&mu=0")
    summary = page.locator("#lr-truncated")
    expect(summary).to_contain_text("λ = 3.16e-4, μ = 1")
    return summary


def assert_path_stopped(page: Page) -> None:
    """Assert that the path plays no more: its frames came 0.2 s apart."""
    slider = page.locator("#lr-lambda input[type=number]")
    settle(page)
    stopped = slider.input_value()
    page.wait_for_timeout(1000)
    assert slider.input_value() == stopped


def test_a_link_restores_the_truncation_and_the_path_plays(app: RunningApp, page: Page) -> None:
    summary = truncation_restored(app, page)
    heights = "document.querySelector('#lr-truncated-ranks .js-plotly-plot')?.data?.[1]?.y?.join()"
    before = page.wait_for_function(heights).json_value()
    page.locator("#lr-play").click()
    expect(summary).to_contain_text(re.compile(r"λ = 0\.\d+e-4, μ = 1"))
    # The figures play, too.
    page.wait_for_function(f"before => {{ const now = {heights}; return now && now !== before }}", arg=before)
    page.locator("#lr-stop").click()
    assert_path_stopped(page)
    page.locator(".st-family").get_by_text("the authors'").click()
    page.get_by_role("button", name=re.compile("^v1:")).click()
    expect(summary).to_contain_text("are not on this machine yet")
    moved = page.locator("#lr-lambda input[type=number]")
    before = moved.input_value()
    for button in ("#lr-play", "#lr-truncated-measure"):
        page.locator(button).click()
        expect(page.locator(".toast-body").last).to_contain_text("are not on this machine yet")
        page.locator(".toast-close").last.click()
    assert moved.input_value() == before, "nothing plays"


def test_stop_before_the_path_has_come(app: RunningApp, page: Page) -> None:
    truncation_restored(app, page)
    page.locator("#lr-play").click()
    page.locator("#lr-stop").click()
    settle(page)  # the path comes
    assert_path_stopped(page)


def test_the_path_stops_when_its_tab_is_left(app: RunningApp, page: Page) -> None:
    summary = truncation_restored(app, page)
    page.locator("#lr-play").click()
    expect(summary).to_contain_text(re.compile(r"λ = 0\.\d+e-4, μ = 1"))
    page.get_by_role("tab", name="Trade-off").click()
    expect(page.get_by_role("tab", name="Trade-off")).to_have_attribute("aria-selected", "true")
    assert_path_stopped(page)


def test_time_on_the_pareto_plot(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5")
    page.get_by_role("tab", name="Trade-off").click()
    plot = page.locator("#lr-pareto-plot")
    expect(plot).to_contain_text("against MFLOPs")
    page.locator("#lr-saving").get_by_label("time here").check()
    expect(plot).to_contain_text("ms for one image, measured here")
    page.locator("#lr-source").get_by_label("measured here").check()
    expect(plot).to_contain_text("Nothing has been measured yet")


def test_a_figure_that_was_drawn_while_hidden_fills_its_box(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled&tab=trade-off")
    figure = page.locator("#lr-pareto-plot .js-plotly-plot")
    expect(figure).to_be_visible()
    page.get_by_role("tab", name="Photos").click()
    page.set_viewport_size({"width": 390, "height": 900})
    page.locator(".st-scheme").get_by_text("Scheme 1").click()
    expect(title(page)).to_contain_text("Scheme 1")
    settle(page)  # drawn anew, where nothing shows it
    page.get_by_role("tab", name="Trade-off").click()
    page.wait_for_function(
        """() => {
            const plot = document.querySelector('#lr-pareto-plot .js-plotly-plot')
            return plot?._fullLayout && Math.abs(plot._fullLayout.width - plot.getBoundingClientRect().width) <= 1
        }"""
    )


def test_a_link_restores_the_tab(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=1&version=v3&tab=ranks")
    expect(page.get_by_role("tab", name="Ranks")).to_have_attribute("aria-selected", "true")
    expect(title(page)).to_contain_text("Scheme 1 · v3")
    other = page.get_by_label("Compare with")
    other.click()
    page.get_by_role("option", name="Scheme 2 · v1 · authors'").click()
    page.wait_for_url(re.compile(r"with=published%2Fscheme_2%2Fv1"))
    page.reload()
    expect(other).to_have_value("Scheme 2 · v1 · authors'")
    expect(page.locator("#lr-ranks-plot .legend")).to_contain_text("Scheme 2 · v1 · authors'")
    page.get_by_role("tab", name="Trade-off").click()
    page.wait_for_url(re.compile(r"tab=trade-off"))
    page.get_by_role("tab", name="Validate").click()
    page.wait_for_url(re.compile(r"tab=validate"))
    for back, tab in ((True, "Trade-off"), (True, "Ranks"), (False, "Trade-off")):
        if back:
            page.go_back()
        else:
            page.go_forward()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        page.wait_for_url(re.compile(f"tab={tab.lower()}"))
        assert "with=published" in page.url, "all else stays as it is"
    opened(page, app, "tab=nowhere")
    expect(page.get_by_role("tab", name="Photos")).to_have_attribute("aria-selected", "true")


def test_late_answers_leave_the_address_as_it_is(app: RunningApp, page: Page) -> None:
    opened(page, app, "tab=pareto")
    expect(page.get_by_role("tab", name="Trade-off")).to_have_attribute("aria-selected", "true")
    page.wait_for_url(re.compile(r"tab=trade-off"))
    slow = {"offline": False, "latency": 600, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    for tab in ("Ranks", "Validate", "How it works"):  # faster than the server answers
        page.get_by_role("tab", name=tab).click()
    page.wait_for_url(re.compile("tab=how"))
    for tab in ("Validate", "Ranks", "Trade-off"):
        page.go_back()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    settle(page)
    assert "tab=trade-off" in page.url


def test_back_on_a_phone(app: RunningApp, page: Page) -> None:
    """The last tabs are in a menu there."""
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, app, "tab=how")
    page.get_by_role("tab", name="Photos").click()
    page.wait_for_url(re.compile("tab=photos"))
    expect(page.locator("#lr-how")).to_be_hidden()
    page.go_back()
    expect(page.locator("#lr-how")).to_be_visible()
    page.wait_for_url(re.compile("tab=how"))


def test_a_link_to_what_is_not_there(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=9&version=v1")
    toast = page.locator(".toast-body")
    expect(toast).to_contain_text('There is no model "published/scheme_9/v1"')
    expect(toast).not_to_contain_text("expected one of")
    expect(top_answer(page)).to_have_text("lion")
    page.wait_for_url(re.compile(r"scheme=2&version=v5&family=bundled$"))
    opened(page, app, "scheme=2&version=v5&family=bundled&with=bundled/scheme_2/v99")
    expect(toast).to_contain_text("v99")
    page.wait_for_url(re.compile(r"scheme=2&version=v5&family=bundled$"))


def test_a_link_is_no_markup(app: RunningApp, page: Page) -> None:
    link = "<a href='https://example.com'>free</a><img src=x>"
    opened(page, app, f"with={quote(link)}")
    toast = page.locator(".toast-body")
    expect(toast).to_contain_text("<a href=")
    expect(toast.locator("a, img")).to_have_count(0)


def test_ranks_compare(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5")
    page.get_by_role("tab", name="Ranks", exact=True).click()
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="Scheme 1 · v1 · authors'").click()
    expect(page.locator("#lr-cost")).to_contain_text("Scheme 1 · v1 · authors'")
    expect(page.locator("#lr-ranks-plot .legend")).to_contain_text("Scheme 1 · v1 · authors'")


def test_rank_history_of_an_own_model(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled")
    page.get_by_role("tab", name="Ranks", exact=True).click()
    expect(page.locator("#lr-ranks-plot .js-plotly-plot")).to_be_visible()
    expect(page.locator("#lr-conv1 img")).to_have_count(2)
    expect(page.locator("#lr-history")).not_to_be_visible()
    page.locator(".st-family").get_by_text("own, ready").click()
    expect(page.locator("#lr-history-ranks .js-plotly-plot")).to_be_visible()
    expect(page.locator("#lr-history-cost .js-plotly-plot")).to_contain_text("top-1 error")
    expect(page.locator("#lr-history")).to_contain_text("FLOPs criterion")


def open_validate(page: Page, app: RunningApp) -> None:
    opened(page, app)
    page.get_by_role("tab", name="Validate", exact=True).click()
    expect(page.locator("#lr-start")).to_be_visible()


def choose_file(page: Page, name: str) -> None:
    page.get_by_label("Labelled file").click()
    page.get_by_role("option", name=name).click()


def test_validate_to_the_end(app: RunningApp, page: Page) -> None:
    open_validate(page, app)
    choose_file(page, "sample-photos.lmdb")
    page.locator("#lr-start").click()
    expect(page.locator(".lr-job.lr-done")).to_contain_text("Done: sample-photos.lmdb, 3 photos")
    expect(page.locator(".lr-job .lr-scroll table")).to_contain_text("bundled/scheme_2/v5")
    with page.expect_download() as download:
        page.locator("#lr-json").click()
    report = json.loads(download.value.path().read_text())
    assert (report["count"], download.value.suggested_filename) == (3, "sample-photos-validation.json")
    with page.expect_download() as download:
        page.locator("#lr-csv").click()
    assert download.value.path().read_text().startswith("id,count,top1_error")
    with page.expect_download() as download:
        page.locator("#lr-report").click()
    assert "<h1>Validation on sample-photos.lmdb</h1>" in download.value.path().read_text()
    page.get_by_role("tab", name="Trade-off", exact=True).click()
    expect(page.locator("#lr-pareto-plot .legend")).to_contain_text("authors'")
    settle(page)
    page.locator("#lr-source").get_by_label("measured here").check()
    expect(page.locator("#lr-pareto-plot .gtitle")).to_contain_text("sample-photos.lmdb, 3 photos")
    expect(page.locator("#lr-pareto-plot .legend")).to_contain_text("Scheme 2 · bundled")


def test_validate_cancel_and_reload_in_the_middle(app: RunningApp, page: Page) -> None:
    open_validate(page, app)
    choose_file(page, "long.lmdb")
    page.locator("#lr-start").click()
    expect(page.locator(".lr-job.lr-running")).to_contain_text(re.compile(r"of 2,000 images, .* images/s, .* left"))
    expect(page.locator(".lr-job .lr-scroll table")).to_contain_text("%")
    page.reload()
    page.get_by_role("tab", name="Validate", exact=True).click()
    expect(page.locator(".lr-job.lr-running")).to_contain_text("of 2,000 images")
    expect(page.locator("#lr-start")).to_be_disabled()
    page.locator("#lr-cancel").click()
    expect(page.locator(".lr-job.lr-cancelled")).to_contain_text(re.compile(r"Cancelled after [\d,]+ of 2,000 photos"))
    expect(page.locator("#lr-start")).to_be_enabled()
    expect(page.locator("#lr-json")).to_be_visible()


def test_validate_ones_own_photos(app: RunningApp, page: Page, tmp_path: Path) -> None:
    open_validate(page, app)
    bad = tmp_path / "bad.zip"
    bad.write_text("no zip")
    page.set_input_files("#lr-upload input[type=file]", str(bad))
    expect(page.locator("#lr-validation")).to_contain_text("not a zip that can be read")
    good = tmp_path / "good.zip"
    with zipfile.ZipFile(good, "w") as archive:
        archive.write(photo_path("lion.jpg"), "lion/1.jpg")
        archive.write(photo_path("cheetah.jpg"), "n02130308/2.jpg")
    page.get_by_label("Clear").or_(
        page.locator("#lr-upload button[aria-label*=emove], #lr-upload button[aria-label*=lear]")
    ).first.click()
    page.set_input_files("#lr-upload input[type=file]", str(good))
    expect(page.locator("#lr-validation")).to_contain_text("2 photos are ready")
    page.locator("#lr-start").click()
    expect(page.locator(".lr-job.lr-done")).to_contain_text("Done: good.zip, 2 photos")


def test_start_waits_for_the_zip(app: RunningApp, page: Page, tmp_path: Path) -> None:
    """It once validated another file than the one that was being unpacked. Downloads belong to the report shown."""
    open_validate(page, app)
    choose_file(page, "sample-photos.lmdb")
    page.locator("#lr-start").click()
    expect(page.locator("#lr-json")).to_be_visible()
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(400):
            archive.write(photo_path("lion.jpg"), f"lion/{number}.jpg")
    page.set_input_files("#lr-upload input[type=file]", str(file))
    expect(page.locator("#lr-start")).to_have_text("Your zip is being unpacked")
    expect(page.locator("#lr-start")).to_be_disabled()
    expect(page.locator("#lr-json")).to_have_count(0)
    expect(page.locator("#lr-validation")).to_contain_text("400 photos are ready")
    expect(page.locator("#lr-start")).to_be_enabled()


def test_the_table_is_copied_with_its_header(app: RunningApp, browser: Browser, zoo: Zoo) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    opened(page, app, "tab=ranks")
    page.get_by_role("button", name="Copy the table").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    context.close()
    assert lines[0].split("\t") == RANK_HEADERS
    assert [line.split("\t")[0] for line in lines[1:9]] == [layer.name for layer in LAYERS]


def test_no_buttons_of_plotly_and_none_left_by_a_download(app: RunningApp, page: Page) -> None:
    opened(page, app, "tab=ranks")
    expect(page.locator("#lr-ranks-plot .js-plotly-plot")).to_be_visible()
    tools = page.locator(".lr-tools").count()
    for kind in ("SVG", "PNG"):
        with page.expect_download():
            page.locator("#lr-ranks-plot").get_by_role("button", name=f"as {kind}").click()
    settle(page)
    expect(page.locator(".lr-tools")).to_have_count(tools)
    for bar in page.locator(".modebar-container").all():
        expect(bar).to_be_hidden()


def test_figures_as_files(app: RunningApp, page: Page, zoo: Zoo) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled&tab=ranks")
    figure = page.locator("#lr-ranks-plot")
    expect(figure.locator(".js-plotly-plot")).to_be_visible()
    kept: dict[str, bytes] = {}
    for kind in ("SVG", "PNG", "CSV"):
        with page.expect_download() as waiting:
            figure.get_by_role("button", name=f"Download “Learned rank of each layer” as {kind}").click()
        assert waiting.value.suggested_filename == f"learned-rank-of-each-layer.{kind.lower()}"
        kept[kind] = Path(waiting.value.path()).read_bytes()
    assert kept["SVG"].lstrip().startswith(b"<svg")
    assert Image.open(io.BytesIO(kept["PNG"])).width > 1000
    rows = list(csv.reader(io.StringIO(kept["CSV"].decode())))
    assert rows[0] == ["series", "layer", "rank, % of full rank", "rank", "full rank"]
    shares = {row[1]: float(row[2]) for row in rows[1:] if "v5" in row[0]}
    layers = zoo.get("bundled/scheme_2/v5").cost.layers
    assert shares == {cost.layer.name: pytest.approx(100 * cost.rank / cost.full_rank) for cost in layers}
    assert [(row[3], row[4]) for row in rows[1:] if "v5" in row[0]] == [
        (str(cost.rank), str(cost.full_rank)) for cost in layers
    ]
    page.get_by_role("tab", name="Trade-off").click()
    expect(page.locator("#lr-pareto-plot .js-plotly-plot")).to_be_visible()
    with page.expect_download() as waiting:
        page.locator("#lr-pareto-plot").get_by_role("button", name="as CSV").click()
    rows = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8"))))
    assert rows[0] == ["series", "MFLOPs", "top-1 error, %", "version", "model", "λ", "ranks"]
    assert [row[0] for row in rows if not row[4]] == ["Caffe-AlexNet, not compressed"]
    v5 = zoo.get("published/scheme_2/v5")
    assert ["151", "v5", v5.id, "0.25e-4", "-".join(map(str, v5.ranks))] in [[row[1], *row[3:]] for row in rows]
