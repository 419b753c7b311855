"""Talk about the exchange that made a rationale, where it should speak of its problem alone."""

import re

from redistill.records.types import Problem

CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"
_PERSON = r"(?:student|pupil|learner|teacher|tutor|instructor|grader)"
_WORK = (
    r"(?:attempt|tr(?:y|ies)|answer|solution|explanation|response|reasoning|working|calculation|"
    r"completion|draft|version|approach)"
)
_ERROR = r"(?:mistake|error|slip|misstep)"
_ERRED = (
    r"(?:forgot\w*|confused|misread|misunderst\w+|miscalculat\w+|miscount\w*|overlook\w*|skipped|"
    r"slip(?:s|ped)?|mix(?:ed|es) up|went wrong|got (?:it |this |that )?wrong|left out|"
    r"made (?:an? )?(?:\w+ )?(?:mistake|error|slip)s?|missed|rushed|ignored|did ?n[o']t read)"
)
_AGAIN = (
    r"(?:re-?writ(?:e|ten)|rephrased?|redone|redo|revised?|correct(?:ed)?|fix(?:ed)?|clarify|"
    r"improved?|refined?|re-?explain(?:ed)?|mend(?:ed)?|repair(?:ed)?|try again|start over)"
)
_OLD = r"(?:previous|earlier|prior|last|first|second|original|old|former|initial|above)"
_WRONG = r"(?:wrong|incorrect|mistaken|flawed|faulty|erroneous)"
_NEW = (
    r"(?:new|improved|corrected|revised|better|worked|rewritten|mended|refined|updated|clearer|"
    r"simpler|step-by-step|detailed)"
)

# What no problem makes right: talk to somebody, of the one who writes, of a text that is refined.
ALWAYS = re.compile(
    r"\bas an ai\b|\blanguage models?\b|\brationales?\b|\bworked (?:answer|solution|example)s?\b"
    r"|\b(?:gold|reference|ground[- ]truth|expected) (?:answer|solution|label)s?\b"
    r"|\bcorrect (?:answer|solution) (?:given|provided)\b|\banswer format\b|\btraining data\b"
    rf"|\byour (?:{_OLD} |{_WRONG} |own )*(?:{_WORK}|{_ERROR}|instruction|request)s?\b"
    rf"|\b(?:let me|i will|i'll|i have|i've|i now|i) {_AGAIN}\b"
    r"|\b(?:let us|let's|we|we will|we'll) (?:now )?(?:correct|fix|redo|revise|mend|try again)\b"
    rf"|\bhere(?:'s| is| are)(?: the| an?| my| your)* {_NEW} (?:{_WORK}|one|steps?)s?\b"
    r"|\bi (?:was|am|have been) (?:asked|told)\b|\bi apologi[sz]e\b|\bi hope (?:this|that|it)\b"
    r"|\bas (?:instructed|requested)\b|\bnotes? (?:to|for) (?:the|my|your) \w+"
    rf"|\bas (?:an?|your) {_PERSON}(?: would|,)|\bdear {_PERSON}\b|\byour (?:tutor|teacher)\b"
    r"|\A(?:sure|certainly|of course|okay|well done)\b[!,.]"
    r"|\A(?:good|nice|great) (?:try|job|attempt|question|effort)\b"
    rf"|\b{_WORK}s? (?:above|before this|so far|at this problem)\b"
    rf"|\bunlike before\b|\b(?:{_WORK}|{_ERROR})s? from before\b",
    re.IGNORECASE,
)

# What a problem makes right that has the words called `key` itself, in any inflection.
SPOKEN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_PERSON}s?(?:'s|')? (?:{_OLD} |{_WRONG} |own )*(?P<key>{_WORK}|{_ERROR}|work)s?\b",
        rf"\b(?:{_PERSON}s?|model|you|he|she|they|we|it|who) (?:\w+ )?(?P<key>{_ERRED})\b",
        rf"\b(?:{_PERSON}s?|model|you) (?:have |has |only |just )?"
        r"(?P<key>should(?: not|n't)? have|failed to|missed|rushed|ignored|did(?: not|n't) read)\b"
        r"(?! \d)",
        r"\b(?P<key>student|pupil|learner)s? (?:\w+ly |then |just |also )?"
        r"(?:added|subtracted|multiplied|divided|calculated|computed|stopped)\b",
        r"\byou (?:have |had |only |just |then |in)*"
        r"(?P<key>added|subtracted|multiplied|divided|wrote|calculated|missed|stopped|used)\b",
        rf"\b(?:the|this|that|these|those|same|common|easy|typical|frequent|usual|first|his|her|"
        rf"their|its|any|no) (?P<key>{_ERROR})s?\b",
        rf"\b{_OLD} (?:{_WRONG} )*(?P<key>{_WORK})s?\b",
        rf"\b{_WRONG} (?:{_OLD} )*(?P<key>{_WORK})s?\b",
        rf"\b{_WORK}s? (?:(?:is|was|are|were) )?(?P<key>{_WRONG}|not (?:right|correct))\b",
        rf"\bcorrect (?P<key>{_WORK}) (?:is|was|says)\b",
        r"\b(?:the|this) (?P<key>task|prompt|instruction|exercise)s? (?:here |itself |only )?"
        r"(?:is|was|were|asks?|asked|wants?|says?|said|requires?|expects?)\b",
        r"\b(?:the|this) (?P<key>response|completion|draft|attempt)s? (?:only )?"
        r"(?:is|was|were|has|had|got|did|ended|wrote|\w+ed)\b",
        r"\b(?P<key>last time)\b|\bthis time,? (?:we|i|let|it is)\b",
        r"\binstead of (?P<key>add|subtract|multiply|divid)ing\b",
        r"\b(?:the|this) (?P<key>model) (?:\w+ed|wr\w+|got|forgot|went|did)\b",
    )
)
PERSON = re.compile(
    rf"\b(?:the|this|that|your|our) (?P<key>{_PERSON}|reader|solver|beginner)\b"
    r"|\ba (?P<other>learner|pupil|beginner) (?:may|might|could|would|can|should)\b",
    re.IGNORECASE,
)
SELF = re.compile(
    r"\bI(?:'ll|'m|'ve|'d| (?:\w+ly )?(?:will|was|am|have|had|would|should|can|cannot|need|must|"
    r"think|see|know|show|write|explain|suggest|made|said|use|add|take|now|first))\b"
    r"|\b[Mm]y\b|\b[Ll]et me\b"
)
# Words that a calculation has no use for, unless its problem has them.
ASIDE = re.compile(
    r"\b(?P<key>(?:wrong|incorrect|mistake|mistaken|erroneous|error|misread\w*|misunderst\w+|"
    r"attempt|format|instruction|feedback|label|solver|confus\w+)(?:ly|s|ed|ing|ion)?|"
    r"corrects|corrected|corrections?)\b"
    r"|\b(?:this|the|an) (?P<text>explanation)\b|\bbe (?P<care>careful)\b"
    r"|\banswer (?:should|has to) be\b|\banswer is (?:known|given)\b",
    re.IGNORECASE,
)
SCHOOL = re.compile(
    r"\b(?:student|pupil|learn|teach|taught|tutor|instructor|professor|school|class|course|lesson|"
    r"lecture|homework|exam|test|quiz|college|universit|campus|grad(?:e|ing)|study|studi)",
    re.IGNORECASE,
)
SPOKEN_TO = re.compile(r"\b(?:I|me|my|mine|you|your|yours)\b", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]+")
ENDINGS = ("ing", "ers", "ed", "en", "es", "er", "or", "ly", "ion", "s", "e", "y")
ALIKE = {
    "wrong": ("right", "incorrect", "mistak", "mistaken", "err", "erroneous", "misread"),
    "student": ("pupil", "learn"),
    "teach": ("tut", "instruct", "profess"),
    "attempt": ("try", "tri"),
}  # word by word without endings: who has one of them in the problem may use the others
SAME = {other: word for word, others in ALIKE.items() for other in others}


def talks(problem: Problem, text: str) -> bool:
    """
    Say whether *text* talks about a student, an earlier attempt, or the task of writing it.

    A text may use the words of its problem, in any inflection, so that it can say what the problem
    is about; people of a school it may speak of where the problem is about one. Talk that only the
    making of this text can have led to is found unless the problem has those very words. Where the
    answer is a number the text is a calculation, which has no use for words such as *mistake*,
    *attempt* or *format*; an argument over choices has.
    """
    own = "\n".join(
        [problem.question, *(problem.choices or {}).values(), problem.solution or ""]
    ).replace(CURLY, "'")
    text = text.replace(CURLY, "'")
    if any(match.group().casefold() not in own.casefold() for match in ALWAYS.finditer(text)):
        return True
    if SELF.search(text) and not SPOKEN_TO.search(own):
        return True
    known = _stems(own)
    calculated = not problem.choices and any(sign.isdigit() for sign in problem.answer)
    people = not calculated and SCHOOL.search(own)
    patterns = [*SPOKEN, *([] if people else [PERSON]), *([ASIDE] if calculated else [])]
    return any(not _keys(match) & known for found in patterns for match in found.finditer(text))


def _keys(match: re.Match[str]) -> set[str]:
    """The words of *match* that a problem makes right, without their endings."""
    named = [key for key in match.groupdict().values() if key]
    return _stems(named[0] if named else match.group())


def _stems(text: str) -> set[str]:
    found = {_stem(word) for word in WORD.findall(text.casefold())}
    return found | {SAME[stem] for stem in found if stem in SAME}


def _stem(word: str) -> str:
    """*word* in lower case without its endings, so that inflections of a word are alike."""
    for _ in range(2):
        for ending in ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) > 2:
                word = word.removesuffix(ending)
                break
    return word
