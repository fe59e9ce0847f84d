"""The folder of a population: its specification, and a result for each network."""

from pathlib import Path

from regnet_tf import RegNetConfig
from regnet_tf._checks import check, check_choice, check_int, check_number
from regnet_tf._errors import UserError
from regnet_tf._files import read_json, write_json

from ..loop.identity import FILE as RUN_FILE
from ..results import FAILED, Results

FILES = {
    "spec.json": "what the population is made of",
    "results.jsonl": "a line for each network: configuration, costs, test errors",
}
TRAINED = "trained"
COSTS = ("flops", "parameters", "activations")


def population_results(folder: Path) -> Results:
    """Returns the results of the population in a folder."""
    return Results(folder, check_network)


def check_network(result):
    """Raises ValueError, TypeError or KeyError if this is not a result of `network.result_of`."""
    config = RegNetConfig.from_dict(result["config"])
    check("identity", result["identity"], result["identity"] == config.identity, "the network's")
    check_choice("status", result["status"], (TRAINED, FAILED))
    for name in COSTS:
        check_int(name, result["complexity"][name], minimum=0)
    if result["status"] == TRAINED:
        for name in ("final_error", "least_error"):
            check_number(name, result[name], minimum=0)


def claim(folder, specification):
    """Writes the specification of a population to its folder.

    A folder may hold the same population with fewer networks: the longer list begins with them.

    Raises:
        UserError: if the folder belongs to another population, or to a run of `regnet train`.
    """
    path = Path(folder) / "spec.json"
    fields = specification.to_dict()
    if (Path(folder) / RUN_FILE).exists():
        raise UserError(f"{folder} holds a run of `regnet train`. Give another --out.")
    if path.exists():
        before = read_json(path)
        differing = sorted(k for k in {*before, *fields} if before.get(k) != fields.get(k))
        if differing == ["count"] and before["count"] > specification.count:
            raise UserError(
                f"{folder} holds {before['count']} networks of this population."
                f" Give at least this count, or another --out. Received: {specification.count}"
            )
        if differing and differing != ["count"]:
            raise UserError(
                f"{folder} holds another population: {', '.join(differing)} of its spec.json"
                f" {'differs' if len(differing) == 1 else 'differ'}. Give another --out."
            )
    elif population_results(folder).path.exists():
        raise UserError(f"{folder} holds results without a spec.json. Give another --out.")
    write_json(path, fields)
