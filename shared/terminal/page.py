"""A verification's report as one self-contained page, for those who were not there."""

from __future__ import annotations

from html import escape

from shared.application.answers import at_utc
from shared.application.verifying import Report

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1f24; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; font-weight: 600; }
.sound { border-color: #1a7f37; background: #eaf6ec; }
.unsound { border-color: #b3261e; background: #fdecea; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd;
         vertical-align: top; }
th { width: 16rem; font-weight: 500; }
code { font-size: .85em; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #16191d; }
  th, td { border-color: #333; }
  .sound { background: #12301a; } .unsound { background: #3a1513; }
}
"""


def report_page(report: Report) -> str:
    """HTML without any outside request."""
    facts = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{value}</td></tr>'
        for name, value in _facts(report)
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Archive of {escape(report.name)}</title>
<style>{STYLE}</style>
<h1>Archive of {escape(report.name)}</h1>
<p class="verdict {"sound" if report.sound else "unsound"}">{escape(_verdict(report))}</p>
<table>
{facts}
</table>
{_faults(report)}
</html>
"""


def _verdict(report: Report) -> str:
    if not report.sound:
        return f"Not proven: {report.faults_total} fault(s)."
    sample = "" if report.whole else " The blobs of a sample of its slices were read."
    return f"Proven: every document found is what its receipt says. It is {extent(report)}.{sample}"


def extent(report: Report) -> str:
    """How much of its migration an archive is, in words."""
    if report.complete:
        return "complete"
    if report.watermark_s is None:
        return "not complete yet"
    return f"complete up to {at_utc(report.watermark_s)}, the rest so far"


def _facts(report: Report) -> list[tuple[str, str]]:
    superseded = ", ".join(f"<code>{escape(each)}</code>" for each in report.superseded_ids)
    more = report.superseded - len(report.superseded_ids)
    facts = [
        ("Documents", f"{report.documents:,}"),
        ("Slices, one receipt each", f"{report.receipts:,}"),
        ("Bytes of Parquet", f"{report.blob_bytes:,}"),
        ("Slices whose blobs were read", f"{report.slices_read:,}"),
        ("Found sound by an earlier run", f"{report.slices_known:,}"),
        ("Slices compared with the source", f"{report.slices_compared:,}"),
        ("Fingerprint", f"<code>{escape(report.fingerprint)}</code>"),
    ]
    if report.slices_compared:
        text = f"{report.superseded:,}" + (f": {superseded}" if superseded else "")
        facts.append(("Updated or deleted since", text + (f" and {more} more" if more else "")))
    return facts


def _faults(report: Report) -> str:
    if report.sound:
        return ""
    items = "\n".join(f"<li>{escape(fault)}</li>" for fault in report.faults)
    more = report.faults_total - len(report.faults)
    return f"<h2>Faults</h2>\n<ul>\n{items}\n</ul>" + (f"<p>And {more} more.</p>" if more else "")
