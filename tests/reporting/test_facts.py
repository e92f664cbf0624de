"""What is kept of a run beside its history."""

from hf_alphavil.reporting import CardScore, CardTask
from hf_alphavil.reporting.facts import RunFacts, read_facts, with_rows, write_facts

TASKS = [CardTask("rte", "sequence_classification", 9), CardTask("ner", "token_classification", 9)]


def test_facts_return_from_their_file(tmp_path):
    facts = RunFacts(
        "m", "rte", "alphavil", TASKS, [CardScore("rte", "validation", "accuracy", 0.5, 4)], changed={"a": 1}
    )
    write_facts(facts, tmp_path)
    assert read_facts(tmp_path) == facts


def test_an_accuracy_of_rows_is_told_from_others():
    def rows(task, metric, value):
        (score,) = with_rows([CardScore(task, "validation", metric, value)], TASKS, {"rte": 40, "ner": 40})
        return score.rows

    assert rows("rte", "accuracy", 23 / 40) == 40
    assert rows("rte", "f1", 23 / 40) is None
    assert rows("rte", "accuracy", 0.5123) is None  # a user's function that counts otherwise
    assert rows("ner", "accuracy", 23 / 40) is None  # over tokens
