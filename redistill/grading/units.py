"""The units of amounts, in their usual spellings: 5 kilometres is 5 km, and not 5 m."""

import re

from redistill.grading import numbers, words
from redistill.grading.numbers import MAX_LENGTH, Numeral, first, tidy

# A name, and how else it is written. Any other word beside a number is no unit, and not looked at.
MEASURES = """
    km kms kilometre kilometres kilometer kilometers
    m metre metres meter meters
    cm cms centimetre centimetres centimeter centimeters
    mm millimetre millimetres millimeter millimeters
    mi mile miles
    yd yds yard yards
    ft foot feet
    in inch inches
    kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes
    g gram grams gramme grammes
    mg milligram milligrams
    tonne tonnes
    ton tons
    lb lbs
    pounds pound
    oz ounce ounces
    l L litre litres liter liters
    ml millilitre millilitres milliliter milliliters
    cl centilitre centilitres centiliter centiliters
    gal gallon gallons
    pint pints
    quart quarts
    ms millisecond milliseconds
    s sec secs second seconds
    min mins minute minutes
    h hr hrs hour hours
    day days
    week weeks wk wks
    month months
    year years yr yrs
    ° degree degrees deg
    °C celsius centigrade
    °F fahrenheit
    rad radian radians
    % percent pct percentage
    mph
    km/h kmh kph
    rpm
"""
MONEY = """
    $ dollar dollars
    ¢ cent cents
    € EUR euro euros
    £ GBP
    pence penny
    ¥ yuan yen
    ₹ INR Rs rupee rupees
    USD
    CAD
    AUD
    JPY
    CNY
    CHF franc francs
"""
LINES = [line.split() for line in (MEASURES + MONEY).split("\n") if line]
NAMES = {word: line[0] for line in LINES for word in line}
# What has more than one meaning is the same as each of them.
MEANINGS = {
    "pounds": {"lb", "£"},
    "°": {"°", "°C", "°F"},
    "$": {"$", "USD", "CAD", "AUD"},
    "¥": {"¥", "JPY", "CNY"},
    "m": {"m", "mi", "min"},
}
LENGTHS = {"mm", "cm", "m", "km", "in", "ft", "yd", "mi"}
SPEEDS = {"s", "min", "h"}  # what a speed is a length in
SIGNS = "".join(name for name in NAMES if name in words.CURRENCY)
CIRCLE = re.compile(r"\^ ?\{?\\circ\}?|\\degree(?![A-Za-z])")
PERCENT = re.compile(r"\bper cent\b", re.IGNORECASE)
UNIT = re.compile(
    rf"\s*+(?:US\s)?(?:(square|sq|cubic|cu)\b\.?\s++)?(?:(km/h|%|[{SIGNS}¢])|(?:degrees?\s++|°\s?)"
    r"(celsius|centigrade|fahrenheit|[CF])\b|([A-Za-z]{1,12}+|°))(\^?[23](?![0-9])|[²³])?\.?",
    re.IGNORECASE,
)
RATE = re.compile(r"\s*+(?:/|\bper\b|\ban?\b)\s*+([A-Za-z]{1,12}+)", re.IGNORECASE)
ENDED = re.compile(r"[\s.,;:!?*_`)\]$]*+\Z")
FAR = 80  # characters behind a number in which its unit stands
IDLE = str.maketrans("~", " ", "\\{}")
POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3", "²": "^2", "³": "^3",
          "2": "^2", "3": "^3"}  # fmt: skip
RATES = {"mi/h": "mph"}


def written(text: str, numeral: Numeral) -> str:
    r"""
    Write *numeral*, which stands in *text*, with its unit where it has one.

    >>> from redistill.grading.numbers import scan
    >>> [written(t, scan(t)[0]) for t in ("5 kilometres long", "-$5 a day", "5 apples", "$18$")]
    ['5 km', '-$5/day', '5', '18']
    """
    name = unit(text, numeral)
    if name is None:
        return numeral.text
    if name[0] in SIGNS:
        sign = "-" if numeral.text[0] == "-" else ""
        return f"{sign}{name[0]}{numeral.text.removeprefix('-')}{name[1:]}"
    return f"{numeral.text}{name}" if name[0] == "%" else f"{numeral.text} {name}"


def unit(text: str, numeral: Numeral) -> str | None:
    r"""
    Name the unit of *numeral*, which stands in *text*: the one behind it, or the money before it.

    >>> from redistill.grading.numbers import scan
    >>> [unit(t, scan(t)[0]) for t in ("60 miles per hour", "5 square feet", "Rs. 5", "5 pears")]
    ['mph', 'ft^2', '₹', None]
    >>> [unit(t, scan(t)[0]) for t in (r"12\text{ cm}^2", "5 in.", "5 in all", "so 5$", "so $5$")]
    ['cm^2', 'in', None, '$', None]
    """
    rest = text[numeral.end : numeral.end + FAR]
    rest = CIRCLE.sub("°", rest) if "\\" in rest else rest
    rest = PERCENT.sub("%", words.COMMAND.sub(" ", rest).translate(IDLE))
    formula = "$" in rest and "$" in text[: numeral.end]
    match = UNIT.match(rest)
    name = _behind(match, rest, formula) if match is not None else None
    end = match.end() if match is not None and name is not None else 0
    name = name or _before(text, numeral, formula)
    rate = RATE.match(rest, end)
    over = _known(rate[1]) if rate is not None else None
    joined = name if name is None or over is None else f"{name}/{over}"
    return RATES.get(joined, joined) if joined is not None else None


def read(text: str) -> tuple[str, str | None] | None:
    """
    Read the number that *text* is, as `numbers.first` does, and its unit; None where it is none.

    The number is written with its unit. What `numbers.first` looks at is looked at here.

    >>> read("5 kilometres"), read("18 apples"), read("2 hours 30 minutes")
    (('5 km', 'km'), ('18', None), None)
    """
    text = tidy(text[: 4 * MAX_LENGTH])
    found = first(text)
    return None if found is None else (written(text, found), unit(text, found))


def differ(one: str | None, other: str | None) -> bool:
    """
    Say whether two names of units are those of different ones; what has none fits all.

    What something is counted by may be left out, as the question says it, but of a length: a
    distance is no speed. A letter m is metres, miles or minutes.

    >>> differ("km", "m"), differ("pounds", "lb"), differ("km", None), differ("km", "km/h")
    (True, False, False, True)
    >>> differ("%", "%/y"), differ("h", "h/day"), differ("mi", "mi/day"), differ("m", "min")
    (False, False, False, False)
    >>> differ("$", "$/h"), differ("$/h", "$/day"), differ("$/h", "¢")
    (False, True, True)
    """
    if one is None or other is None or one == other:
        return False
    (left, _, per), (right, _, by) = one.partition("/"), other.partition("/")
    if per != by and ((per and by) or (left in LENGTHS and (per or by) in SPEEDS)):
        return True
    return not MEANINGS.get(left, {left}) & MEANINGS.get(right, {right})


def apart(one: str, other: str) -> bool:
    """Say whether two texts that are one number each have units, and different ones."""
    if numbers.WHOLE.fullmatch(one) or numbers.WHOLE.fullmatch(other):  # as nearly all are
        return False
    left, right = read(one), read(other)
    return left is not None and right is not None and differ(left[1], right[1])


def _behind(match: re.Match[str], rest: str, formula: bool) -> str | None:
    measure, sign, scale, word, power = match.groups()
    if scale is not None:
        return "°C" if scale[0] in "cC" else "°F"
    name = _known(sign or word)
    if name is None or (name == "$" == sign and formula):
        return None
    if word == "in" and not (power or ENDED.match(rest, match.end())):
        return None
    return name + POWERS.get((measure or power or "").lower(), power or "")


def _known(word: str) -> str | None:
    """The name of the unit that *word* is; what is one letter is one as it is written alone."""
    return NAMES.get(word) or (NAMES.get(word.casefold()) if len(word) > 1 else None)


def _before(text: str, numeral: Numeral, formula: bool) -> str | None:
    """The currency before *numeral*; two dollar signs around it are those of a formula."""
    for sign in text[numeral.start : numeral.end]:
        if sign in SIGNS:
            return None if sign == "$" and formula else sign
    word = text[: numeral.start].strip(" \t*_`'\"([{$")
    return _known(word.rstrip(".")) if word in words.MONEY else None
