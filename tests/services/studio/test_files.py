"""The page as files: how they are served, how large they are, and that texts and types are whole."""

import gzip
import re
from pathlib import Path

import pytest

from services.video.api import create_app
from services.video.config import ServiceConfig, StudioSettings
from services.video.studio import security_policy
from tests.services.http import HTTP
from tests.services.live import LiveService
from tests.services.studio import typedefs

STUDIO = Path(__file__).parents[3] / "services" / "studio"
OWN = sorted(path for path in STUDIO.rglob("*") if path.suffix in (".js", ".css", ".html", ".svg"))
WRITTEN = [path for path in OWN if path.parent.name != "vendor"]
LONGEST_LINES = 300
FIRST_VIEW_BYTES = 200 * 1000


def test_every_file_has_its_content_type_and_the_strict_policy(door: LiveService) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
    for path in OWN:
        answer = HTTP.get(f"{door.url}/studio/{path.relative_to(STUDIO)}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].split(";")[0] == kinds[path.suffix]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_opens_at_its_address_with_and_without_the_slash(door: LiveService) -> None:
    page = HTTP.get(f"{door.url}/studio", follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/studio/")
    assert "<title>Studio</title>" in page.text
    again = HTTP.get(page.url, headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["vendor/htm.LICENSE", "../video/api.py", "%2e%2e/video/api.py", "README.md", "absent.js"]
)
def test_nothing_else_is_served(door: LiveService, path: str) -> None:
    answer = HTTP.get(f"{door.url}/studio/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_no_address_leads_out_of_its_folder(door: LiveService, tmp_path: Path) -> None:
    """Of a kind that is served, at the root of this machine."""
    secret = tmp_path / "secret.css"
    secret.write_text("a secret")
    up = "../" * len(STUDIO.parts)
    for path in (f"{secret}", f"%2F{secret.relative_to('/')}", f"{up}{secret.relative_to('/')}"):
        answer = HTTP.get(f"{door.url}/studio/{path}")
        assert (answer.status_code, "a secret" in answer.text) == (404, False), path


def test_an_operator_can_do_without_it(tmp_path: Path) -> None:
    config = ServiceConfig(
        checkpoint="none", output="none", ledger=f"sqlite:///{tmp_path}/ledger.db", studio=StudioSettings(enabled=False)
    )
    app = create_app(config)
    assert not any(getattr(route, "path", "").startswith("/studio") for route in app.routes)
    app.state.service.ledger.close()


def test_further_servers_are_named_by_the_policy_and_nothing_can_be_smuggled_in() -> None:
    assert "connect-src 'self' https://other.example;" in security_policy(("https://other.example",))
    with pytest.raises(ValueError, match="servers"):
        StudioSettings(servers=("https://other.example; script-src *",))


def test_the_first_view_is_light() -> None:
    """All there is, not only what the first view needs."""
    assert sum(len(gzip.compress(path.read_bytes())) for path in OWN) < FIRST_VIEW_BYTES


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(STUDIO)))
def test_files_are_short_and_load_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_LINES
    assert not re.search(r"(src|href)=[\"']https?:|@import|url\(\s*[\"']?https?:|from \"https?:", text)
    assert not re.search(r"innerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\beval\(", text)


def test_every_text_is_there_in_every_language_and_none_is_left_over() -> None:
    texts = (STUDIO / "text" / "texts.js").read_text()
    codes = re.findall(r"^  (\w+): \{ name", (STUDIO / "text" / "i18n.js").read_text(), re.M)
    rows = re.findall(r"^  \"?([\w.]+)\"?: \[(.+)\],$", texts, re.M)
    for name, row in rows:
        said = re.findall(r"\"((?:[^\"\\]|\\.)*)\"", row)
        assert len(said) == len(codes), name
        assert all(said), name
        assert len({frozenset(re.findall(r"\{\w+\}", text)) for text in said}) == 1, f"{name}: other values"
    sources = "".join(path.read_text() for path in WRITTEN if path.suffix == ".js" and path.name != "texts.js")
    made = set(re.findall(r"`([\w]+\.)\$\{", sources))
    known = {name for name, _ in rows}
    for name in known:
        assert f'"{name}"' in sources or any(name.startswith(prefix) for prefix in made), f"nobody says {name}"
    for name in re.findall(r"\bsay\(\"([\w.]+)\"", sources):
        assert name in known, f"no text is named {name}"


def test_what_the_studio_reads_is_what_the_service_answers() -> None:
    """Fields that were added are no fault; one that is read and not answered is."""
    committed, now = typedefs.FILE.read_text(), typedefs.written(typedefs.document()["components"]["schemas"])
    field = re.compile(r"@typedef \{\S.*\} (\w+)|@property (\{.*\} \w+)$", re.M)

    def read(text: str) -> set[str]:
        name, found = "", set()
        for match in field.finditer(text):
            name = match[1] or name
            found.add(f"{name} {match[2] or ''}")
        return found

    assert read(committed) <= read(now), "python -m tests.services.studio.typedefs"
