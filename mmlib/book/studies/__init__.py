"""The experiments of the book, each defined once: chapters run them, or read them from `book/results`."""

from functools import partial

from mmlib.book.drawn import TRAININGS
from mmlib.book.studies import (
    after,
    blending,
    diagnoses,
    gap,
    laziness,
    missing,
    mla,
    natural,
    ogm,
    real_standardised,
    real_voices,
    scale,
    verdict,
)
from mmlib.book.studies.base import Study
from mmlib.tuning import FIRST_SEED

# Which two voices are drawn decides much: the spread over seeds is wide where voices are few, and five seeds can by chance
# look far steadier than they are. Ten, where the budget allows.
STUDIES: dict[str, Study] = {
    "naive_fusion": Study(laziness.naive_fusion, 10),
    "remedies": Study(laziness.remedies, 10),
    "optimizers": Study(laziness.optimizers, 10),
    "laziness_map": Study(laziness.laziness_map, 5),
    "blending": Study(blending.blending, 10, ("train_loss", "val_loss", "weight_")),
    "blending_two": Study(blending.blending_two, 10, ("train_loss", "val_loss", "weight_")),
    "blending_optimizers": Study(blending.blending_optimizers, 10, ("train_loss", "val_loss", "weight_")),
    "blending_two_speed": Study(blending.blending_two_speed, 10, ("train_loss", "val_loss", "weight_")),
    "ogm_two_speed": Study(ogm.ogm_two_speed, 5),
    "ogm_digits": Study(ogm.ogm_digits, 5, ("ratio_", "coefficient_")),
    "ogm_digits_sgd": Study(ogm.ogm_digits_sgd, 5, ("ratio_", "coefficient_")),
    "mla_digits": Study(mla.mla_digits, 10),
    "mla_two_speed": Study(mla.mla_two_speed, 10),
    "mla_rest": Study(mla.mla_rest, 10, ("val_loss", "val_accuracy")),
    "missing": Study(missing.missing, 10),
    "missing_scaled": Study(missing.missing_scaled, 10),
    "missing_one": Study(missing.missing_one, 10),
    "gap_methods": Study(gap.gap_methods, 10, ("gap_", "spread_", "val_accuracy")),
    "gap_pinned": Study(gap.gap_pinned, 10, ("gap_", "spread_", "val_accuracy")),
    "gap_unabsorbed": Study(gap.gap_unabsorbed, 10, ("gap_",)),
    "standardised": Study(gap.standardised, 10),
    "real_standardised": Study(real_standardised.real_standardised, real_voices.SEEDS),
    "real_voices": Study(
        real_voices.real_voices, real_voices.SEEDS, ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "weight_")
    ),
    "motion_rates": Study(natural.motion_rates, 3, chooses=True),
    "emoji_rates": Study(natural.emoji_rates, 3, chooses=True),
    "motion": Study(natural.motion, 10),
    "emoji": Study(natural.emoji, 10),
    "natural_curves": Study(natural.natural_curves, 6, ("train_accuracy", "val_accuracy")),
    "natural_missing": Study(natural.natural_missing, 10),
    "natural_people": Study(natural.natural_people, 10),
    "after_rates": Study(after.after_rates, 3, chooses=True),
    "after_constants": Study(after.after_constants, 3, chooses=True),
    "after": Study(after.after, 10),
    "scale_rates": Study(scale.scale_rates, 3, chooses=True),
    "scale": Study(scale.scale, 10),
    "diagnoses": Study(
        diagnoses.diagnoses,
        diagnoses.DRAWS * TRAININGS,
        ("ratio_", "gradient_", "start_", "train_loss_", "val_loss_", "train_accuracy_"),
    ),
    "lengths": Study(scale.lengths, 6, ("length_",)),
    "dose_rates": Study(scale.dose_rates, 3, chooses=True),
    "dose": Study(scale.dose, 10),
}
for _name in verdict.RUN:
    STUDIES[f"verdict_trials_{verdict.key(_name)}"] = Study(
        partial(verdict.tried, _name), verdict.TRIAL_SEEDS, chooses=True, first=FIRST_SEED
    )
for _name in verdict.RUN:
    STUDIES[f"verdict_{verdict.key(_name)}"] = Study(partial(verdict.chosen, _name), verdict.DATA[_name].seeds)
STUDIES["verdict_cost"] = Study(verdict.costs, 5)

__all__ = ["STUDIES", "Study"]
