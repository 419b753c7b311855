"""Where thoughts begin and end in the text of an answer, as models that think write it."""

import re

_NAMES = r"(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)"
# <think>, <thinking>, <seed:think>, <think:fast>, <think time="3">, but no self-closing <think/>
_TAG = rf"(?:\w{{1,20}}:)?{_NAMES}(?::[\w.-]{{1,40}})?(?:\s[^<>/]{{0,100}})?>"
_CHANNEL = r"(?:\s[^<>]{0,100})?(?:<\|constrain\|>[^<>]{0,100})?<\|message\|>"
MARK = re.compile(
    rf"""
    (?P<opens>
        (?i:<{_TAG})
      | \[THINK\] | \[unused16\]                                # Magistral; Pangu
      | <\|(?:begin_of_thought|START_THINKING|inner_prefix)\|>  # Sky-T1; Command A; Apertus
      | <\|think\|> | ◁think▷                                   # Solar; Kimi
      | <\|channel>                                             # Gemma 4
      | <\|channel\|>(?!final\b)\w{{1,20}}{_CHANNEL}            # gpt-oss: analysis, commentary
      | \A\s*analysis(?=[A-Z])                                  # the same without its tokens
      | <\|im_start\|>assistant/think\b                         # HyperCLOVA X
      | \A\s*(?i:here(?:'s|\ is)\ my\ thought\ process):?       # Granite 3
    )
    | (?P<closes>
        (?i:</{_TAG})
      | \[/THINK\] | \[unused17\]
      | <\|(?:end_of_thought|END_THINKING|inner_suffix)\|>
      | <\|/think\|> | ◁/think▷
      | <channel\|>
      | <\|channel\|>final\b{_CHANNEL}
      | assistantfinal
    )
    | (?P<ends>                                                 # closes only what was opened
        <\|im_start\|>assistant(?!/think)
      | (?i:here(?:'s|\ is)\ my\ response):?
    )
    """,
    re.VERBOSE,
)


ASKED = re.compile(r"<(/?)rationale>", re.IGNORECASE)  # what prompts ask an answer to stand between


def outside(text: str) -> str:
    """
    Return what stands in *text* outside of thoughts.

    Thoughts stand between two marks of any of the kinds in `MARK`; after an opening one that is
    never closed; and before a closing one that was never opened, since some templates open thoughts
    in the prompt, and since thoughts can name their own closing mark. So a mark of one kind closes
    thoughts that one of another kind opened: no draft passes for an answer because kinds are mixed.

    A model may call the steps of its answer ``<reasoning>``, too. So where thoughts are cut out of
    what stands between the markers of an answer (`ASKED`), the mark is left in their place: what
    remains is not taken for whole.
    """
    kept: list[str] = []
    start, opening = 0, ""
    for mark in MARK.finditer(text):
        if mark["ends"] and not opening:
            continue
        if not opening:
            kept.append(text[start : mark.start()])
        if not mark["opens"]:
            cut = _within_answer("".join(kept), text[mark.end() :])
            kept = [*(kept if opening else []), *([opening or mark.group()] if cut else [])]
        opening, start = mark.group() if mark["opens"] else "", mark.end()
    if not opening:
        kept.append(text[start:])
    return "".join(kept).strip() if start else text


def _within_answer(before: str, after: str) -> bool:
    """Whether an answer that begins in *before* ends in *after*."""
    tags, following = ASKED.findall(before), ASKED.search(after)
    return bool(tags and not tags[-1] and following and following[1])
