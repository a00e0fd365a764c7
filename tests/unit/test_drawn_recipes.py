"""A share of the recipes that `make recipes SHARE=N` runs."""

from benchmarks.recipes import drawn
from search_spaces.recipes import RECIPES


def test_a_share_is_the_same_for_one_text_and_others_for_another() -> None:
    third = drawn(RECIPES, 3, "one")
    assert len(third) == -(-len(RECIPES) // 3)
    assert third == drawn(RECIPES[::-1], 3, "one")
    assert {one.name for one in third} != {one.name for one in drawn(RECIPES, 3, "two")}
    assert len(drawn(RECIPES[:2], 100, "one")) == 1


def test_all_recipes_are_run_where_no_share_is_asked_for() -> None:
    assert sorted(map(id, drawn(RECIPES, 1, ""))) == sorted(map(id, RECIPES))
