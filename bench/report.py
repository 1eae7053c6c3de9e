"""A report in headless Chromium: axe's findings, light and dark, wide and 360 px. `python -m bench.report report.html FOLDER` prints them
and writes screenshots; as a bench, of a fit on a real table (which PAGE=FILE keeps). Needs Chromium, Node, and axe-core and
playwright-core under the folder that AXE names (npm install)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.common import Row, at_most, data, look
from xmodal import Learner

SCRIPT = """
const load = require('module').createRequire(process.env.AXE + '/');
const { chromium } = load('playwright-core');
const source = require('fs').readFileSync(load.resolve('axe-core/axe.min.js'), 'utf8');
(async () => {
  const [page, folder] = process.argv.slice(2);
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args });
  const found = [];
  for (const colorScheme of ['light', 'dark']) for (const width of [1000, 360]) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, bypassCSP: true });
    const tab = await context.newPage();
    let asked = -1;
    tab.on('request', r => { asked += !r.url().startsWith('data:'); });
    await tab.goto('file://' + page);
    if (folder) await tab.screenshot({ path: `${folder}/${colorScheme}-${width}.png`, fullPage: true });
    const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
    await tab.evaluate(source);
    const { violations } = await tab.evaluate(() => axe.run());
    found.push({ colorScheme, width, wide, asked, violations: violations.map(v => [v.impact, v.id, v.nodes.length]) });
  }
  await browser.close();
  console.log(JSON.stringify(found));
})();
"""


def views(page: Path, folder: Path | None = None) -> list[dict[str, Any]] | None:
    """What each view of the page shows; None where a tool is missing."""
    node, chromium, axe = shutil.which("node"), shutil.which("chromium"), os.environ.get("AXE", "")
    if not (node and chromium and Path(axe, "node_modules/axe-core").is_dir()):
        return None
    with tempfile.TemporaryDirectory() as place:
        script = Path(place, "look.js")
        script.write_text(SCRIPT, "utf-8")
        words = [node, str(script), str(page.resolve()), *([str(folder)] if folder else [])]
        run = subprocess.run(words, env={**os.environ, "CHROMIUM": chromium}, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def rows_of(page: Path, name: str) -> list[Row]:
    """Size, and what axe and the browser find."""
    found = [at_most(f"report of {name}, bytes", page.stat().st_size, 1_000_000, "one HTML file")]
    seen = views(page)
    if seen is not None:
        serious = sum(v[0] in ("serious", "critical") for view in seen for v in view["violations"])
        odd = sum(view["asked"] + (view["wide"] > view["width"]) for view in seen)
        protocol = "axe in headless Chromium, light and dark, 1,000 and 360 px wide"
        found.append(at_most(f"report of {name}, serious findings", serious, 0, protocol, seen))
        found.append(at_most(f"report of {name}, requests and pages wider than the window", odd, 0, protocol))
    return found


def run() -> list[Row]:
    """Of a fit on tweets_sentiment, whose rows hold texts and photos."""
    learner = Learner(target="label", use=["text", "image"], metric="accuracy", split="split").fit(data("tweets_sentiment"))
    look("tweets_sentiment given split", 0, learner.report["answer"]["test"]["metrics"]["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        learner.write_report(page)
        if kept := os.environ.get("PAGE"):
            shutil.copy(page, kept)
        return rows_of(page, "tweets_sentiment")


if __name__ == "__main__":
    seen = views(Path(sys.argv[1]), Path(sys.argv[2]))
    print(*seen or ["skipped: needs node, chromium, and AXE=FOLDER with axe-core and playwright-core"], sep="\n")
