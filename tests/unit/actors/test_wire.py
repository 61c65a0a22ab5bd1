"""What crosses between actors is what was sent, and small."""

from actors.wire import packed, unpacked
from engine.control import Failure, Quotes
from engine.messages import AsOf, QuoteRequest


def test_messages_come_back_equal_and_of_their_kind() -> None:
    request = QuoteRequest(b"t" * 20, True, False, 10**30, for_block=7)
    sent = (Quotes((request, request)), Failure("CallerError", "code", "why"), None, {"a": (1,)})
    for message in (*sent, AsOf(1, None, -1, "sealed", (2, 3))):
        got = unpacked(packed(message))
        assert got == message and type(got) is type(message)


def test_message_is_plain_pickle_that_names_its_class_only() -> None:
    # Cloudpickle would write a class of `__main__` out in full.
    assert len(packed(Quotes((QuoteRequest(b"t" * 20, True, False, 1),)))) < 200
