"""watch_cells.py INCOMING TABLE [--once]: classifies every picture of one cell put into a folder.
For research use only. Not for use in diagnostic procedures."""

import csv
import sys
import time
from pathlib import Path

import edge_malaria
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.files import is_image, read_image
from edge_malaria.prepare.isolate import isolate_central_cell


def main(incoming: Path, table: Path, once: bool) -> None:
    bundle = edge_malaria.open_bundle()
    table.touch()
    with table.open("r+", newline="") as handle:
        done = {row[0] for row in csv.reader(handle) if row}
        while True:
            # A file younger than a second may still be being written.
            ripe = [p for p in incoming.iterdir() if time.time() - p.stat().st_mtime > 1]
            for path in sorted(p for p in ripe if p.name not in done and is_image(p)):
                try:
                    crop, mask = isolate_central_cell(read_image(path))
                    [cell] = bundle.classify([crop], [mask])
                    row = [path.name, cell.label, f"{cell.p_parasitized:.3f}"]
                except EdgeMalariaError as error:
                    row = [path.name, "unreadable", str(error)]
                csv.writer(handle).writerow(row)
                handle.flush()
                done.add(path.name)
            if once:
                return
            time.sleep(1.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--once" in sys.argv)
