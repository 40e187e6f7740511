"""Headless Chromium: what a page looks like to a reader. Tests that need it are skipped where there is none."""

import json
import re
import shutil
import subprocess
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

CHECK = """
<script>
addEventListener('load', () => {
  const texts = [], empty = [], beyond = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest('script, style, title') || !parent.checkVisibility()) continue;
    const range = document.createRange(), scrolls = parent.closest('.scroll') !== null;
    range.selectNodeContents(node);
    for (const r of range.getClientRects())
      if (r.width && r.height) texts.push([r.left, r.top, r.right, r.bottom, node.data.trim().slice(0, 40), scrolls]);
  }
  const overlapping = [];
  for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {
    const [a, b] = [texts[i], texts[j]];
    if (Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 2 && Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 4)
      overlapping.push([a[4], b[4]]);
  }
  for (const t of texts) if (!t[5] && (t[0] < -1 || t[2] > innerWidth + 1)) beyond.push(t[4]);
  for (const e of document.querySelectorAll('section, svg'))
    if (!e.getClientRects().length || !e.getBoundingClientRect().width || !e.getBoundingClientRect().height)
      empty.push(e.outerHTML.slice(0, 60));
  const light = colour => { const [r, g, b] = colour.match(/[0-9.]+/g).map(Number); return (r + g + b) / 765; };
  const style = getComputedStyle(document.body);
  const result = {width: innerWidth, overflow: document.scrollingElement.scrollWidth - innerWidth, texts: texts.length,
    overlapping, beyond, empty, ground: light(style.backgroundColor), ink: light(style.color)};
  parent.postMessage(JSON.stringify(result), '*');
});
</script>
"""

FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><pre></pre>
<script>addEventListener('message', e => { document.querySelector('pre').textContent = 'LAYOUT' + e.data + 'LAYOUT'; });
</script><iframe src="%s" style="width:%dpx;height:1000px;border:0"></iframe>
"""
"""A window of its own would be 500 pixels wide at least."""


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


SITE = """<!doctype html><body><script>
const frames = %s.map(([path, width]) => {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:1000px;border:0`;
  frame.src = path;
  document.body.append(frame);
  return [path, width, frame];
});
addEventListener('load', () => setTimeout(() => {
  const found = frames.map(([path, width, frame]) => {
    const page = frame.contentDocument, texts = page.body.innerText.length;
    const overflow = page.scrollingElement.scrollWidth - width;
    const missing = [...page.images].filter(image => !image.naturalWidth).map(image => image.src);
    return {path, width, overflow, missing, texts};
  });
  const said = document.createElement('pre');
  said.textContent = 'LAYOUT' + JSON.stringify(found) + 'LAYOUT';
  document.body.append(said);
}, 3000));
</script>
"""


def site(folder: Path, pages: list[str], widths: tuple[int, ...]) -> tuple[list[dict], list[str]]:
    """How the pages of a site come out, served by HTTP: for each of ``pages`` in each width (in pixels) the
    ``overflow`` to the right, images that are ``missing`` and the number of characters ``texts``; and the errors that
    the browser's console shows."""
    (folder / "looked-at.html").write_text(SITE % json.dumps([[page, width] for page in pages for width in widths]))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr"]
        command += [f"--user-data-dir={folder / 'chromium'}", "--virtual-time-budget=20000"]
        url = f"http://127.0.0.1:{server.server_port}/looked-at.html"
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=300)
        server.shutdown()
    found = re.search(r"LAYOUT(\[.*\])LAYOUT", done.stdout)
    assert found, done.stderr
    return json.loads(unescape(found[1])), re.findall(r":(?:ERROR|INFO):CONSOLE.*", done.stderr)


def chromium() -> str:
    """The browser; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


def layout(page: Path, width: int, dark: bool = False) -> dict:
    """How the page comes out in a window: ``width`` of the inside, ``overflow`` in pixels to the right, pairs of
    texts that are ``overlapping``, texts ``beyond`` the window, figures that are ``empty``, and the lightness of
    ``ground`` and ``ink``, 0 to 1."""
    checked = page.with_suffix(".checked.html")
    checked.write_text(page.read_text().replace("</body>", f"{CHECK}</body>"))
    frame = page.with_suffix(".frame.html")
    frame.write_text(FRAME % (checked.name, width))
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=5000"]
    command += [f"--user-data-dir={page.parent / 'chromium'}", f"--blink-settings=preferredColorScheme={int(not dark)}"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r"LAYOUT(\{.*\})LAYOUT", done.stdout)
    assert found, done.stderr
    return json.loads(unescape(found[1]))
