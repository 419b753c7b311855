"""
Make a file for the teacher `replay` of rationales that others published.

    python -m benchmarks.published_rationales SOURCE.jsonl data/external/strategy_qa/texts.jsonl

Rows of SOURCE have question, answer, rationale, teacher_correct and source. Kept are those whose
teacher came to the gold answer; the answer is put under the text in our format, as it is missing.
"""

from pathlib import Path

import click

from redistill.records import jsonl

FIELDS = ("id", "question", "answer", "rationale", "draw", "teacher_correct", "source")


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(source: Path, out: Path) -> None:
    """Write the texts of SOURCE that came to the gold answer to OUT, for the teacher `replay`."""
    rows = list(jsonl.read_rows(source, FIELDS))
    kept = [
        {
            "id": row["id"],
            "question": row["question"],
            "text": f"{row['rationale'].strip()}\n#### {row['answer']}",
            "teacher": row["source"],
        }
        for row in rows
        if row["teacher_correct"] and row["rationale"].strip()
    ]
    jsonl.write_rows(out, kept)
    click.echo(f"{len(kept)} of {len(rows)} rationales came to the gold answer: {out}")


if __name__ == "__main__":
    main()
