"""Tables about fields and slides: finding cells, counting them, time and memory."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.documents.markdown import evidence, evidence_words, figure, interval, table

# (set, what it is measured on, words, key of the figure)
FOUND = (
    ("iml", "report third", "recall of boxed red cells", "recall"),
    ("iml", "report third", "recall of boxed parasitized cells", "recall_parasitized"),
    ("draaslan256", "report third", "F1", "f1"),
    ("draaslan256", "report third", "white cells counted as red", "white_counted_as_red"),
    ("chula", "report third", "points in exactly one cell", "points_in_one_cell"),
    ("chula", "report third", "elliptocytes' points in exactly one", "elliptocytes_in_one_cell"),
    ("bccd", "report third", "recall", "recall"),
    ("bccd", "report third", "white cells counted as red", "white_counted_as_red"),
    ("mpidb_preview", "all 6", "parasites in a counted cell", "parasites_in_counted_cell"),
    ("bbbc041", "all 28", "recall", "recall"),
    ("bbbc041", "all 28", "recall of parasitized cells", "recall_parasitized"),
    ("drawn-monolayer", "20 fields", "F1", "f1"),
    ("drawn-overlapping", "20 fields", "F1", "f1"),
)
MOST_WHITE = 0.02


def cell_finding() -> str:
    """Both finders on every set of fields, against the target; a missed target is in bold."""
    document = evidence("cell_finding") or {}
    rows = []
    for name, part, words, key in FOUND:
        target = document["targets"].get(name, {}).get(key)
        at_most = key == "white_counted_as_red"
        target = MOST_WHITE if at_most else target
        shown = "reported" if target is None else f"{'<=' if at_most else '>='} {target:g}"
        values = [document["finders"][who][name][key] for who in ("learned", "classical")]
        met = target is None or (values[0] <= target if at_most else values[0] >= target)
        first = f"{values[0]:.3f}" if met else f"**{values[0]:.3f}**"
        rows.append((name, part, words, shown, first, f"{values[1]:.3f}"))
    times = document["five_megapixels"]
    words = f"ms on one thread, {times['red_cells']} cells; JPEG decoding {times['decode_ms']:.0f}"
    learned, classical = (f"{times[f'{who}_ms']:.0f}" for who in ("learned", "classical"))
    rows.append(("5 megapixels", "one drawn field", words, "reported", learned, classical))
    return table(("set", "fields", "figure", "target", "learned", "classical"), rows)


# (words, target, evidence, path, format)
SLIDES = (
    *(
        (
            f"shown 95 % intervals that hold the truth, {words}",
            "0.93 to 0.97", "slide_coverage", f"modes.{mode}.coverage", ".3f",
        )
        for words, mode in (
            ("no site profile, the program alone", "no site, alone"),
            ("no site profile, a perfect reader", "no site, perfect"),
            ("no site profile, a careful reader", "no site, careful"),
            ("no site profile, a hasty reader (1 of 100)", "no site, hasty"),
            ("site profile, the program alone", "site, alone"),
            ("site profile, a perfect reader", "site, perfect"),
            ("site profile, a careful reader", "site, careful"),
            ("site profile, a hasty reader (1 of 100)", "site, hasty"),
        )
    ),
    *(
        (
            f"slides without parasites called parasites-detected, {words}",
            (f"<= {target}" if target != "reported" else target),
            "slide_coverage", f"modes.{mode}.false_alarms.share", ".3f",
        )
        for words, mode, target in (
            ("laboratory left out, the program alone", "no site, alone", 0.02),
            ("the same, a careful reader", "no site, careful", 0.01),
            ("the same, a perfect reader", "no site, perfect", 0),
            ("the same, a hasty reader (1 of 100)", "no site, hasty", "reported"),
            ("site profile, the program alone", "site, alone", 0.02),
            ("the same, a careful reader", "site, careful", 0.01),
        )
    ),
    *(
        (
            f"limit of detection by running, {words}",
            f"<= {target}", "slide_coverage", f"limits_by_running.{where}", ".4f",
        )
        for words, where, target in (
            ("careful reader, 5,000 cells", "nih, no site.5000.reader careful", 0.0012),
            ("the same, 1,000 cells", "nih, no site.1000.reader careful", 0.006),
            ("the same, 5,000 cells, without cells of suspect label",
             "nih, no site, no doubtful labels.5000.reader careful", 0.0012),
            ("the same, 1,000 cells, without cells of suspect label",
             "nih, no site, no doubtful labels.1000.reader careful", 0.006),
            ("two readers on one cell, 5,000 cells",
             "nih, no site.5000.two careful readers, one cell", 0.0012),
            *(
                (f"site profile, alone, 5,000 cells: {site}", f"{site}, site.5000.alone", 0.01)
                for site in ("bccd", "chula_more", "cheap_rig", "pbc")
            ),
        )
    ),
    *(
        (
            f"iml as a site of 5 small slides, a reader who knows the boxes: error, {words}",
            "within 0.25", "site_iml", f"slides.{key}.reader.relative_error", ".3f",
        )
        for words, key in (("negatives alone", "negatives"), ("and a positive", "and a positive"))
    ),
    ("kill -9 during review, 200 times: reviews with a lost decision",
     "0", "review_durability", "kill_9.reviews_with_a_lost_decision", "d"),
    *(
        (
            f"{name}: AUC, asexual parasites against plain cells",
            target, "malaria_fields", f"malaria.{name}.auc_asexual", ".3f",
        )
        for name, target in (("iml", ">= 0.95"), ("bbbc041", "reported"))
    ),
    *(
        (
            f"{name} (no malaria): share of cells called at the screening point",
            "reported", "malaria_fields", f"no_malaria.{name}.slide.share_called", ".4f",
        )
        for name in ("bccd", "chula", "draaslan256")
    ),
    ("westlake, `--mask auto`: AUC", ">= 0.985", "malaria_fields", "westlake.auc", ".4f"),
)  # fmt: skip


def screening() -> str:
    """Slides: intervals, false alarms, other laboratories, time, memory."""
    rows = [
        (words, target, figure(name, *where), evidence_words(name))
        for words, target, name, *where in SLIDES
    ]
    name = "malaria_fields"
    truth = figure(name, "westlake.parasitemia_truth", ".3f")
    got = figure(name, "westlake.slide.parasitemia", ".3f")
    shown = got != "-"
    got = f"{got} ({interval(name, 'westlake.slide.ci95')})" if shown else "no number is given"
    rows.append((f"westlake: parasitemia, truth {truth}", "within 25 %", got, evidence_words(name)))
    name = "latency_field"
    got = f"{figure(name, 'times_decoding', '.1f')} ({figure(name, 'whole_path_ms', '.0f')} ms)"
    words = "5-megapixel field: whole path, times its JPEG decoding, one thread"
    rows.append((words, "<= 3", got, evidence_words(name)))
    got = figure("memory_fields", "ratio", ".3f")
    rows.append(("500 fields: peak memory over field 50's", "<= 1.05", got, "memory_fields"))
    return table(("what", "target", "got", "evidence"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "cell-finding": cell_finding,
    "screening": screening,
}
