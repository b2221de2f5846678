"""What stands beside the shards: index, dataset card, Croissant, and the sums over all of it; from the ledger."""

from pathlib import Path

from v2a_data.files import sha256_file
from v2a_data.recipe import Recipe
from v2a_data.shards.card import write_card
from v2a_data.shards.format import CARD_FILES, INDEX_FILE
from v2a_data.shards.index import ledger_shards, write_index
from v2a_data.shards.sums import SUMS_FILE, Sums, read_sums, write_sums
from v2a_data.workspace import Workspace


def write_beside(workspace: Workspace, recipe: Recipe) -> list[str]:
    """Write `index.parquet`, `README.md`, `croissant.json` and `SHA256SUMS`. Same ledger, same bytes.

    Files that are sound and say what the ledger says stay as they are; returns the names of those that were written.
    The sums come last: whatever stops this, the next call finds what they do not vouch for. The index is hashed each
    time, so that a byte that flipped in it does not find its way into the sums.
    """
    folder, shards = workspace.shards, ledger_shards(workspace.ledger)
    standing = _standing(folder)
    index, written = folder / INDEX_FILE, []
    stands = standing is not None and standing.shards == shards and index.is_file()
    if not (stands and standing is not None and sha256_file(index) == standing.index_sha256):
        write_index(workspace, recipe)
        written.append(INDEX_FILE)
    written += write_card(workspace, recipe)
    cards = {name: sha256_file(folder / name) for name in CARD_FILES if (folder / name).is_file()}
    if write_sums(folder, Sums(sha256_file(index), shards, cards)):
        written.append(SUMS_FILE)
    return written


def _standing(folder: Path) -> Sums | None:
    try:
        return read_sums(folder)
    except (OSError, ValueError):
        return None
