"""The plot of the task weights."""

import pytest
from matplotlib.axes import Axes
from PIL import Image

from hf_alphavil.reporting import plot_task_weights
from hf_alphavil.reporting.plots import DPI, WIDTH, spread
from support.example_run import HISTORY, PRUNED, WITHOUT_ALPHA, plot_with_another_backend
from support.forking import fork


def many_tasks(count):
    values = {f"task_{i}": 1.0 for i in range(count)}
    return [
        {"epoch": 1, "alpha": values, "task_weights": values, "task_weights_used": values, "meta_loss": [1.0, 1.0]}
    ]


@pytest.mark.parametrize(
    ("history", "target", "height"),
    [
        (HISTORY, "rte", 2 * 2.6 + 0.8),
        (HISTORY[:1], "rte", 2 * 2.6 + 0.8),
        (WITHOUT_ALPHA, "rte", 2.6 + 0.8),
        (PRUNED, "rte", 2 * 2.6 + 0.8),
        (many_tasks(20), "task_0", 2 * (0.21 * 20 + 0.3) + 0.8),
    ],
    ids=["two epochs", "one epoch", "without alpha", "pruned", "twenty equal tasks"],
)
def test_the_plot_is_a_png_of_the_expected_size(tmp_path, history, target, height):
    path = plot_task_weights(history, target, tmp_path / "plots" / "task_weights.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        assert picture.size == pytest.approx((WIDTH * DPI, height * DPI), abs=1)
        # Something was drawn, and no label runs over the right edge.
        assert len(picture.convert("L").getcolors()) > 10
        right_edge = picture.convert("L").crop((picture.width - 2, 0, picture.width, picture.height))
        assert right_edge.getextrema() == (255, 255)


def test_values_that_are_missing_or_not_finite_are_left_out(tmp_path):
    last = {**HISTORY[1], "alpha": {"rte": float("nan")}, "task_weights": {"rte": 1.0}}
    assert plot_task_weights([HISTORY[0], last], "rte", tmp_path / "a.png").exists()


def test_a_pruned_task_is_labelled_where_its_line_ends(tmp_path, monkeypatch):
    written = []
    text = Axes.text
    monkeypatch.setattr(Axes, "text", lambda self, x, y, s, **k: (written.append(s), text(self, x, y, s, **k))[1])
    plot_task_weights(PRUNED, "rte", tmp_path / "a.png")
    assert {label for label in written if label.startswith("mrpc")} == {"mrpc  0.00", "mrpc  -0.50"}


def test_an_empty_history_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        plot_task_weights([], "rte", tmp_path / "a.png")


def test_plotting_leaves_the_users_backend_alone(tmp_path):
    assert fork(plot_with_another_backend, tmp_path / "a.png").result == ("svg", False)


def test_labels_are_spread_within_the_range():
    assert spread([], 1, 0, 10) == []
    assert spread([2.0, 8.0], 1, 0, 10) == [2.0, 8.0]
    assert spread([5.0, 5.0, 5.0], 1, 0, 10) == [4.0, 5.0, 6.0]
    assert spread([0.0, 0.0], 1, 0, 10) == [0.0, 1.0]
    assert spread([10.0, 10.0, 10.0], 2, 0, 10) == [6.0, 8.0, 10.0]
    # More labels than fit share the room.
    assert spread([5.0] * 5, 10, 0, 10) == [0.0, 2.5, 5.0, 7.5, 10.0]
