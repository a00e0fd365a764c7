"""The report of a run: what stands in it, that it needs nothing else, and its figures."""

import csv
import io
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from debian_packages import require
from reported_run import PATIENTS, make_reported_run, patches

from orchestrator import open_run
from orchestrator.cli.main import main
from orchestrator.report.facts import RunFacts, unreadable_results
from orchestrator.report.pdf import BROWSERS, PdfError, print_pdf
from orchestrator.report.report import Report, all_sections, make_report
from orchestrator.report.sections.strata import scored_strata
from orchestrator.report.written import write_report
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, UnknownNameError


@pytest.fixture(scope="module")
def report(run: RunFolder) -> Report:
    return make_report(run, checklists=["claim"])


class Page(HTMLParser):
    """Tags with their attributes, the text, and what is open at the end."""

    VOID = ("meta", "img", "br")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.html)


def test_every_section_stands_in_the_page_and_in_its_contents(page: Page) -> None:
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    headings = [attrs.get("id") for tag, attrs in page.tags if tag == "h2"]
    sections = [section.name for section in all_sections()]
    assert len(sections) >= 13
    absent = {"front", "maps", "procedure"}  # of one metric, without maps, and not nested
    assert headings == [name for name in sections if name not in absent] + ["claim"]
    assert links == ["#content", *(f"#{name}" for name in headings)]


def test_the_page_is_whole_and_needs_neither_network_nor_script(report: Report, page: Page) -> None:
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert [one for one in addresses if not str(one).startswith(("#", "data:image/png;base64,"))] == []
    assert "url(" not in report.html
    assert "@import" not in report.html
    assert len(report.html.encode()) < 15e6


def test_every_picture_says_in_words_what_it_shows(page: Page) -> None:
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) >= 12
    assert all(attrs["alt"] for attrs in pictures)
    charts = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(charts) >= 5
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for attrs in charts:
        assert attrs["role"] == "img"
        assert set(str(attrs["aria-labelledby"]).split()) <= set(ids)


def test_tables_have_headers_and_can_be_reached_by_keyboard(page: Page) -> None:
    heads = [attrs for tag, attrs in page.tags if tag == "th"]
    assert heads
    assert all(attrs.get("scope") in ("col", "row") for attrs in heads)
    around = [attrs for tag, attrs in page.tags if attrs.get("role") == "region"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in around)
    assert page.text.count("[95 %]") >= 2


def test_the_headline_is_the_nested_score_of_the_shipped_ensemble(run: RunFolder, page: Page) -> None:
    chosen = RunFacts(run).chosen
    assert chosen is not None
    assert f"AUC {chosen.nested.interval.text(3)}" in page.text
    assert "SYNTHETIC images: these numbers say nothing about patients." in page.text
    assert "was not opened" in page.text


def test_without_ensembles_the_best_trial_is_selected_again(tmp_path: Path) -> None:
    found = RunFacts(make_reported_run(tmp_path, trials=3, with_ensembles=False))
    assert found.headline is not None
    assert found.headline.model == "the best trial (2)"
    assert found.headline.is_honest
    first = found.rows[0]
    assert found.headline.interval is not None
    assert found.headline.interval.estimate == pytest.approx(first.selected_value)


def test_a_run_without_a_complete_trial_has_a_page_that_says_so(tmp_path: Path) -> None:
    run = make_reported_run(tmp_path, trials=0)
    html = make_report(run, checklists=["metrics"]).html
    assert "No trial has run to its end" in html
    assert "How to repeat it" in html


def test_the_page_stands_without_the_data(run: RunFolder, tmp_path: Path) -> None:
    moved = tmp_path / "runs" / "benign_malignant" / "first"
    shutil.copytree(run.path, moved)
    alone = RunFolder(moved)
    alone.write_search(alone.search().model_copy(update={"store": str(tmp_path / "gone")}))
    html = make_report(alone).html
    assert "not within reach" in html
    assert "<img" not in html
    assert "Misses: malignant" in html


def test_no_picture_is_shown_where_none_is_wanted(run: RunFolder) -> None:
    assert "<img" not in make_report(run, with_pictures=False).html


def test_a_page_on_a_set_without_patients_speaks_of_images(tmp_path: Path) -> None:
    raw = replace(patches(), patients=None)
    run = make_reported_run(tmp_path, trials=3, raw=raw, is_synthetic=False)
    facts = RunFacts(run)
    assert facts.headline is not None
    assert facts.group_unit == "image"
    for section in all_sections():
        built = section.build(facts)
        said = "" if built is None else built.html.replace("patients are not known", "")
        assert "patient" not in said, section.name
    html = make_report(run, checklists=["claim", "tripod-ai"]).html
    assert "new images like these" in html
    assert f"{len(facts.headline.predictions.labels)} images were predicted out of fold" in html
    sealed = sum(facts.sealed.values())
    assert 0 < sealed == 2 * PATIENTS - len(facts.headline.predictions.labels)
    assert f"The sealed test part has {sealed} images:" in html
    assert f"The sealed test part ({sealed} images) was not opened" in html


def test_names_that_look_like_markup_are_text(tmp_path: Path) -> None:
    raw = patches(source="<script>alert(1)</script>", views=("<b>", '"onload=x'))
    html = make_report(make_reported_run(tmp_path, trials=2, with_ensembles=False, raw=raw)).html
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "view &lt;b&gt;" in html
    assert "view &quot;onload=x" in html


def test_strata_are_the_columns_of_the_set_with_enough_patients(run: RunFolder) -> None:
    found = dict(scored_strata(RunFacts(run)))
    assert {"view CC", "view MLO"} <= set(found)
    assert any(name.startswith("age") for name in found)
    assert all(0.0 <= one.low <= one.estimate <= one.high <= 1.0 for one in found.values())


def test_figures_are_written_as_svg_with_their_numbers(report: Report, tmp_path: Path) -> None:
    written = report.write_figures(tmp_path / "figures")
    names = {path.name for path in written}
    assert {"roc.svg", "roc.csv", "calibration.svg", "decision.csv", "history.csv"} <= names
    for path in written:
        if path.suffix == ".svg":
            root = ET.fromstring(path.read_text())
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert root.find("{http://www.w3.org/2000/svg}title") is not None
    rows = list(csv.DictReader(io.StringIO((tmp_path / "figures" / "roc.csv").read_text())))
    up = [float(row["up"]) for row in rows]
    assert up == sorted(up)
    assert all(float(row["low"]) <= float(row["high"]) for row in rows)


def test_a_folder_in_the_place_of_the_page_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--out needs a file"):
        write_report(run, tmp_path)


def test_an_unknown_checklist_is_answered_with_the_nearest(run: RunFolder) -> None:
    with pytest.raises(UnknownNameError, match="claim"):
        make_report(run, checklists=["clam"])


def test_the_verb_and_python_write_the_same_page(run: RunFolder, tmp_path: Path, capsys) -> None:
    assert main(["report", str(run.path), "--out", str(tmp_path / "a.html"), "--format", "json"]) == 0
    said = capsys.readouterr().out
    assert '"is_honest": true' in said
    path = open_run(run).report(tmp_path / "b.html", figures=tmp_path / "figures")
    assert path.read_text() == (tmp_path / "a.html").read_text()
    assert (tmp_path / "figures" / "roc.svg").is_file()


@pytest.mark.parametrize("name", ["outer.json", "ensembles/best.json"])
def test_a_damaged_result_is_named_on_the_terminal_too(run: RunFolder, tmp_path: Path, name: str) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    assert unreadable_results(copy) == []
    (copy.path / name).parent.mkdir(exist_ok=True)
    (copy.path / name).write_text("{")
    (said,) = unreadable_results(copy)
    assert str(copy.path / name) in said


def test_a_pdf_needs_a_browser_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "page.html").write_text("<p>page</p>")
    with pytest.raises(PdfError, match="needs Chromium or Chrome"):
        print_pdf(tmp_path / "page.html", tmp_path / "page.pdf")


@pytest.mark.long
def test_a_pdf_is_printed_by_a_browser(report: Report, tmp_path: Path) -> None:
    if not any(map(shutil.which, BROWSERS)):
        require({"chromium": "chromium"})
    (tmp_path / "page.html").write_text(report.html)
    print_pdf(tmp_path / "page.html", tmp_path / "page.pdf")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.pdf"]


def test_the_score_of_the_procedure_is_shown_where_the_search_was_nested(
    run: RunFolder, tmp_path: Path
) -> None:
    facts = RunFacts(RunFolder(shutil.copytree(run.path, tmp_path / "benign_malignant" / "first")))
    (section,) = [one for one in all_sections() if one.name == "procedure"]
    assert section.build(facts) is None
    score = {"value": {"estimate": 0.71, "low": 0.6, "high": 0.8}, "inner_value": 0.75, "optimism": 0.04}
    outer = {"folds": 5, "patients": 48, "images": 96, "metric": "auc", "scores": {"shipped": score}}
    facts.run.write_json(facts.run.path / "outer.json", outer)
    content = section.build(facts)
    assert content is not None
    assert "0.710 [0.600, 0.800]" in content.html
    assert "+0.040" in content.html
    assert "without the patients of one outer fold" in content.html
    assert "48 patients, 96 images" in content.html
    without = outer | {"group_unit": "image", "patients": 96}
    facts.run.write_json(facts.run.path / "outer.json", without)
    said = section.build(facts)
    assert said is not None
    assert "patient" not in said.html
    of_breasts = outer | {"unit": "breast"}
    facts.run.write_json(facts.run.path / "outer.json", of_breasts)
    said = section.build(facts)
    assert said is not None
    assert "48 patients, 96 breasts" in said.html
    facts.run.write_json(facts.run.path / "outer.json", {"folds": 5})
    broken = section.build(facts)
    assert broken is not None
    assert "cannot be read" in broken.html


def test_relevance_maps_of_the_run_are_shown(run: RunFolder, tmp_path: Path) -> None:
    moved = tmp_path / "runs" / "benign_malignant" / "first"
    shutil.copytree(run.path, moved)
    folder = moved / "explanations" / "occlusion"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "row-3.png"), np.zeros((8, 8), np.uint8))
    html = make_report(RunFolder(moved)).html
    assert "What it looked at" in html
    assert "occlusion/row-3" in html


def test_the_report_says_how_busy_the_workers_of_all_sessions_were(page: Page) -> None:
    assert "workers, from the first trial to the last" in page.text
    assert "busy 90 % of 3:20 worker time (features 30 %, training 60 %)" in page.text
