"""Talk about the exchange that made a rationale, where it should speak of its problem alone."""

import re

from redistill.records.types import Problem

_PERSON = r"(?:student|pupil|learner|teacher|tutor|instructor|grader)"
_WORK = (
    r"(?:attempt|tr(?:y|ies)|answer|solution|explanation|response|reasoning|working|calculation|"
    r"completion|draft|version|approach)"
)
_ERROR = r"(?:mistake|error|slip|misstep)"
_ERRED = (
    r"(?:forgot\w*|confused|misread|misunderst\w+|miscalculat\w+|miscount\w*|overlook\w*|skipped|"
    r"slip(?:s|ped)?|mix(?:ed|es) up|went wrong|got (?:it |this |that )?wrong|left out|"
    r"made (?:an? )?(?:\w+ )?(?:mistake|error|slip)s?)"
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
    rf"|\bas an? {_PERSON}(?: would|,? i)\b|\A(?:sure|certainly|of course|okay)\b[!,.]"
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
        rf"\b(?:{_PERSON}s?|model|you) (?P<key>should(?: not|n't)? have|failed to)\b(?! \d)",
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
PERSON = re.compile(rf"\b(?:the|this|that|your|our) {_PERSON}\b", re.IGNORECASE)
SCHOOL = re.compile(
    r"\b(?:student|pupil|learn|teach|taught|tutor|instructor|professor|grad(?:e|ing)|school|class|"
    r"course|lesson|lecture|homework|exam|test|quiz|college|universit|campus|kindergarten|stud(?:y|i))",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_]+")
ENDINGS = ("ing", "ers", "ed", "en", "es", "er", "or", "s", "e", "y")


def talks(problem: Problem, text: str) -> bool:
    """
    Say whether *text* talks about a student, an earlier attempt, or the task of writing it.

    People of a school are let through where the problem is about a school, and other words where
    the problem has them itself in any inflection, so that a text can say what its problem is about.
    Talk that only this exchange can have made is found whatever the problem says, unless the
    problem has those very words.
    """
    own = "\n".join(
        [problem.question, *(problem.choices or {}).values(), problem.solution or ""]
    ).casefold()
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if any(match.group().casefold() not in own for match in ALWAYS.finditer(text)):
        return True
    if PERSON.search(text) and not SCHOOL.search(own):
        return True
    known = {_stem(word) for word in WORD.findall(own)}
    return any(not _keys(match) & known for pattern in SPOKEN for match in pattern.finditer(text))


def _keys(match: re.Match[str]) -> set[str]:
    """The words of *match* that a problem makes right, without their endings."""
    return {_stem(word) for word in WORD.findall(match["key"] or match.group())}


def _stem(word: str) -> str:
    """*word* in lower case without its endings, so that inflections of a word are alike."""
    word = word.casefold()
    for _ in range(2):
        for ending in ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) > 2:
                word = word.removesuffix(ending)
                break
    return word
