"""The report as PDF, printed by a browser of this machine that runs without a window."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from results.errors import RunError

BROWSERS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
_SECONDS: Final = 120


class PdfError(RunError):
    """A PDF that cannot be printed on this machine."""


def print_pdf(page: Path, out: Path) -> None:
    """Print a page that needs no network to a PDF file, whole or not at all.

    Args:
        page: The HTML file.
        out: The PDF file; one that is there is replaced.

    Raises:
        PdfError: If there is no browser that can, or it fails.
        OSError: If the file cannot be written.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise PdfError(
            f"--pdf needs Chromium or Chrome, found none of {', '.join(BROWSERS)} on the PATH; install "
            f"one, or "
            f"print {page} from a browser"
        )
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".pdf-") as folder:
        printed = Path(folder) / "page.pdf"
        command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        if os.name == "posix" and os.geteuid() == 0:
            command.append("--no-sandbox")  # a sandbox of root's is refused by the browser
        command += ["--no-pdf-header-footer", f"--print-to-pdf={printed}", page.resolve().as_uri()]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise PdfError(f"{browser} did not print {page} within {_SECONDS} s") from error
        if not printed.is_file():
            said = ended.stderr.strip().splitlines()
            raise PdfError(f"{browser} did not print {page}: {said[-1] if said else 'it said nothing'}")
        printed.replace(out)
