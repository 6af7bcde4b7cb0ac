"""One offline file: what goes in comes out, nothing in a token acts, nothing is fetched."""

import base64
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mi_widgets import export
from mi_widgets.errors import DataError, ExportError
from mi_widgets.export import FrozenView, offline_page, readable_size, write_page
from mi_widgets.version import __version__

HOSTILE = [
    "</script><script>alert(1)</script><!--",
    "<!-- <script>",
    "]]>",
    "\u2028\u2029",
    "\ud800",
    "&lt;",
    "漢字 👩‍👩‍👧",
    '"\\',
]
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg"><text>"&lt;</text></svg>'


def unzipped(text):
    return gzip.decompress(base64.b64decode(text))


class Elements(HTMLParser):
    """Every element with its attributes and the text directly in it."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found, self.open = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))
        if tag not in ("meta", "link", "img"):
            self.open.append(self.found[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)

    def all(self, tag):
        return [(attrs, "".join(text)) for name, attrs, text in self.found if name == tag]

    def one(self, tag, **wanted):
        (found,) = [entry for entry in self.all(tag) if wanted.items() <= entry[0].items()]
        return found


def page_of(host, module, views=None, **options):
    views = views or [FrozenView("attention", {"tokens": HOSTILE, "picture": bytes(range(256))})]
    given = {"title": "T", "css": ".a { color: red }", "modules": {"attention": module, "spare": "0"}, "host": host}
    return offline_page(views, **{**given, **options})


def test_state_comes_back_whole_whatever_the_tokens_hold(host, module):
    elements = Elements(page_of(host, module))
    state = json.loads(elements.one("script", id="miw-page")[1])["views"][0]["state"]
    assert state["tokens"] == HOSTILE
    assert unzipped(state["picture"]["$gzip"]) == bytes(range(256))


def test_hostile_tokens_open_no_element(host, module):
    page = page_of(host, module, title=HOSTILE[0], recipe=HOSTILE[0], picture=PICTURE)
    elements = Elements(page)
    assert len(elements.all("script")) == 3  # state, one module, host
    assert "<!--" not in page
    assert elements.one("title")[1] == elements.one("h1")[1] == HOSTILE[0]
    assert elements.one("pre")[1] == HOSTILE[0]
    assert elements.open == []


def test_bytes_are_found_at_any_depth_and_numbers_that_json_lacks_become_null(host, module):
    view = FrozenView("attention", {"deep": [{"store": memoryview(b"ab")}, (1, None, True)], "odd": float("nan")})
    state = json.loads(Elements(page_of(host, module, [view])).one("script", id="miw-page")[1])["views"][0]["state"]
    store = state["deep"][0].pop("store")
    assert unzipped(store["$gzip"]) == b"ab"
    assert state == {"deep": [{}, [1, None, True]], "odd": None}


def test_each_needed_module_is_written_once(host, module):
    views = [FrozenView("attention", {}), FrozenView("attention", {}), FrozenView("prompt", {})]
    page = page_of(host, module, views, modules={"attention": module, "prompt": "export default {}", "spare": "x"})
    elements = Elements(page)
    sources = {attrs["id"]: text for attrs, text in elements.all("script") if attrs.get("type") == "text/plain"}
    assert set(sources) == {"miw-module-attention", "miw-module-prompt"}
    assert unzipped(sources["miw-module-attention"]).decode() == module
    assert elements.one("script", id="miw-module-attention")[0]["data-encoding"] == "gzip"
    slots = [attrs["data-slot"] for attrs, _ in elements.all("section")]
    assert slots == ["0", "1", "2"]


def test_columns_stand_in_the_markup_the_state_and_the_grid(host, module):
    page = page_of(host, module, columns=2)
    elements = Elements(page)
    assert elements.one("main")[0] == {"class": "miw-page", "data-columns": "2"}
    assert json.loads(elements.one("script", id="miw-page")[1])["columns"] == 2
    assert "repeat(2, minmax(0, 1fr))" in page


def test_the_foot_says_what_made_it_and_how(host, module):
    page = page_of(host, module, recipe="mw.Attention(model)\n# seed 0")
    elements = Elements(page)
    assert elements.one("pre")[1] == "mw.Attention(model)\n# seed 0"
    assert f"made with mi_widgets {__version__}" in page
    assert "<details" not in page_of(host, module)


def test_nothing_in_the_page_names_a_place_to_fetch_from(host, module):
    page = page_of(host, module, picture=PICTURE)
    elements = Elements(page)
    links = [value for _, attrs, _ in elements.found for name, value in attrs.items() if name in ("src", "href")]
    assert all(link.startswith("data:") for link in links)
    policy = elements.one("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline' blob:;")


def test_the_picture_for_readers_without_scripts_is_an_image(host, module):
    source = Elements(page_of(host, module, picture=PICTURE)).one("img")[0]["src"]
    assert base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode() == PICTURE


def test_styles_cannot_end_their_element(host, module):
    page = page_of(host, module, css=".a::after { content: '</style><b>' }")
    assert Elements(page).all("b") == []


@pytest.mark.browser
@pytest.mark.parametrize("picture", ["", PICTURE])
def test_it_runs_from_a_file_with_no_request_and_no_error(host, module, browser, tmp_path, picture):
    views = [FrozenView("attention", {"tokens": [HOSTILE[0], "b"], "picture": bytes([1, 2, 3])})] * 2
    path = write_page(tmp_path / "page.html", page_of(host, module, views, columns=2, picture=picture))
    view = browser.new_page(viewport={"width": 1200, "height": 600})
    asked, said = [], []
    view.on("request", lambda request: asked.append(request.url))
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    view.goto(path.as_uri())
    view.wait_for_selector("body[data-ready]")
    slots = view.locator(".miw-slot")
    assert slots.nth(1).text_content() == HOSTILE[0] + "|b"
    assert slots.nth(1).get_attribute("data-sum") == "6"
    assert slots.nth(1).get_attribute("data-word") == "größe 漢字"
    left, right = slots.nth(0).bounding_box(), slots.nth(1).bounding_box()
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert said == []
    view.set_viewport_size({"width": 480, "height": 600})
    assert slots.nth(1).bounding_box()["y"] > slots.nth(0).bounding_box()["y"]
    view.close()


@pytest.mark.browser
def test_the_policy_stops_a_module_that_would_phone_home(host, browser, tmp_path):
    module = """export default { render({ el }) {
        fetch("https://example.org/x").catch(() => { el.dataset.fetch = "refused"; });
        const image = new Image();
        image.onerror = () => { el.dataset.image = "refused"; };
        image.src = "https://example.org/x.png";
        el.append(image);
    } };"""
    view = browser.new_page()
    asked = []
    view.on("response", lambda response: asked.append(response.url))
    path = write_page(tmp_path / "page.html", page_of(host, module, [FrozenView("attention", {})]))
    view.goto(path.as_uri())
    view.wait_for_selector("[data-fetch=refused][data-image=refused]", state="attached")
    assert [url for url in asked if url.startswith("http")] == []
    view.close()


@pytest.mark.browser
def test_without_scripts_the_picture_is_shown(host, module, browser, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    view = context.new_page()
    view.goto(write_page(tmp_path / "page.html", page_of(host, module, picture=PICTURE)).as_uri())
    assert view.locator("noscript img").is_visible()
    context.close()


@pytest.mark.parametrize(
    ("views", "options", "word"),
    [
        ([], {}, "no view"),
        ([FrozenView("ghost", {})], {}, "ghost"),
        ([FrozenView("a b", {})], {"modules": {"a b": ""}}, "cannot name"),
        ([FrozenView("attention", {"model": object()})], {}, "state.views\\[0\\].state.model is a object"),
        ([FrozenView("attention", {})], {"columns": 0}, "columns"),
    ],
)
def test_what_a_page_cannot_hold_is_refused(host, module, views, options, word):
    given = {"title": "T", "css": "", "modules": {"attention": module}, "host": host}
    with pytest.raises(DataError, match=word):
        offline_page(views, **{**given, **options})


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ExportError, match="nowhere"):
        write_page(tmp_path / "nowhere" / "page.html", "")


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0 B"), (999, "999 B"), (61_300, "61 kB"), (999_499, "999 kB"), (1_234_567, "1.2 MB")]
)
def test_sizes_are_readable(nbytes, text):
    assert readable_size(nbytes) == text


def test_the_room_knows_no_widget():
    code = (
        "import sys, mi_widgets.export\n"
        "bad = {'torch', 'plotly', 'anywidget', 'numpy'} & set(sys.modules)\n"
        "bad |= {name for name in sys.modules if re.match(r'mi_widgets\\.(widgets|session|wire|figures)', name)}\n"
        "print(sorted(bad))"
    )
    found = subprocess.run([sys.executable, "-c", "import re\n" + code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_the_same_views_give_the_same_page(host, module):
    assert page_of(host, module) == page_of(host, module)
    assert re.search(r"\d{4}-\d\d-\d\d", page_of(host, module)) is None


@pytest.mark.browser
def test_the_real_host_runs_a_view_from_the_page(browser, tmp_path):
    host = (Path(export.__file__).parents[1] / "widgets" / "static" / "standalone.js").read_text(encoding="utf-8")
    module = """export default { render({ model, el }) {
        el.textContent = model.get("tokens").join("|");
        el.dataset.sum = new Uint8Array(model.get("picture").buffer).reduce((sum, byte) => sum + byte, 0);
    } };"""
    views = [FrozenView("attention", {"tokens": [HOSTILE[0], "b"], "picture": bytes([1, 2, 3])})] * 2
    view = browser.new_page()
    said = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.goto(write_page(tmp_path / "page.html", page_of(host, module, views)).as_uri())
    slot = view.locator(".miw-slot[data-sum='6']").nth(1)
    slot.wait_for()
    assert slot.text_content() == HOSTILE[0] + "|b"
    assert said == []
    view.close()
