import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import copying

_BACK = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def test_line_spells_each_kind_as_the_manual_has_it():
    row = (1, -(2**255), None, b"\x00\xff", b"", "", "a\\b\tc\nd\re")
    assert copying.line(row) == (f"1\t{-(2**255)}\t\\N\t\\\\x00ff\t\\\\x\t\ta\\\\b\\tc\\nd\\re")
    assert copying.line([]) == ""


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_line_keeps_columns_apart(values):
    line = copying.line(values)
    assert "\n" not in line and "\r" not in line
    back = []
    for column in line.split("\t"):
        plain, rest = "", column
        while rest:
            step = 2 if rest[0] == "\\" else 1
            plain, rest = plain + _BACK.get(rest[:step], rest[:step]), rest[step:]
        back.append(plain)
    assert back == values


def test_line_refuses_what_has_no_spelling():
    with pytest.raises(KeyError):
        copying.line((1.5,))


def test_array_spells_each_kind_as_the_manual_has_it():
    values = [1, -(2**255), None, b"\x00\xff", b"", "", "NULL", 'a"b\\c,{d}']
    assert copying.array(values) == (
        f'{{1,{-(2**255)},NULL,"\\\\x00ff","\\\\x","","NULL","a\\"b\\\\c,{{d}}"}}'
    )
    assert copying.array([]) == "{}"


@given(st.lists(st.text(), max_size=4))
def test_array_keeps_items_apart(values):
    rest, back = copying.array(values)[1:], []
    while rest != "}":
        assert rest[0] == '"'
        plain, rest = "", rest[1:]
        while rest[0] != '"':
            step = 2 if rest[0] == "\\" else 1
            plain, rest = plain + rest[step - 1], rest[step:]
        back.append(plain)
        rest = rest[1:].removeprefix(",")
    assert back == values


def test_array_refuses_what_has_no_spelling():
    with pytest.raises(KeyError):
        copying.array([1.5])
