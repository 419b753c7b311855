"""Teach a student of your own a refined data set with TRL, and Redistill nowhere in sight.

python examples/trl_student.py DATA STUDENT OUT      (pip install trl; on a CPU: TRL_CPU=1)

DATA is a folder that the stage publish wrote, or ORG/NAME of the hub; STUDENT is a directory or a
hub id. A chat model reads the view messages, others the view sft; loss is on the answers alone.
"""

import os
import sys

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main(data: str, student: str, out: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student)
    rows = load_dataset(data, "messages" if tokenizer.chat_template else "sft", split="train")
    rows = rows.remove_columns("id")
    texts = [" ".join(map(str, row.values())) for row in rows]
    longest = max(len(ids) for ids in tokenizer(texts)["input_ids"])
    settings = SFTConfig(
        out,
        num_train_epochs=float(os.environ.get("EPOCHS", "3")),
        assistant_only_loss=bool(tokenizer.chat_template),
        completion_only_loss=not tokenizer.chat_template,
        max_length=longest + 64,  # TRL cuts what is longer, and the answer with it
        report_to=os.environ.get("TRACKER", "none"),
        use_cpu=bool(os.environ.get("TRL_CPU")),
    )
    trainer = SFTTrainer(student, args=settings, train_dataset=rows, processing_class=tokenizer)
    print(f"{len(rows)} rows, mean loss {trainer.train().training_loss:.3f}")
    trainer.save_model(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
