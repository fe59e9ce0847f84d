"""A population of networks that train in a few seconds."""

#: Fields of its specification.
TINY = {
    "name": "tiny",
    "space": {
        "name": "RegNetX",
        "stages": 2,
        "depths": [2, 3],
        "initial_widths": [8, 16],
        "width_slopes": [4, 8],
        "group_widths": [4, 8],
        "stem_width": 8,
    },
    "count": 3,
    "window": {"flops": [0, 1e6]},
    "recipe": {
        "name": "smoke",
        "images.size": 16,
        "schedule.epochs": 2,
        "schedule.max_steps": 2,
        "schedule.batch_size": 8,
    },
}
