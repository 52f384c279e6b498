"""The Python of the how-to pages runs as it stands."""

import re
from pathlib import Path

import pytest

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PAGES = [page for page in sorted(_DOCS.rglob("*.md")) if _BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_the_page_s_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(_BLOCK.findall(page.read_text()))
    exec(compile(code, str(page), "exec"), {"__name__": page.stem})


@pytest.mark.parametrize(
    "page", [*sorted(_DOCS.rglob("*.md")), *sorted(_DOCS.parent.glob("*.md"))], ids=lambda page: page.stem
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target
