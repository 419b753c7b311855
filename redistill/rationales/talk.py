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
    r"simpler|simplified|step-by-step|detailed)"
)

# What no problem makes right: talk to somebody, of the one who writes, of a text that is refined.
ALWAYS = re.compile(
    r"\bas an ai\b|\blanguage models?\b|\brationales?\b|\bworked (?:answer|solution|example)s?\b"
    r"|\bai (?:assistant|model|system)s?\b|\bnumber signs?\b|\bpreviously (?:wrote|written|given|"
    r"said|answered|tried)\b|\b(?:walk|remind) you\b|\bas you can see\b"
    r"|\b(?:this|the|my) (?:rewrite|revision|rewording|restatement)\b"
    r"|\b(?:according to|per|in|by|follow\w*|against) the (?:reference|instructions?|prompt|"
    r"feedback|guidelines?|rubric|answer key|grader)\b"
    r"|\bfor (?:an? |the )?(?:beginner|learner|reader|small model)s?\b"
    rf"|\bfor (?:an? |the )?{_PERSON}s? to (?:see|notice|understand|know|remember|learn|follow)\b"
    rf"|\b{_WORK}s? (?:given |written |shown )?(?:previously|earlier)\b"
    r"|\banswer keys?\b|\b(?:we|i) know (?:that )?the (?:\w+ )?answer\b"
    r"|\b(?:gold|reference|ground[- ]truth|expected) (?:answer|solution|label)s?\b"
    r"|\bcorrect (?:answer|solution) (?:given|provided)\b|\bthe given (?:answer|solution)\b"
    r"|\banswer format\b|\btraining (?:data|example|purpose|text)s?\b"
    r"|\ba (?:learner|beginner) (?:may|might|could|would|can|should)\b"
    rf"|\byour (?:{_OLD} |{_WRONG} |own )*(?:{_WORK}|{_ERROR}|choice|step|instruction|request)s?\b"
    rf"|\b(?:let me|i will|i'll|i have|i've|i now|i) {_AGAIN}\b"
    r"|\b(?:let us|let's|we|we will|we'll) (?:now )?(?:correct|fix|redo|revise|mend|try again)\b"
    rf"|\b(?:here(?:'s| is| are)|this is|below is)(?: the| an?| my| your)* {_NEW} "
    rf"(?:{_WORK}|one|steps?)s?\b"
    rf"|\b(?:re-?writing|rewording|correcting|fixing|revising|improving) (?:the|this|that|my|your) "
    rf"(?:{_OLD} )?(?:{_WORK}|{_ERROR}|step)s?\b"
    rf"|\b(?:{_PERSON}|model|you|s?he|it) (?:first )?(?:answered|chose|picked|selected|said|wrote)"
    r" (?:option |choice )?\(?(?-i:[A-J])\b|\binstead of [^.\n]{1,40} as before\b"
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
        rf"\b{_PERSON}s?(?:'s|')? (?:{_OLD} |{_WRONG} |own )*"
        rf"(?P<key>{_WORK}|{_ERROR}|work|note|claim|choice|difficulty|difficulties|line|"
        r"misconception|misunderstanding|misreading|confusion|guess|method|thinking|"
        r"understanding)s?\b",
        rf"\b(?:{_PERSON}s?|model|you|he|she|they|we|it|who|what|this|that|attempt|solution) "
        rf"(?:\w+ )?(?P<key>{_ERRED})\b",
        rf"\b(?:{_PERSON}s?|model|you) (?:\w+ly |have |only |just )?"
        r"(?P<key>should(?: not|n't)? have|failed to|missed|rushed|ignored|did(?: not|n't) read)\b"
        r"(?! \d)",
        rf"\b(?:{_PERSON}|model) (?:(?!to\b)\w+ ){{0,2}}(?P<key>seems?|thought|thinks|"
        r"guess(?:ed|es)|assum(?:ed|es)|believ(?:ed|es)|notices?|reali[sz]e\w*|understands?|"
        r"understood|tried|tries|"
        r"on the (?:right|wrong) track)\b",
        r"\b(?P<key>student|pupil|learner)s? (?:\w+ly |then |just |also )?"
        r"(?:added|subtracted|multiplied|divided|calculated|computed|stopped)\b",
        r"\byou (?:have |had |only |just |then |in)*"
        r"(?P<key>added|subtracted|multiplied|divided|wrote|calculated|missed|stopped|used|chose|"
        r"picked|answered|said|thought|were off)\b",
        rf"\b(?:the|this|that|these|those|same|common|easy|typical|frequent|usual|first|his|her|"
        rf"their|its|any|no) (?P<key>{_ERROR})s?\b",
        rf"\b{_OLD} (?:{_WRONG} )*(?P<key>{_WORK})s?\b",
        r"\b(?:previous|earlier|prior) (?P<key>work)\b|\bfull (?P<credit>marks|credit)\b",
        rf"\b{_WRONG} (?:{_OLD} )*(?P<key>{_WORK})s?\b",
        rf"\b{_WORK}s? (?:(?:is|was|are|were) )?(?P<key>{_WRONG}|not (?:right|correct))\b",
        rf"\bcorrect (?P<key>{_WORK}) (?:is|was|says)\b",
        r"\b(?:the|this) (?P<key>task|prompt|instruction|exercise)s? (?:here |itself |only )?"
        r"(?:is|was|were|asks?|asked|wants?|says?|said|requires?|expects?)\b",
        r"\b(?:the|this) (?P<key>response|completion|draft|attempt)s? (?:only )?"
        r"(?:is|was|were|has|had|got|did|ended|wrote|should|must|\w+ed)\b",
        r"\b(?:the|this) (?P<key>misunderstanding|misreading)s?\b",
        r"\b(?P<key>last time)\b|\bthis time,? (?:we|i|let|it is)\b",
        r"\binstead of (?P<key>add|subtract|multiply|divid)ing\b",
        r"\b(?:the|this) (?P<key>model) (?:\w+ed|wr\w+|got|forgot|went|did)\b",
    )
)
PERSON = re.compile(
    rf"\b(?:the|this|that|your|our) (?P<key>{_PERSON}|reader|solver|beginner)\b", re.IGNORECASE
)
SELF = re.compile(
    r"\bI(?:'ll|'m|'ve|'d| (?:\w+ly )?(?:will|was|am|have|had|would|should|can|cannot|need|must|"
    r"think|see|know|show|write|explain|suggest|made|said|use|add|take|now|first))\b"
    r"|\b[Mm]y\b|\b[Ll]et me\b"
)
# Words that a calculation has no use for, unless its problem has them.
ASIDE = re.compile(
    r"\b(?P<key>(?:wrong|incorrect|mistake|mistaken|erroneous|error|misread\w*|misunderst\w+|"
    r"attempt|misunderstanding|misreading|format|instruction|feedback|label|solver|confus\w+)"
    r"(?:ly|s|ed|ing|ion)?|"
    r"corrects|corrected|corrections?)\b"
    r"|\b(?:this|the|an) (?P<text>explanation)\b|\bbe (?P<care>careful)\b"
    r"|\boff by\b|\banswer (?:should|has to) be\b|\banswer is (?:known|given)\b",
    re.IGNORECASE,
)
SCHOOL = re.compile(
    r"\b(?:student|pupil|learn|teach|taught|tutor|instructor|professor|school|class|course|lesson|"
    r"lecture|homework|exam|test|quiz|college|universit|campus|grad(?:e|ing)|study|studi)",
    re.IGNORECASE,
)
FIRST_PERSON = re.compile(r"\b(?:I|me|my|mine)\b", re.IGNORECASE)
SPOKEN_TO = re.compile(r"\b(?:I|me|my|mine|you|your|yours)\b", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]+")
COMMON = set(  # no word by which a problem could be told from another
    WORD.findall("a an did got had has have in is it made not on out that the this to up was went")
)
ENDINGS = ("ing", "ers", "ed", "en", "es", "er", "or", "ly", "ion", "s", "e", "y")
ALIKE = {
    "wrong": ("right", "fail", "incorrect", "mistak", "mistaken", "err", "erroneous"),
    "student": ("pupil",),
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
    if not WORD.search(text):
        return False  # equations alone, as the tutor writes them
    own = "\n".join(
        [problem.question, *(problem.choices or {}).values(), problem.solution or ""]
    ).replace(CURLY, "'")
    text = text.replace(CURLY, "'")
    if any(match.group().casefold() not in own.casefold() for match in ALWAYS.finditer(text)):
        return True
    known = _stems(own)
    calculated = not problem.choices and any(sign.isdigit() for sign in problem.answer)
    if SELF.search(text) and not (SPOKEN_TO if calculated else FIRST_PERSON).search(own):
        return True
    patterns = [*SPOKEN, *([] if SCHOOL.search(own) else [PERSON]), *([ASIDE] * calculated)]
    return any(not _keys(match) & known for found in patterns for match in found.finditer(text))


def _keys(match: re.Match[str]) -> set[str]:
    """The words of *match* that a problem makes right, without their endings."""
    named = [key for key in match.groupdict().values() if key]
    words = WORD.findall((named[0] if named else match.group()).casefold())
    return _stems(" ".join(word for word in words if word not in COMMON))


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
