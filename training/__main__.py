"""`python -m training`: trains a RegNet by a recipe. See `python -m training --help`."""

import argparse
import sys
import textwrap
from pathlib import Path

from training.command import fail, print_paths, start_tensorflow

_EPILOG = """\
examples:
  python -m training                                  the digits, in a minute or two
  python -m training --list                           the recipes and what to expect of them
  python -m training --recipe digits_finetuning       few images of new digits, with and without
                                                      what others taught the network
  python -m training --recipe smoke --workdir /tmp/smoke
  python -m training --set epochs=10 --set learning_rate=0.05 --workdir runs/short
  python -m training --variant RegNetX-200MF --workdir runs/x200

Ends with the accuracy on the test images and the paths of what was written.
Exit status: 0 if it worked, 2 if something asked for is not possible, 130 if interrupted."""


def main(arguments=None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    start_tensorflow()
    from training.errors import UserError
    from training.recipes import get_recipe

    if options.list:
        print(_list())
        return 0
    try:
        recipe = get_recipe(options.recipe, **_changes(options))
    except ValueError as error:
        return fail(parser, error)
    workdir = options.workdir or Path("runs") / recipe.name
    from training import finetuning, train

    verbose = 1 if sys.stdout.isatty() else 2  # bars fill a file with lines
    program = finetuning if recipe.pretraining else train
    begin = finetuning.finetune if recipe.pretraining else train.train_and_evaluate
    try:
        run = begin(recipe, workdir, options.overwrite, verbose, options.data_dir)
    except UserError as error:
        return fail(parser, error)
    except KeyboardInterrupt:
        print(f"\nInterrupted; {workdir} holds an unfinished run.", file=sys.stderr)
        return 130
    print(program.summary(run))
    print_paths(workdir, program.FILES)
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Trains a RegNet by a recipe, tests it, and draws what happened.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", metavar="NAME", default="digits", help="what to train (default: digits)")
    add("--list", action="store_true", help="show the recipes and end")
    add("--variant", metavar="NAME", help="another network, such as RegNetY-400MF; any known name")
    add("--data", metavar="NAME", help="another data set")
    add("--data-dir", metavar="DIR", help="where tensorflow-datasets keeps its data")
    add("--workdir", metavar="DIR", type=Path, help="for the results (default: runs/RECIPE)")
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="change a field of the recipe, such as epochs=10; may be repeated",
    )
    add("--seed", metavar="N", type=int, help="of weights, order and augmentation (default: 0)")
    add("--overwrite", action="store_true", help="replace a finished run in the directory")
    return parser


def _changes(options):
    """The fields to change. An option of its own wins over --set."""
    from training.recipes import parse_change

    changes = dict(parse_change(text) for text in options.set)
    own = {"network": options.variant, "data": options.data, "seed": options.seed}
    return {**changes, **{field: value for field, value in own.items() if value is not None}}


def _list():
    """Every recipe with its description and fields."""
    from training.recipes import RECIPES

    lines = []
    for recipe in RECIPES.values():
        fields = recipe.to_dict()
        lines += [fields.pop("name"), textwrap.indent(fields.pop("description"), "  ")]
        fields["network"] = recipe.config.name
        text = "Fields: " + ", ".join(f"{field}={value}" for field, value in fields.items())
        lines += [textwrap.fill(text, 98, initial_indent="  ", subsequent_indent="    "), ""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    sys.exit(main())
