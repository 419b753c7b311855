"""Talk about the exchange that made a rationale, where it should speak of its problem alone."""

import re

from redistill.records.types import Problem

CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"
_PERSON = r"(?:student|pupil|learner|teacher|tutor|instructor|grader|trainee|novice|evaluator)"
_WORK = (
    r"(?:attempt|tr(?:y|ies)|answer|solution|explanation|response|reasoning|working|calculation|"
    r"completion|draft|version|approach|output|reply|write-up|wording|text|conclusion)"
)
_ERROR = r"(?:mistake|error|slip|misstep|blunder|oversight|mix-up|flaw|pitfall)"
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
    r"simpler|simplified|step-by-step|detailed|re-?worked|reworded|rephrased|shortened|fixed|"
    r"repaired|amended|adjusted|polished|cleaned-up)"
)
_MACHINE = (  # whose work a text speaks of that knows how it came about, and who asked for it
    r"(?:completion|output|model|network|assistant|user|prompt|request|reply|draft|generation|"
    r"trainee|novice|solver|instruction|rubric|reviewer)"
)
_SAID = (
    r"(?:sa(?:id|ys)|got|g(?:ave|ives)|wants?|wanted|ask(?:s|ed)|needs?|requests?|requested|would|"
    r"should|must|wrote|writes|ended|ends|ha[sd]|claim(?:s|ed)|expect(?:s|ed)|call(?:s|ed)|"
    r"added|adds|multiplie[sd]|subtract(?:s|ed)|divide[sd]|counted|counts|came|stopped|stops|"
    r"reached|arrived|picked|chose|took|answered|answers|is|was|did|does|makes|made)"
)
_TOO = r"too (?:small|large|high|low|big|short|long|early|soon|late)"

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
    r"|\banswer keys?\b|\b(?:we|i) (?:already )?know (?:that )?the "
    r"(?:\w+ )?answer (?:should|must|has to|already|beforehand|in advance)\b"
    r"|\b(?:we|i) know (?:that )?the (?:correct|right|true) answer\b"
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
    rf"|\b(?:the|this|that|a|an) {_NEW} (?:{_WORK}|steps?|lines?)s? ?(?::|(?:is|are|reads|goes|"
    r"follows|below)\b)"
    r"|\b(?:as|per|on|by|at|to meet|to fulfil+) (?:the |your |this |a )?(?:user's )?requests?\b[,:]"
    r"|\bas (?:required|specified|demanded|asked|told|prompted|directed|prescribed|desired)[,:]"
    r"|\b(?:four|4) hash(?:es)?\b|\bhash (?:signs?|marks?|symbols?)\b|\bpound signs\b"
    r"|\b(?:with|after|behind|use|using|write|by|the|and|a) [`'\"]?####"
    rf"|\b(?:small|smaller|tiny|weak|weaker|larger?|bigger) (?:language )?(?:models?|networks?)"
    rf" (?:\w+ )?{_SAID}\b"
    r"|\b(?:must|should|needs? to|have to|has to|let us|let's) (?:\w+ )?(?:end|finish|close|"
    r"conclude) (?:with|on|in|by) (?:the |a |an )?(?:answer|final|line|format|result|number|hash|"
    r"marker|####|four)"
    r"|\bstep-by-step (?:solution|explanation|answer|reasoning|calculation|breakdown)s?\b"
    rf"|\byour (?:\w+ )?(?:was|is|came out|comes out|were|are|ran) (?:\w+ )?{_TOO}\b"
    r"|\byour (?:sum|total|result|product|difference|count|arithmetic|figure|subtraction|addition|"
    r"division|multiplication|logic|number) (?:was|were|came|did|does|should|must|needs?|ha[sd])\b"
    r"|\bhope(?:fully)?,? (?:this|that|it) (?:\w+ )?(?:clears?|helps?|clarif\w+|makes|explains?)\b"
    r"|\bthank(?:s| you) for (?:the|your|asking|this)\b|\b(?:glad|happy) to help\b"
    r"|\bmatch(?:es|ing)? the (?:target|key|gold|reference|label|expected|given|stated|known)\b"
    r"|\b(?:given|target|stated|provided|supplied|official) (?:key|label|gold)\b"
    r"|\b(?:the )?(?:target|official|provided|supplied|submitted|stated|chosen|returned|proposed|"
    r"intended|desired) (?:answer|solution|option|response)s?\b"
    r"|\b\d+b (?:network|model|parameter)s?\b|\b(?:a|the) (?:small|tiny) network\b|\bfine-?tun(?:e|"
    r"ed|ing)\b"
    r"|\b(?:we|i) (?:were|was|are|am|have been) (?:told|given|informed|asked)\b[^.]{0,20}\b"
    r"(?:(?-i:[A-J])|answer|right|correct|key)\b"
    r"|\b(?:no|got no|lost|without|gets?|earned|full|partial) credit\b"
    r"|\bas was (?:done|said|chosen|picked|written|claimed|tried)\b"
    r"|\bthe (?:sample|example|item|case|question) (?:being|to be|that is) (?:fixed|repaired|"
    r"mended|"
    r"refined|corrected|rewritten|explained|solved|answered)\b"
    rf"|\b{_WORK}s? (?:was|were|got|has been|had been) (?:rejected|marked|graded|judged|"
    rf"discarded)\b"
    r"|\b(?:so|okay|now|well),? the person (?:wants|asks|asked|needs|wanted)\b"
    r"|\bstudent's paper\b|\b(?:choosing|picking|selecting|taking|answering|going for) "
    r"(?:option |choice )?(?-i:[A-J])\b(?:, as| was| instead| again)"
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
        rf"\b(?:the|this|that|its) (?:\w+ )?(?P<key>{_MACHINE})s? (?:\w+ly |also |only |first )?"
        rf"{_SAID}\b",
        rf"\b(?:previous|earlier|prior|former|old) (?:\w+ )?(?P<key>{_WORK}|{_ERROR}|count|sum|"
        r"product|line|step|figure|wording|paragraph)s?\b",
        rf"\b{_WORK}s? (?:that|which) (?:was|were|had been) (?P<key>given|written|made|shown|"
        r"produced|submitted|generated|proposed|sent|turned in|handed in)\b",
        rf"\b(?P<key>{_WORK})s? (?:(?:was|is|were|are|came out|comes out|fell|falls) )"
        rf"(?:\w+ )?(?:off|{_TOO})\b",
        r"\b(?:the|this|that|a) (?P<key>candidate|examinee|test-taker|answerer|respondent|solver|"
        r"responder)"
        r" (?:went|chose|picked|took|said|wrote|selected|opted|answered|settled|added|got|gave)\b",
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
    r"corrects|corrected|corrections?|"
    r"(?:completion|output|prompt|request|user|model|hash|draft|version|reply|replie|response|"
    r"comment|critique|hint|dataset|token|trainee|novice|apprentice|beginner|reader|assistant|"
    r"chatbot|reviewer|evaluator|rubric|guideline|demonstration|paragraph|sentence|phrasing|"
    r"wording|pitfall|trap|blunder|oversight|slip-up|misstep|flaw|fault|mix-up|guess)(?:es|s|ed)?|"
    r"slips?|slipped|prompting|requesting|re-?(?:writ\w+|wrote|phras\w+|word\w*|vis(?:e|ed|ing|"
    r"ion|ions)|stat(?:e|ed|ing)|do|did|done|doing|worked|working|explain\w*|considered)|"
    r"mis(?:count|place|appl|interpret|calculat|comput|judg|took|take|led|lead|handl|us|add|"
    r"label|remember)\w*|careless\w*|careful|oops|sorry|markdown|concise\w*|brief(?:ly)?|"
    r"step-by-step|explain(?:s|ed|ing)?|explanations?|clarif\w+|mend(?:s|ed|ing)?|tempting|"
    r"ignored|overlook\w*|omit\w*|skipped|forg[oe]t\w*|demonstrat\w+|"
    r"training|rubrics?|ai)\b"
    r"|\b(?:this|the|an) (?P<text>explanation)\b|\bbe (?P<care>careful)\b",
    re.IGNORECASE,
)
# The same of phrases, which a problem makes right that has them as they are.
PHRASES = re.compile(
    r"\boff by\b|\banswer (?:should|has to) be\b|\banswer is (?:known|given)\b"
    r"|\b(?:as|like|from|unlike) (?:before|last time)\b|\bin truth\b"
    r"|\bnot (?:right|correct|true)\b|\bshould(?: not|n't) have\b"
    r"|\bshould have (?:been )?(?:added|subtracted|multiplied|divided|counted|used)\b"
    rf"|\b(?:was|were|is|came|comes|comes out|came out) {_TOO}\b"
    r"|\b(?:got|gave|found|wrote|said|reached|obtained) \d[\d,.]* "
    r"(?:before|earlier|at first|by mistake|in error|last time|because|instead)\b"
    r"|\b(?:it|that|which|model|one|sum|answer) (?:got|said|gave) \d"
    r"|\b(?:do not|don't|never|not to|avoid|rather than|no need to|without) "
    r"(?:just |simply |only )?"
    r"(?:add|subtract|multiply|divid|forget|stop|skip|count|repeat|confus|mix)(?:e|ting|ing|"
    r"ping)?\b"
    r"|\b(?:last|final|closing) line\b|\b(?:small|short|single|clear|simple|separate) (?:steps?|"
    r"lines?)\b|\b(?:here|these|below) are the steps\b|\bline by line\b|\bstep by step\b"
    r"|\beach step (?:is|must|should|has|on)\b"
    r"|\b(?:earlier|before|previously|first|once|already),? (?:this|it|that|the \w+) (?:was|were|"
    r"had been) "
    r"(?:given|said|written|found|put|taken|worked out|computed|calculated|answered)\b"
    r"|\b(?:whoever|someone|somebody|anyone|nobody|people|kids|children|many|some|one may|you may)"
    r"(?: \w+ly| often| might| may| would| could| can)? (?:solved?|solving|wrote|write|calculated?|"
    r"computed?|answer(?:ed)?|multipl(?:y|ied)|subtract(?:ed)?|add(?:ed)? (?:here|them|the two))\b"
    r"|\b(?:add|subtract|multiply|divide)s? here\b|\btripped\b|\b(?:went|goes|gone) (?:wrong|"
    r"astray)\b"
    r"|\b(?:failed|faulty|bad|flawed|botched|rejected) (?:run|trial|pass|round|go|sum|line|step)\b"
    r"|\b(?:figure|number|value|result|total|sum|product|\d+) (?:\d+ )?(?:came|comes|arose|stems) "
    r"from "
    r"(?:add|subtract|multipl|divid|forget|count|mis)\w+"
    r"|\b(?:fixes|repairs|mends|corrects|amends) (?:the|this|that|an?) (?:subtraction|addition|"
    r"division|"
    r"multiplication|sum|product|step|calculation|arithmetic|logic|total)\b"
    r"|\b(?:after|before|behind|following) the (?:marker|hashes|sign|signs)\b|\bnext time\b"
    r"|\b(?:evaluation|fine-tuning|finetuning|imitate|imitation)\b",
    re.IGNORECASE,
)
SCHOOL = re.compile(
    r"\b(?:student|pupil|learn|teach|taught|tutor|instructor|professor|school|class|course|lesson|"
    r"lecture|homework|exam|test|quiz|college|universit|campus|grad(?:e|ing)|study|studi)",
    re.IGNORECASE,
)
FIRST_PERSON = re.compile(r"\b(?:I|me|my|mine)\b", re.IGNORECASE)
SPOKEN_TO = re.compile(r"\b(?:I|me|my|mine|you|your|yours)\b", re.IGNORECASE)
YOURS = re.compile(r"\byours?\b", re.IGNORECASE)
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
    "correct": (
        "fix",
        "mend",
        "amend",
        "repair",
        "edit",
        "rectifi",
        "proofread",
        "improv",
        "revis",
    ),
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
    if _unlike(ALWAYS, text, own):
        return True
    known = _stems(own)
    calculated = not problem.choices and any(sign.isdigit() for sign in problem.answer)
    if calculated and (
        _unlike(PHRASES, text, own) or (YOURS.search(text) and not SPOKEN_TO.search(own))
    ):
        return True
    if SELF.search(text) and not (SPOKEN_TO if calculated else FIRST_PERSON).search(own):
        return True
    patterns = [*SPOKEN, *([] if SCHOOL.search(own) else [PERSON]), *([ASIDE] * calculated)]
    return any(not _keys(match) & known for found in patterns for match in found.finditer(text))


def _unlike(pattern: re.Pattern[str], text: str, own: str) -> bool:
    """Say whether *pattern* finds something in *text* that does not stand so in *own*."""
    said = own.casefold()
    return any(found.group().casefold() not in said for found in pattern.finditer(text))


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
