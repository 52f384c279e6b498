import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bitsiege.report.chart import accuracy_chart, ring_radius
from bitsiege.report.model import (
    DatasetInfo,
    Divergence,
    Example,
    Hardware,
    Layer,
    Point,
    Report,
    StepInfo,
    TargetInfo,
    TargetResult,
)
from bitsiege.report.page import duration, quantity, render, write_report
from bitsiege.report.pipeline_drawing import pipeline_drawing
from bitsiege.report.svg import difference_pixels, element, png_data_uri

TARGETS = ("torch", "reference", "rtl")
HOSTILE = '<script>alert("x")</script>&\'"'
VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})


def answers(accuracy: float, wrong: str = "") -> tuple[TargetResult, ...]:
    return tuple(
        TargetResult(
            target=name,
            images=100,
            correct=round(100 * (accuracy - 0.2 * (name == wrong))),
            accuracy=accuracy - 0.2 * (name == wrong),
            divergences=20 * (name == wrong),
            logits=300,
            cycles_per_image=97.5 if name == "rtl" else None,
            images_per_second=1234.5,
        )
        for name in TARGETS
    )


def mvau(index: int, *, bottleneck: bool = False) -> Layer:
    return Layer(
        name=f"mvau_{index}",
        op_type="Mvau",
        in_type="BIPOLAR",
        out_type="BIPOLAR",
        inputs=16,
        outputs=8,
        weight_type="BIPOLAR",
        pe=2,
        simd=4,
        cycles=16 + bottleneck,
        macs=128,
        bottleneck=bottleneck,
    )


def make_report(*, name: str = "demo", layers: int = 2, wrong: str = "", points: bool = True) -> Report:
    pixels = np.arange(16).reshape(4, 4, 1)
    return Report(
        title=name,
        command=f"bitsiege run {name}",
        created="2026-01-01T00:00:00+00:00",
        dataset=DatasetInfo(
            name=name, input_shape=(4, 4, 1), train_images=10, test_images=100, replayed_images=100
        ),
        parameters=256,
        hardware=Hardware(
            graph_hash="ab" * 32,
            layers=(
                Layer(
                    name="flatten_0",
                    op_type="Flatten",
                    in_type="UINT8",
                    out_type="UINT8",
                    inputs=16,
                    outputs=16,
                ),
                *(mvau(index, bottleneck=index == 0) for index in range(layers)),
            ),
            macs=256,
            clock_mhz=100,
            board=name,
            ii_cycles=17,
            latency_cycles=40,
            frames_per_second=1e8 / 17,
        ),
        targets=tuple(TargetInfo(name=t, kind="simulation") for t in TARGETS),
        clean=Point(attack="clean", epsilon=0, pixel_steps=0, results=answers(0.9)),
        points=(
            Point(
                attack=name,
                epsilon=0.1,
                pixel_steps=25,
                results=answers(0.4, wrong),
                divergences=(Divergence(target=wrong, image=7, text=f"{wrong} {name} parts"),)
                if wrong
                else (),
            ),
        )
        if points
        else (),
        examples=(
            Example(
                attack=name,
                epsilon=0.1,
                image=3,
                label=1,
                before=1,
                after=2,
                changed_pixels=4,
                original=pixels.tolist(),
                adversarial=(pixels + 20).tolist(),
            ),
        ),
        test_accuracy=0.9,
        steps=(StepInfo(name="train", key="0" * 64, seconds=1.5, finished="x"),),
        hashes={name: "cd" * 32},
        versions={"bitsiege": "0.1.0"},
        seeds={"train": 1},
        config={"name": name},
    )


class Page(HTMLParser):
    """Checks that tags nest, and collects tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("report", [make_report(), make_report(wrong="rtl"), make_report(points=False)])
def test_the_page_is_well_formed_and_self_contained(report: Report):
    text = render(report)
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(page.tags)
    for key, value in page.attributes:
        assert not key.startswith("on")
        if key in ("src", "href", "data", "action", "srcset", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#"))
    assert not re.search(r"https?://", text)
    assert not re.search(r"@import|url\(", text)


def test_the_page_is_well_formed_xml():
    body = re.sub(r"^<!DOCTYPE html>\s*", "", render(make_report()))
    ET.fromstring(body)


def test_hostile_names_are_escaped():
    text = render(make_report(name=HOSTILE, wrong="rtl"))
    assert "<script" not in text
    assert "alert(&#34;x&#34;)" in text
    assert Page(text).open == []


def test_agreement_and_divergence_are_said():
    good = render(make_report())
    assert "All 3 targets agree on every logit" in good
    assert "1,200 integer logits" in good
    bad = render(make_report(wrong="rtl"))
    assert "agree on every logit" not in bad
    assert "20 images diverge from torch" in bad
    assert "rtl demo parts" in bad


def with_norms() -> Report:
    """A report with an L2 budget, an L0 budget and an attack without one."""
    report = make_report()
    about = {"results": answers(0.3), "pixel_steps": 97, "attack": "demo"}
    points = (
        Point(**about | {"attack": "pgd-l2", "epsilon": 1.5, "norm": "l2"}),
        Point(**about | {"attack": "jsma", "epsilon": 0.125, "norm": "l0", "pixel_steps": 2}),
        Point(
            **about | {"attack": "cw", "epsilon": 28.0, "norm": "l2"},
            bounded=False,
            distances=((0.0, 0.9), (0.5, 0.4), (2.0, 0.1)),
        ),
    )
    return report.model_copy(update={"points": points})


def test_each_norm_says_what_it_measures():
    report = with_norms()
    text = render(report)
    assert Page(text).open == []
    for part in (
        "L2 ε = 1.5",
        "√97/255",
        "2 pixels",
        "smallest L2",
        "PGD-L2 · L2",
        "CW · L2, smallest change",
    ):
        assert part in text
    assert "97/255</span>" not in text.replace("√97/255", "")
    assert "28" not in re.findall(r"ε = (\S+?)[<,]", text)


def test_an_attack_without_a_budget_is_drawn_over_distance():
    root = ET.fromstring(accuracy_chart(with_norms(), "cw"))
    paths = [path for path in root.iter("path") if "stairs" in path.attrib["class"]]
    assert len(paths) == 1
    assert paths[0].attrib["d"].count("V") == 2
    assert [e.text for e in root.iter("text") if e.attrib["class"] == "t-tick"][-1] == "2"


def test_what_a_reader_looks_for_is_there():
    text = render(make_report())
    for part in (
        "90.0 %",
        "40.0 %",
        "Initiation interval",
        "5,882,353",
        "mvau_1",
        "97.5",
        "cd" * 32,
        "25/255",
    ):
        assert part in text


def test_rings_of_agreeing_targets_share_a_centre_and_a_wrong_one_leaves():
    def centres(wrong: str) -> set[tuple[str, str]]:
        root = ET.fromstring(accuracy_chart(make_report(wrong=wrong), "demo"))
        return {(c.attrib["cx"], c.attrib["cy"]) for c in root.iter("circle")}

    assert len(centres("")) == 2
    assert len(centres("rtl")) == 3
    radii = [ring_radius(index, 3) for index in range(3)]
    assert radii == sorted(radii, reverse=True)
    assert len(set(radii)) == 3


@pytest.mark.parametrize("layers", [1, 4, 5, 9, 17])
def test_the_pipeline_stays_inside_its_drawing(layers: int):
    report = make_report(layers=layers)
    root = ET.fromstring(pipeline_drawing(report.hardware, (4, 4, 1)))
    width, height = (float(size) for size in root.attrib["viewBox"].split()[2:])
    boxes = [rect for rect in root.iter("rect") if "node" in rect.attrib["class"]]
    assert len(boxes) == layers
    for rect in root.iter("rect"):
        x, y = float(rect.attrib["x"]), float(rect.attrib["y"])
        assert x >= 0
        assert x + float(rect.attrib["width"]) <= width
        assert y >= 0
        assert y + float(rect.attrib["height"]) <= height
    assert len([rect for rect in boxes if "bottleneck" in rect.attrib["class"]]) == 1


def test_both_files_are_written_and_the_data_read_back(tmp_path: Path):
    report = make_report()
    data, page = write_report(report, tmp_path)
    assert Report.model_validate_json(data.read_text()) == report
    assert page.read_text() == render(report)


def test_the_schema_is_strict():
    values = make_report().model_dump()
    with pytest.raises(ValidationError):
        Report.model_validate({**values, "schema_version": 2})
    with pytest.raises(ValidationError):
        Report.model_validate({**values, "surprise": 1})


def test_elements_escape_and_shorten():
    drawn = element("text", "<b>", element("tspan", "x"), class_='a"b', stroke_width=1.23456, y=None)
    assert drawn == '<text class="a&#34;b" stroke-width="1.23">&lt;b&gt;<tspan>x</tspan></text>'


def test_pictures_are_png_files(tmp_path: Path):
    import base64

    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    data = base64.b64decode(png_data_uri(pixels).removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(data[16:20], "big") == 5
    assert int.from_bytes(data[20:24], "big") == 3
    with pytest.raises(ValueError, match="uint8"):
        png_data_uri(np.zeros((3, 5), np.uint8))


def test_differences_show_direction_and_strength():
    original = np.array([[[10], [200], [50]]], np.uint8)
    shown = difference_pixels(original, np.array([[[20], [180], [50]]], np.uint8))
    assert shown[0, :, 3].tolist() == [127, 255, 0]
    assert shown[0, 0, 0] > shown[0, 0, 2]
    assert shown[0, 1, 0] < shown[0, 1, 2]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (3.0, "3"), (0.1234, "0.123"), (1234567.8, "1,234,568"), (97.5, "97.5")]
)
def test_numbers(value: float | None, text: str):
    assert quantity(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(61.2, "61.2 s"), (0.0121, "12.1 ms"), (4e-7, "400 ns")])
def test_times(seconds: float, text: str):
    assert duration(seconds) == text
