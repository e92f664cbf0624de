"""What a run leaves behind: its history, a plot of the task weights, tables and a model card."""

from .history import HISTORY_FILE, read_history, write_history
from .model_card import CardTask, write_model_card
from .plots import plot_task_weights
from .scores import CardScore
from .summary import format_comparison_table, format_summary_table
from .verdicts import Verdict, verdicts

__all__ = [
    "HISTORY_FILE",
    "CardScore",
    "CardTask",
    "Verdict",
    "format_comparison_table",
    "format_summary_table",
    "plot_task_weights",
    "read_history",
    "verdicts",
    "write_history",
    "write_model_card",
]
