"""`v2a-data shard`: cut the kept clips and write them as WebDataset shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force, KeepMedia, parse_keep_media
from v2a_data.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from v2a_data.console import Console
    from v2a_data.shards.let_go import LetGo


def shard(
    common: Common,
    samples_per_shard: Annotated[
        int | None, typer.Option("--samples-per-shard", min=1, metavar="N", help="Samples in one tar.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="Captions: .csv or .parquet with text, and video_id or clip_id."),
    ] = None,
    keep_media: KeepMedia = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Cut kept clips exactly and write them as shards.

    Every clip is decoded back and checked; shards, their index and the dataset card go to <workspace>/shards.
    """
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.manifest import own_manifest
    from v2a_data.rebuild import REPORT, check_recipe, compare
    from v2a_data.shards.given import read_texts, refuse_texts
    from v2a_data.shards.let_go import LetGo, let_go
    from v2a_data.shards.write import check_kept
    from v2a_data.shards.write import shard as run_shard

    parse_keep_media(keep_media)
    console = common.console
    texts = read_texts(text) if text is not None else None
    with common.open_workspace(dry_run=dry_run) as workspace:
        if texts is not None:
            refuse_texts(workspace, texts)
        recipe = choose_recipe(workspace, common)
        manifest = own_manifest(workspace)
        if manifest is not None:
            check_recipe(manifest, recipe)
            if samples_per_shard is not None or texts is not None:
                raise UsageError("--samples-per-shard and --text: a dataset that is rebuilt has those of its manifest")
        if dry_run:
            sql = (
                "SELECT COUNT(*) FROM clips WHERE recipe_hash = ? AND verdict = 'keep' "
                "AND clip_id NOT IN (SELECT clip_id FROM samples)"
            )
            waiting = workspace.ledger.value(sql, (recipe.hash,))
            console.result({"dry_run": True, "clips": waiting}, f"would cut {waiting} clips into {workspace.shards}")
            return ExitCode.OK
        check_kept(workspace, recipe)
        workspace.adopt(recipe, force=force)
        with common.record(workspace) as record:
            engine = common.engine()
            try:
                result = run_shard(
                    workspace, recipe, engine, console, samples_per_shard=samples_per_shard, texts=texts, force=force
                )
            finally:
                engine.close()
            refused = dict(result.refused)
            values = {
                "written": result.written,
                "refused": refused,
                "shards": result.shards,
                "samples": result.samples,
            }
            keeps = recipe.fetch.keep_media if keep_media is None else keep_media == "yes"
            gone = LetGo() if keeps else let_go(workspace, recipe)
            values |= {} if keeps else _deleted(gone, console)
            beside = compare(workspace, manifest, workspace.reports / REPORT) if manifest is not None else None
            if beside is not None:
                values["rebuild"] = beside.to_json()
            record.note(recipe_hash=recipe.hash, **values)
        splits = ", ".join(f"{count} {name}" for name, count in result.samples.items())
        lines = [
            f"wrote {result.written} samples now, refused {sum(refused.values())}; {result.shards} shards: {splits}"
        ]
        lines += [f"  {count:5d}  {reason}" for reason, count in result.refused.most_common()]
        if gone.files:
            lines.append(f"deleted the media of {gone.files} videos, {gone.bytes / 1e9:.2f} GB; rows and hashes stay")
        lines += beside.lines() if beside is not None else []
        lines.append(f"in {workspace.shards}; next: v2a train")
        console.result(values, "\n".join(lines))
    return ExitCode.PARTIAL if beside is not None and beside.incomplete else ExitCode.OK


def _deleted(gone: "LetGo", console: "Console") -> dict[str, object]:
    """What became of the media, for `--json`; warns of shards that are not what was written."""
    damaged = list(gone.damaged)
    if damaged:
        words = f"{', '.join(damaged[:5])}: not what was written, so the media of their videos stay"
        console.warn(f"{words}; run `v2a-data repair`")
    return {"media_deleted": gone.files, "media_deleted_bytes": gone.bytes, "damaged_shards": damaged}
