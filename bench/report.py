"""A report in headless Chromium: axe's findings, light and dark, wide and 360 px. `python -m bench.report report.html [FOLDER]`
writes screenshots too. Needs Chromium, Node, and axe-core and playwright-core under the folder that AXE names (npm install)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> int:
    """Prints a line a view; 1 where there is a serious finding, a request, or a page wider than the window."""
    node, chromium, axe = shutil.which("node"), shutil.which("chromium"), os.environ.get("AXE", "")
    if not (node and chromium and Path(axe, "node_modules/axe-core").is_dir()):
        print("skipped: needs node, chromium, and AXE=FOLDER with axe-core and playwright-core")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "look.js")
        script.write_text(SCRIPT, "utf-8")
        words = [node, str(script), str(Path(sys.argv[1]).resolve()), *sys.argv[2:3]]
        run = subprocess.run(words, env={**os.environ, "CHROMIUM": chromium}, capture_output=True, text=True, check=True)
    bad = 0
    for view in json.loads(run.stdout):
        serious = [v for v in view["violations"] if v[0] in ("serious", "critical")]
        bad += bool(serious) + (view["wide"] > view["width"]) + view["asked"]
        print(view)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
