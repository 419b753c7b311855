"""Distil on policy with TRL's GOLD: the student writes, an open teacher scores every token.
python examples/trl_on_policy.py DATA STUDENT TEACHER OUT   (pip install trl; on a CPU: TRL_CPU=1)
DATA is what the stage publish wrote, a folder or ORG/NAME of the hub; see docs/ladder.md.
"""

import os
import sys

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.experimental.gold import GOLDConfig, GOLDTrainer


def main(data: str, student: str, teacher: str, out: str) -> None:
    tokenizer, other = (AutoTokenizer.from_pretrained(name) for name in (student, teacher))
    view = "messages" if tokenizer.chat_template else "sft"
    rows = load_dataset(data, view, split="train").remove_columns("id")
    settings = GOLDConfig(
        out,
        lmbda=1.0,  # every text is the student's own
        beta=1.0,  # reverse KL: the student keeps to what the teacher finds likely
        use_uld_loss=tokenizer.get_vocab() != other.get_vocab(),
        teacher_tokenizer_name_or_path=teacher,
        max_steps=int(os.environ.get("STEPS", "500")),
        per_device_train_batch_size=int(os.environ.get("BATCH", "8")),
        learning_rate=1e-5,
        max_completion_length=int(os.environ.get("TOKENS", "256")),
        include_num_input_tokens_seen="non_padding",
        use_cpu=bool(os.environ.get("TRL_CPU")),
    )
    models = [AutoModelForCausalLM.from_pretrained(name) for name in (student, teacher)]
    trainer = GOLDTrainer(*models, args=settings, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    print(f"{settings.max_steps} steps, {trainer.state.num_input_tokens_seen:,} tokens seen")
    trainer.save_model(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
