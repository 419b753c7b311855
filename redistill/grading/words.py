"""The words around a number: its units, those that multiply it, and those that make it another."""

import re

UNIT_WORDS = """
    m km cm mm kg g mg lb lbs oz l L ml mL cl h hr hrs min mins s sec secs ms ft in yd mi mph kmh
    kph rpm usd USD eur EUR gbp GBP dollars dollar cents cent euros pounds hours hour minutes
    minute seconds days day weeks week months years year apples people times percent pct
    percentage degrees miles meters metres feet inches liters litres grams units pieces
"""
UNITS = frozenset(UNIT_WORDS.split())  # known when they stick to a number: 5km, but not 5x
ORDINALS = frozenset({"st", "nd", "rd", "th"})
CURRENCY = "$€£¥₹₩₽₺₫₱฿₦₴₪"
DOLLARS = re.compile(r"\b(?:US|USD|CA|AU|NZ|HK|SG|C|A|S|R) ?\$(?=[0-9.])")  # US$5
MONEY = frozenset({"USD", "EUR", "GBP", "INR", "JPY", "CNY", "CHF", "CAD", "AUD", "Rs", "Rs."})
POWERS = {
    "dozen": 12, "hundred": 10**2, "thousand": 10**3, "lakh": 10**5, "lac": 10**5,
    "million": 10**6, "crore": 10**7, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
SHORT = {"k": 10**3, "K": 10**3, "mn": 10**6, "mln": 10**6, "M": 10**6, "bn": 10**9, "B": 10**9}
SCALES = POWERS | SHORT | {f"{name}s": value for name, value in POWERS.items()}
STICKING = UNITS.union(SCALES)
LONG = "|".join(sorted(POWERS, key=len, reverse=True))
SCALE = re.compile(rf" ?(?:(?i:({LONG})s?\b)|(mn|mln|bn)\b)|([kKMB])\b")
COUNTS = """
    zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    half halves third thirds fourth fourths fifth fifths sixth sixths seventh sevenths eighth
    eighths ninth ninths tenth tenths eleventh elevenths twelfth twelfths thirteenth thirteenths
    fourteenth fourteenths fifteenth fifteenths sixteenth sixteenths twentieth twentieths thirtieth
    thirtieths sixtieth sixtieths hundredth hundredths thousandth thousandths millionth millionths
    tys ribu juta tusen miljon miljoner miljoen 만 tens score gross myriad tn
    tsd tausend mille mil mio mrd тыс тысяч тысячи млн млрд лакх लाख करोड़ हज़ार हजार ألف مليون 半
"""
# Others by which a number is another: "5 below zero", "5 squared", "5 pm", "5 or more", "5 pi".
TURNING = """
    am pm a.m p.m noon midnight bc bce ad ce below minus negative plus squared cubed factorial or
    infinity infinite pi permille promille binary octal hex hexadecimal jan january feb february
    mar apr april jun june jul july aug august sep sept september oct october nov november dec
    december remainder rem
"""
CHANGING = frozenset({*COUNTS.split(), *TURNING.split(), *SCALES})
COUNTED = frozenset({*COUNTS.split(), "one"})
DATES = frozenset({"May", "March", "Mar"})  # in small letters they are other words
SINGLE = frozenset({*(word for word in UNITS if len(word) == 1), *"aACFNJWV"})
ILLION = re.compile(r"\w*(?:illi?on|illi?ard|ilion|ilhõ|illón)\w*")
SIGNS = re.compile("[+=<>≤≥±×÷√∞π‰∑∫]|(?<![A-Za-z])[²³]")
COMMAND = re.compile(r"\\([A-Za-z]{1,12}+)")
# Commands that dress a number, and those that may follow one without changing it.
DRESS = ("text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mathsf", "bf", "rm", "boxed")
AFTER = (*DRESS, "left", "right", "big", "quad", "circ", "degree", "percent")
SETTING = frozenset({*AFTER, "mathit", "mbox", "qquad", "displaystyle"})
MARKS = "\u0300-\u036f\u0900-\u0903\u093a-\u094f\u0962\u0963"  # inside a word, and no letter to re
COMPOUND = re.compile(r"(?<![\w-])[^\W\d_]++(?:-[^\W\d_]++)++(?![\w-])")  # T-shirts, ten-dollar
WORD = re.compile(rf"[^\W_]++(?:[.{MARKS}]++[^\W_]++)*+")
POWER = re.compile(r"(?<=[A-Za-z])\^\{?[23](?![0-9])\}?")  # m^2
# Where an answer has ended, and what is said of it begins.
CLAUSE = re.compile(
    r",? \b(?:because|since|as|so|which|where|who|that|not|but|if|when)\b|[.!?;]\s++(?=[A-Z])"
)
REMAINDER = re.compile(r"\W{0,3}\b(?:remainder|rem|r)\b", re.IGNORECASE)
AREA = re.compile(r"([A-Za-z]{1,3})[23]")


def answered(rest: str) -> str:
    """
    Cut *rest*, what follows a number on its line, where the answer ends and talk about it begins.

    >>> answered(" apples, because 3 > 2"), answered(" ft. 3 in."), answered(". Remainder 2")
    (' apples', ' ft. 3 in.', '. Remainder 2')
    """
    end = CLAUSE.search(rest)
    if end is None or REMAINDER.match(rest, end.start()):
        return rest
    return rest[: end.start()]


def changed(rest: str) -> bool:
    """
    Say whether a word or sign of *rest*, what follows a number as its answer, makes it another.

    Units and things that are counted do not: they are not looked at.

    >>> [changed(rest) for rest in (" apples", " km/h", " pm", " R2", " x", " and a half")]
    [False, False, True, True, True, True]
    """
    if SIGNS.search(rest):
        return True
    if "\\" in rest:
        if any(name not in SETTING for name in COMMAND.findall(rest)):
            return True
        rest = COMMAND.sub(" ", rest)
    rest = COMPOUND.sub(lambda found: found[0] if _counts(found[0]) else " ", rest)
    return any(turns(word) for word in WORD.findall(POWER.sub("", rest)))


def _counts(compound: str) -> bool:
    """Say whether all of *compound* are numbers, as in twenty-five and two-thirds."""
    return all(part.casefold() in COUNTED for part in compound.split("-"))


def turns(word: str) -> bool:
    """Say whether *word* beside a number makes it another: "dozen", "pm", "R2", and "x" does."""
    if len(word) == 1:
        return word not in SINGLE if word.isascii() else word.isnumeric() or word in CHANGING
    if word in DATES or word.casefold() in CHANGING or ILLION.fullmatch(word.casefold()):
        return True
    if word.isalpha() and word.isascii():
        return False
    if any(character.isnumeric() for character in word):
        area = AREA.fullmatch(word)
        return word[-1] not in "²³" if area is None else area[1] in ("r", "R", "x", "y", "n")
    return False
