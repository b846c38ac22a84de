"""A page in headless Chromium: at two widths, in light and dark, as it is laid out there."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--window-size=1400,900",
]
PHONE, DESKTOP = 390, 1280

_MEASURE = """
addEventListener("load", () => setTimeout(() => {
  const measured = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, images = [...page.images], root = page.documentElement;
    const outside = [...page.body.querySelectorAll("*")].filter(one => {
      const box = one.getBoundingClientRect();
      return box.width && !one.closest(".scroll, svg, details:not([open])") && box.right > root.clientWidth + 1;
    });
    return {
      width: root.clientWidth, needs: root.scrollWidth, outside: outside.map(one => one.outerHTML.slice(0, 80)),
      images: images.length, loaded: images.filter(one => one.complete && one.naturalWidth).length,
      paper: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
      small: [...page.body.querySelectorAll("p, span, td, th, dd, li, text")].filter(
        one => one.textContent.trim() && parseFloat(getComputedStyle(one).fontSize) < 10).length,
      requests: frame.contentWindow.performance.getEntriesByType("resource")
        .filter(one => !one.name.startsWith("data:")).length,
    };
  });
  document.body.innerHTML = "<pre id=measured></pre>";
  document.getElementById("measured").textContent = JSON.stringify(measured);
}, 100));
"""


def measure(page: str, folder: Path, dark: bool = False) -> list[dict]:
    """What Chromium makes of a page, on a phone and on a desktop; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: looked for chromium, chromium-browser and google-chrome")
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        for width in (PHONE, DESKTOP)
    )
    outer = folder / "outer.html"
    outer.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}<script>{_MEASURE}</script>", encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [CHROMIUM, *FLAGS, scheme, f"--user-data-dir={folder / 'profile'}", "--dump-dom", outer.as_uri()]
    run = subprocess.run(command, capture_output=True, timeout=120, check=True, encoding="utf-8")
    match = re.search("<pre id=.measured.>(.*?)</pre>", run.stdout, re.DOTALL)
    assert match, run.stdout[-500:] + run.stderr[-500:]
    return json.loads(html.unescape(match[1]))


def check_layout(page: str, folder: Path, images: int) -> None:
    """Nothing sticks out at either width, all images are there, text can be read, and dark is dark."""
    light, dark = measure(page, folder), measure(page, folder, dark=True)
    for each, width in zip(light, (PHONE, DESKTOP), strict=True):
        assert (each["width"], each["needs"]) == (width, width), each["outside"]
        assert each["outside"] == []
        assert each["images"] == each["loaded"] == images
        assert each["small"] == each["requests"] == 0
    assert _brightness(light[0]["paper"]) > 200 > 80 > _brightness(light[0]["ink"])
    assert _brightness(dark[0]["paper"]) < 80 < 180 < _brightness(dark[0]["ink"])


def _brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
