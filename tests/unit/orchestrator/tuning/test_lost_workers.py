"""How often a trial is handed out again whose worker was lost."""

from orchestrator.tuning.losses import DIED_AGAIN, TAKEN_AGAIN, Losses


def goes_on(losses: Losses, times: int, *, is_taken: bool) -> list[bool]:
    return [bool(losses.reason_to_go_on(0, is_taken=is_taken)) for _ in range(times)]


def test_a_trial_whose_workers_die_is_given_up_soon() -> None:
    assert goes_on(Losses(), DIED_AGAIN + 1, is_taken=False) == [True] * DIED_AGAIN + [False]


def test_machines_that_are_taken_away_do_not_count_as_deaths() -> None:
    losses = Losses()
    assert all(goes_on(losses, DIED_AGAIN + 2, is_taken=True))
    assert all(goes_on(losses, DIED_AGAIN, is_taken=False))


def test_a_trial_that_takes_its_machine_with_it_each_time_is_given_up_too() -> None:
    assert goes_on(Losses(), TAKEN_AGAIN + 1, is_taken=True)[-1] is False


def test_each_trial_is_counted_by_itself() -> None:
    losses = Losses()
    goes_on(losses, DIED_AGAIN, is_taken=False)
    assert losses.reason_to_go_on(1, is_taken=False)
