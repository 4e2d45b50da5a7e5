# Judges amounts that Shadow read, by Python's decimal: an implementation of its own. One case per line, fields parted by tabs:
#   N text result                what a number's text was read as
#   M mantissa places result     what mantissa and places were read as
#   C currency text result       what minor units of a currency were read as
#   S a b sum difference         what two amounts that were read add up to and differ by
# A result is `grammar`, `large`, `fine` or the amount as it is written. Prints what it disagrees with, then the number of cases.
import re
import sys
from decimal import ROUND_DOWN, Context, Decimal, Inexact, InvalidOperation, localcontext

GRAMMAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?")
WRITTEN = re.compile(r"-?[0-9]+\.[0-9]{2,9}")
MINOR = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "UGX": 0, "VND": 0, "USD": 2, "EUR": 2, "GBP": 2, "INR": 2, "HUF": 2, "MXN": 2,
         "KWD": 3, "BHD": 3, "TND": 3, "JOD": 3, "OMR": 3, "IQD": 3, "CLF": 4, "UYW": 4}
LIMIT = Decimal(10) ** 18
EXACT = Context(prec=4000, Emax=10**9, Emin=-(10**9), traps=[Inexact, InvalidOperation])


def read(text, shift):
    match = GRAMMAR.fullmatch(text)
    if not match:
        return "grammar"
    exponent = match[1]
    coefficient = text if exponent is None else text[: match.start(1) - 1]
    value = Decimal(coefficient)
    if value == 0:
        return value
    # Beyond every limit whatever the coefficient, and more than decimal takes.
    power = int(exponent or 0) + shift
    if abs(power) > 10**6:
        return "large" if power > 0 else "fine"
    value = EXACT.scaleb(value, power)
    # An amount of too many integer digits is too large, whatever its decimals.
    if abs(value) >= LIMIT:
        return "large"
    units = EXACT.scaleb(value, 9)
    if units != units.to_integral_value(rounding=ROUND_DOWN, context=EXACT):
        return "fine"
    return value


def agrees(expected, result):
    if isinstance(expected, str):
        return result == expected
    return bool(WRITTEN.fullmatch(result)) and Decimal(result) == expected and not (expected == 0 and result[0] == "-")


def judge(fields):
    kind = fields[0]
    if kind == "N":
        return agrees(read(fields[1], 0), fields[2])
    if kind == "M":
        return agrees(read(fields[1], -int(fields[2])), fields[3])
    if kind == "C":
        return agrees(read(fields[2], -MINOR[fields[1]]), fields[3])
    a, b = read(fields[1], 0), read(fields[2], 0)
    return agrees(EXACT.add(a, b), fields[3]) and agrees(EXACT.subtract(a, b), fields[4])


def main():
    cases = disagreed = 0
    with localcontext(EXACT):
        for line in sys.stdin:
            cases += 1
            if not judge(line.rstrip("\n").split("\t")):
                disagreed += 1
                if disagreed <= 20:
                    print("disagrees:", line.rstrip("\n"))
    print(cases, "cases,", disagreed, "disagree")


sys.stdin.reconfigure(encoding="utf-8", newline="\n")
main()
