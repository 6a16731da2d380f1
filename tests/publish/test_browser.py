"""The report and the comparison in a browser: readable by everyone, on a telephone, in the dark, and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.evaluation.score import Score
from components.evaluation.scores import Scores, stack_scores
from components.evaluation.statistics import Estimate
from components.publish import charts, report
from components.publish.comparison import Evaluated, compare_experiments, write_page
from components.publish.report import Picture, Report, Section, Strip, Thumbnail
from components.publish.tables import Cell, ComparisonCell, EstimateCell, Table, comma_separated
from components.workspace.layout import Layout

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = "/usr/bin/chromium"
PHONE, SCREEN = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
PAPER = {"width": 1032, "height": 703}  # CSS pixels of A4, landscape, within its margins
IMAGES = 500

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[playwright.Browser]:
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no {CHROMIUM}; Debian has it in the package chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of `IMAGES` test images and a comparison of two experiments, by their names."""
    folder = tmp_path_factory.mktemp("pages")
    report.write(a_report(folder), folder / "report.html")
    record = {"density_map": {"kind": "identity"}, "dataset": "crowd", "hardware": {"cpus": 2}}
    other = record | {"density_map": {"kind": "refined", "widths": [512, 512, 512, 256, 128]}}
    first = Evaluated("study/first", Layout("study"), record, scores(0))
    second = Evaluated("study/second", Layout("study"), other, scores(1))
    write_page(compare_experiments(first, second, times=20), folder / "comparison.html")
    return {name: folder / f"{name}.html" for name in ("report", "comparison")}


def scores(seed: int) -> Scores:
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(9).integers(0, 600, IMAGES)
    counts = truth + random.normal(0, 12, IMAGES)
    made = zip(truth, counts, strict=True)
    return stack_scores(
        {0: [Score(f"image-{n}", float(t), float(c), (abs(c - t),) * 4) for n, (t, c) in enumerate(made)]}
    )


def wide_table() -> Table:
    """Estimates, published figures, missing cells, negative numbers and long text, wider than any screen."""

    def row(name: str, mae: float, gap: float, note: str) -> tuple[Cell, ...]:
        estimate = EstimateCell(Estimate(mae, mae - 1, mae + 1), best=mae == 9.5)
        signed = EstimateCell(Estimate(gap, gap - 1, gap + 1), digits=2, signed=True)
        return (name, estimate, signed, ComparisonCell(8.0, estimate), "-", note, *["a column of words"] * 12)

    rows = (row("bravo", 100.25, -2.5, "x" * 90), row("alpha", 9.5, 0.0, ""), row("charlie", 23.0, -30.0, "word " * 20))
    head = ("Experiment", "MAE", "Difference", "Paper", "RMSE", "Note", *(f"Column {n}" for n in range(12)))
    return Table("wide", "A wide table", head, rows, ("A note.",))


def a_report(folder: Path) -> Report:
    """Charts of `IMAGES` images, and 20 images of 1024 x 768 px whose texture is as fine as a crowd's, or finer."""
    random = np.random.default_rng(0)
    results = {f"experiment {n}": scores(n) for n in range(3)}
    density = dict.fromkeys(results, scores(0).truth / 0.79)
    pictures = []
    for name, draw in {"scatter": charts.scatter, "errors": charts.errors}.items():
        picture = Picture(folder / f"{name}.png", folder / f"{name}-dark.png", f"Caption of {name}.", f"Points: {name}")
        draw(results, *([density] if name == "errors" else []), *picture.files)
        pictures.append(picture)
    strips = tuple(
        Strip(
            f"image-{n}",
            f"{n - 9:+d} people",
            (
                Thumbnail("picture", random.integers(0, 256, (768, 1024, 3), np.uint8)),
                Thumbnail("truth: 9", random.integers(0, 256, (96, 128, 3), np.uint8), is_map=True),
                Thumbnail("prediction: 9.5", random.integers(0, 256, (96, 128, 3), np.uint8), is_map=True),
            ),
        )
        for n in range(20)
    )
    return Report(
        "A study with <tags> and a titleofonelongwordthatisbrokenwhereitmustbetostayonthescreen",
        "About it.",
        "The difference is -2.5 [-3.1, -1.9].",
        (
            Section("Charts", pictures=tuple(pictures)),
            Section("Worst images", "The largest errors.", strips=strips),
            Section("Tables", tables=(wide_table(),)),
            Section("Settings", code="key: value\n" * 50 + "long: " + "x" * 300),
        ),
    )


@pytest.fixture
def opened(chromium: playwright.Browser, pages: dict[str, Path]):
    """Open a page in a window of its own: `opened("report", viewport=PHONE)`."""
    contexts = []

    def open_(name: str, **options: object) -> playwright.Page:
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(pages[name].as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, SCREEN], ids=["360 px", "1280 px"])
def test_everyone_can_read_the_page(opened, name: str, scheme: str, viewport: dict[str, int]) -> None:
    page = opened(name, viewport=viewport, color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_five_megabytes_hold_500_images_and_nothing_is_loaded(opened, pages) -> None:
    assert pages["report"].stat().st_size < 5e6
    page, addresses = opened("report"), []
    page.on("request", lambda request: addresses.append(request.url))
    page.reload()
    assert addresses == [pages["report"].as_uri()]
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    alts = page.eval_on_selector_all("img", "images => images.map((image) => image.alt)")
    assert len(set(alts)) == len(alts) == 62


def column(page: playwright.Page, place: int) -> list[str]:
    return [text.split()[0] for text in page.locator(f"main tbody tr > :nth-child({place})").all_inner_texts()]


def test_a_table_sorts_by_a_click_and_by_the_keyboard(opened) -> None:
    page = opened("report", viewport=SCREEN)
    mae = page.get_by_role("columnheader", name="MAE")
    mae.get_by_role("button").click()
    assert column(page, 2) == ["9.5", "23.0", "100.2"]
    assert mae.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert column(page, 2) == ["100.2", "23.0", "9.5"]
    assert mae.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert column(page, 1) == ["bravo", "alpha", "charlie"]
    assert mae.get_attribute("aria-sort") is None
    page.get_by_role("columnheader", name="Difference").get_by_role("button").click()
    assert column(page, 3) == ["−30.00", "−2.50", "+0.00"]
    page.get_by_role("columnheader", name="Experiment").get_by_role("button").click()
    assert column(page, 1) == ["alpha", "bravo", "charlie"]


def test_a_wide_table_scrolls_by_the_keyboard_and_keeps_its_names_in_sight(opened) -> None:
    page = opened("report", viewport=PHONE)
    table = page.get_by_role("region", name="A wide table")
    table.focus()
    for _ in range(100):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(20)  # scrolling is animated
        if table.evaluate("table => table.scrollLeft") > 100:
            break
    assert table.evaluate("table => table.scrollLeft") > 100
    assert page.get_by_role("rowheader", name="alpha").bounding_box()["x"] >= 0


def test_a_figure_opens_large_and_closes_again(opened) -> None:
    page = opened("report", viewport=PHONE)
    link = page.locator("figure > a").first
    link.click()
    large = page.get_by_role("dialog").locator("img")
    assert large.evaluate("image => image.clientWidth === image.naturalWidth && image.naturalWidth > 1000")
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert link.evaluate("link => link === document.activeElement")


def test_without_scripts_the_page_holds_the_same_and_figures_grow_in_place(opened) -> None:
    page = opened("report", viewport=PHONE, java_script_enabled=False)
    assert page.locator("th button").count() == 0
    assert column(page, 1) == ["bravo", "alpha", "charlie"]
    link = page.locator("figure > a").first
    before = link.locator("img").bounding_box()["width"]
    link.click()
    assert link.locator("img").bounding_box()["width"] > 3 * before


def test_figures_have_the_ground_of_the_page(opened) -> None:
    """Light and dark: the colour in the corner of the picture that is shown, within the rounding of WebP."""
    corner = """image => { const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
        context.drawImage(image, 0, 0); return [...context.getImageData(3, 3, 1, 1).data.slice(0, 3)].join(", "); }"""
    for scheme, expected in (("light", "255, 255, 255"), ("dark", "22, 26, 30")):
        page = opened("report", color_scheme=scheme)
        assert page.locator("figure picture img").first.evaluate(corner) == expected
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == f"rgb({expected})"


def test_on_paper_the_page_is_light_and_no_column_is_cut_off(opened) -> None:
    page = opened("report", viewport=PAPER, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    table = page.locator("table").bounding_box()
    assert table["x"] >= 0
    assert table["x"] + table["width"] <= PAPER["width"]
    assert not page.get_by_role("navigation").is_visible()
    assert not page.get_by_role("link", name="A wide table as CSV").is_visible()


def test_a_table_is_downloaded_as_csv_and_latex(opened) -> None:
    page = opened("report", viewport=SCREEN)
    for kind, ending in (("CSV", "csv"), ("LaTeX", "tex")):
        with page.expect_download() as started:
            page.get_by_role("link", name=f"A wide table as {kind}").click()
        assert started.value.suggested_filename == f"wide.{ending}"
        text = Path(started.value.path()).read_text()
        assert text == comma_separated(wide_table()) if ending == "csv" else r"\begin{adjustbox}" in text
