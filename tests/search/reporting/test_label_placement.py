"""Labels beside points that lie close together."""

from __future__ import annotations

from itertools import combinations

from search.reporting import label_placement


def boxes(points: dict[int, tuple[float, float]], texts: dict[int, str]) -> list[label_placement.Box]:
    places, sides = label_placement._pixels(points), label_placement.sides(points, texts)
    assert set(sides) == {key for key in points if texts.get(key)}
    assert set(sides.values()) <= set(label_placement.SIDES)
    return [label_placement._box(places[key], texts[key], side) for key, side in sides.items()]


def test_close_points_have_labels_apart() -> None:
    points = {0: (0.0, 0.0), 1: (1.0, 1.0), 2: (1.01, 1.0), 3: (1.0, 0.98), 4: (0.99, 1.01)}
    texts = {1: "best-clip", 2: "best-aesthetic", 3: "knee", 4: "most-improved", 0: "baseline"}
    found = boxes(points, texts)
    assert len(found) == 5
    assert not any(label_placement._meet(a, b) for a, b in combinations(found, 2))


def test_a_label_stays_in_the_plot_and_off_other_points() -> None:
    points = {0: (0.0, 0.0), 1: (1.0, 1.0), 2: (0.9, 1.03)}
    (box,) = boxes(points, {1: "a label too long for the right side"})
    assert box[0] >= 0 and box[2] <= label_placement.WIDTH
    x, y = label_placement._pixels(points)[2]
    assert not (box[0] <= x <= box[2] and box[1] <= y <= box[3])


def test_one_point_and_no_label() -> None:
    assert label_placement.sides({7: (3.0, 3.0)}, {7: ""}) == {}
    assert label_placement.sides({7: (3.0, 3.0)}, {7: "knee"}) == {7: "top right"}


def test_an_early_label_makes_room_for_a_later_one() -> None:
    """Each placed once where there was room, two of these meet."""
    points = {0: (0.81, 0.81), 1: (0.52, 0.29), 2: (0.05, 0.38), 3: (0.41, 0.05), 4: (0.05, 1.0), 5: (0.65, 0.23)}
    texts = dict(enumerate(["knee", "best-aesthetic", "best-clip", "most-improved", "best-fid", "baseline"]))
    assert not any(label_placement._meet(a, b) for a, b in combinations(boxes(points, texts), 2))
