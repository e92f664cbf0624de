"""The tasks of a run of the script."""

from __future__ import annotations

from ..methods import METHODS
from ..script_arguments import DriverArguments, DriverTrainingArguments
from ..tasks import Task, diagnostics, load_tasks
from ..tasks.all_tasks import find_auxiliaries
from ..tasks.registry import own_definitions
from ..tasks.selection import check_roles, default_auxiliaries, training_names, wants_all_tasks
from ..tasks.task import SPLITS


def load_run_tasks(driver: DriverArguments, args: DriverTrainingArguments, target: str) -> dict[str, Task]:
    """The target, the auxiliaries that the method trains on, and the sets that are scored with their heads."""
    include_path = [path for path in (driver.task_config, driver.include_path) if path is not None]
    own = own_definitions(include_path)
    method = METHODS[args.method]
    trains_auxiliaries = method.trains_on("an auxiliary", target)
    auxiliary = driver.auxiliary or default_auxiliaries(target, own, args.do_train and trains_auxiliaries)
    names = [name for name in training_names(target, auxiliary) if method.trains_on(name, target)]
    check_roles(names, driver.diagnostics, own)
    if wants_all_tasks(auxiliary) and trains_auxiliaries:
        found = find_auxiliaries(names, own, driver.data_dir)
        names += found.taken
        if args.process_index == 0:
            print(found.describe())
    scored = list(driver.diagnostics)
    if driver.make_submission:
        scored += diagnostics(driver.make_submission, names)
    reads_test = args.do_predict or driver.make_submission or args.alpha_data == "test"
    tasks = load_tasks(
        [*names, *scored],
        data_dir=driver.data_dir,
        revision=driver.data_revision,
        include_path=include_path,
        splits=SPLITS if reads_test else ("train", "validation"),
    )
    is_alone = sum(task.head_task is None for task in tasks.values()) == 1
    if is_alone and trains_auxiliaries and args.do_train and [word.lower() for word in auxiliary] != ["none"]:
        raise ValueError(f"the only auxiliary that is named is the target, {target}: name other tasks, or pass none")
    return {
        name: task.select(
            driver.max_train_samples, driver.max_eval_samples, args.resolved_data_seed, driver.max_predict_samples
        )
        for name, task in tasks.items()
    }
