"""How many trials a search has: as asked for, by default, or as many as its time allows."""

from results.run.search_request import DEFAULT_TRIALS, TRIALS_OF_TIME, SearchRequest


def test_without_a_limit_it_has_the_default() -> None:
    request = SearchRequest(task="idc")
    assert (request.most_trials, request.asked_trials, request.fills_its_time) == (DEFAULT_TRIALS, 24, False)


def test_a_time_limit_alone_is_filled() -> None:
    request = SearchRequest(task="idc", minutes=2.0)
    assert (request.most_trials, request.asked_trials, request.fills_its_time) == (TRIALS_OF_TIME, None, True)


def test_a_number_is_kept_with_and_without_a_time_limit() -> None:
    for minutes in (None, 2.0):
        request = SearchRequest(task="idc", trials=7, minutes=minutes)
        assert (request.most_trials, request.asked_trials, request.fills_its_time) == (7, 7, False)
