"""`v2a-data doctor`: is everything here that the work needs?"""

from v2a_data.cli.common import Common
from v2a_data.errors import ExitCode


def doctor(common: Common) -> int:
    """Check versions, ffmpeg, JavaScript runtime, torch, GPU, disk and models; each failure with its fix."""
    from v2a_data.doctor import checks

    found = checks(common.workspace, common.recipe)
    lines = [
        f"{'ok  ' if c.ok else 'warn' if c.optional else 'FAIL'}  {c.name}: {c.found}"
        + ("" if c.ok else f"\n      {c.fix}")
        for c in found
    ]
    values = [{"name": c.name, "ok": c.ok, "optional": c.optional, "found": c.found, "fix": c.fix} for c in found]
    broken = [c for c in found if not c.ok and not c.optional]
    common.console.result({"ok": not broken, "checks": values}, "\n".join(lines))
    return ExitCode.FAILURE if broken else ExitCode.OK
