"""How we ask libx264 for the same bytes every time."""

# Below this width its macroblock tree reads memory that it did not set: about one encode in a hundred differs
# (measured with libx264 165 at widths 64 to 112; never in thousands of encodes from 128 on).
_SAFE_WIDTH = 128


def x264_params(width: int, keyframe_every: int, *more: str) -> str:
    """Value of `x264-params` for pictures `width` px wide with a keyframe at least every so many frames."""
    tree = () if width >= _SAFE_WIDTH else ("no-mbtree=1",)
    return ":".join((f"keyint={keyframe_every}", *more, "threads=1", *tree))
