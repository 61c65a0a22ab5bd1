"""Who is kept and who is ended, of all that is there when a supervisor comes."""

from hypothesis import given
from hypothesis import strategies as st

from engine.adoption import Adoption, Found, adopt
from engine.control import Instance, Pong

SLOTS = {"keeper": "keeper", "shard-0": "shard", "shard-1": "shard"}


def pong(slot: str, number: int, *, started: bool = True) -> Pong:
    role = slot.split("-", maxsplit=1)[0]
    return Pong(slot, role, f"risecurve/{slot}/{number}", number, started=started)


def silent(slot: str, number: int) -> Instance:
    return Instance(slot, "", f"risecurve/{slot}/{number}", number, "a")


def test_who_answers_keeps_its_slot_and_one_that_is_wanted_no_more_too() -> None:
    there = pong("keeper", 1), pong("shard-7", 2)
    assert adopt(Found(there), SLOTS) == Adoption(
        {"keeper": there[0].instance, "shard-7": there[1].instance}, ()
    )


def test_one_whose_role_is_not_built_is_ended_and_its_slot_is_left_empty() -> None:
    unbuilt = pong("keeper", 1, started=False)
    assert adopt(Found((unbuilt,)), SLOTS) == Adoption({}, (unbuilt.instance,))


def test_one_that_does_not_answer_keeps_a_slot_that_nobody_else_has() -> None:
    unbuilt, answers = pong("keeper", 1, started=False), pong("shard-0", 2)
    found = Found((unbuilt, answers), (silent("keeper", 3), silent("shard-0", 4)))
    assert adopt(found, SLOTS) == Adoption(
        {
            "shard-0": answers.instance,
            "keeper": Instance("keeper", "keeper", "risecurve/keeper/3", 3, "a"),
        },
        (unbuilt.instance, silent("shard-0", 4)),
    )


def test_second_of_a_slot_a_stranger_and_one_that_is_silent_where_nobody_is_wanted_are_ended():
    first, second, other = pong("keeper", 1), pong("keeper", 2), pong("cook", 3)
    found = Found((first, second, other), (silent("shard-7", 4), silent("shard-1", 5)))
    adopted = adopt(found, SLOTS)
    assert adopted.kept.keys() == {"keeper", "shard-1"}
    assert adopted.ended == (second.instance, other.instance, silent("shard-7", 4))


def test_supervisors_are_neither_kept_nor_ended() -> None:
    found = Found((pong("supervisor", 1, started=False),), (silent("supervisor", 2),))
    assert adopt(found, SLOTS) == Adoption({}, ())


names = st.sampled_from(["keeper", "shard-0", "shard-1", "shard-7", "cook", "supervisor"])


@given(st.lists(st.tuples(names, st.booleans(), st.booleans()), max_size=12))
def test_everybody_but_supervisors_is_either_kept_in_its_own_slot_or_ended(
    there: list[tuple[str, bool, bool]],
) -> None:
    pongs, quiet = [], []
    for number, (slot, answers, started) in enumerate(there):
        if answers:
            pongs.append(pong(slot, number, started=started))
        else:
            quiet.append(silent(slot, number))
    adopted = adopt(Found(tuple(pongs), tuple(quiet)), SLOTS)
    assert all(slot == one.slot for slot, one in adopted.kept.items())
    judged = [one.name for one in (*adopted.kept.values(), *adopted.ended)]
    all_names = [one.name for one in (*pongs, *quiet) if "supervisor" not in one.name]
    assert sorted(judged) == sorted(all_names)
