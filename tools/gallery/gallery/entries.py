"""Every row of the table, in its order; a new graph is a new row."""

from __future__ import annotations

from collections.abc import Iterable

from gallery.entry import Baseline, Entry, Stage
from gallery.pieces import SEED, both, digits, fashion, noisy_digits, noisy_fashion

_FEW_STEPS = ("engine.steps=2",)
# Few tasks as well, and no classifier trained for comparison.
_FEW_TASKS = (
    *_FEW_STEPS,
    "engine.validate.tasks=2",
    "engine.validate.final_tasks=2",
)
_UNTRAINED = Baseline("untrained weights", measured="untrained")
_TRANSFER = Baseline("ordinary classifier", measured="transfer")

FEW_SHOT = (
    Entry(
        "imaml",
        "graphs/imaml.yaml",
        "accuracy",
        (_UNTRAINED, _TRANSFER),
        quick=(*_FEW_TASKS, "engine.validate.transfer_steps=2"),
    ),
    Entry(
        "maml",
        "graphs/maml.yaml",
        "accuracy",
        (_UNTRAINED, _TRANSFER),
        quick=(*_FEW_TASKS, "engine.validate.transfer_steps=2"),
    ),
    Entry(
        "anil",
        "graphs/anil.yaml",
        "accuracy",
        (_UNTRAINED, _TRANSFER),
        quick=(*_FEW_TASKS, "engine.validate.transfer_steps=2"),
    ),
    Entry(
        "reptile",
        "graphs/reptile.yaml",
        "accuracy",
        (_UNTRAINED, _TRANSFER),
        quick=(*_FEW_TASKS, "engine.validate.transfer_steps=2"),
    ),
    Entry(
        "maml_sine",
        "graphs/maml_sine.yaml",
        "loss",
        (_UNTRAINED,),
        quick=_FEW_TASKS,
        better="lower",
        percent=False,
    ),
    Entry(
        "meta_sgd",
        "graphs/meta_sgd.yaml",
        "loss",
        (_UNTRAINED, Baseline("MAML: one rate, fixed", ("problems.rates.optimizer.lr=0.0",))),
        quick=_FEW_TASKS,
        better="lower",
        percent=False,
    ),
)

_CLEANING = "problems.classifier.data.dataset"
_NEEDS_FASHION = "Fashion-MNIST (apt-get install dataset-fashion-mnist)"
_TAIL = (
    f"{{_target_: mlograph.data.long_tail, factor: 100.0, dataset: {digits('train', train=1000)}}}"
)
_DIGITS_ALONE = "tools/gallery/baselines/digits.yaml"

DATA = (
    Entry(
        "cleaning",
        "graphs/cleaning.yaml",
        "accuracy",
        (
            Baseline("all weights equal", ("problems.trust.optimizer.lr=0.0",)),
            Baseline(
                "clean samples alone",
                (
                    "problems.trust.optimizer.lr=0.0",
                    "problems.trust.module.rows=100",
                    f"{_CLEANING}.dataset={digits('validation')}",
                ),
            ),
            Baseline(
                "noisy and clean samples",
                (
                    "problems.trust.optimizer.lr=0.0",
                    "problems.trust.module.rows=700",
                    f"{_CLEANING}.dataset={both(noisy_digits(), digits('validation'))}",
                ),
            ),
        ),
        quick=(*_FEW_STEPS, "problems.classifier.warmup_steps=1"),
    ),
    Entry(
        "fashion_cleaning",
        "graphs/fashion_cleaning.yaml",
        "accuracy",
        (
            Baseline("all weights equal", ("problems.trust.optimizer.lr=0.0",)),
            Baseline(
                "clean samples alone",
                (
                    "problems.trust.optimizer.lr=0.0",
                    "problems.trust.module.rows=500",
                    f"{_CLEANING}.dataset={fashion('validation')}",
                ),
            ),
            Baseline(
                "noisy and clean samples",
                (
                    "problems.trust.optimizer.lr=0.0",
                    "problems.trust.module.rows=5500",
                    f"{_CLEANING}.dataset={both(noisy_fashion(), fashion('validation'))}",
                ),
            ),
        ),
        quick=(*_FEW_STEPS, "problems.classifier.warmup_steps=1"),
        needs=_NEEDS_FASHION,
    ),
    Entry(
        "l2rw",
        "graphs/l2rw.yaml",
        "accuracy",
        (
            Baseline("all weights equal", (f"{_CLEANING}={noisy_digits()}",), _DIGITS_ALONE),
            Baseline("clean samples alone", (), _DIGITS_ALONE),
            Baseline(
                "noisy and clean samples",
                (f"{_CLEANING}={both(noisy_digits(), digits('validation'))}",),
                _DIGITS_ALONE,
            ),
        ),
    ),
    Entry(
        "long_tail",
        "graphs/long_tail.yaml",
        "accuracy",
        (
            Baseline("weights fixed", ("problems.weigher.optimizer.lr=0.0",)),
            Baseline(
                "weights by loss (Meta-Weight-Net)",
                (
                    "problems.weigher.module=mlograph.nn.Weigher",
                    "problems.weigher.optimizer.lr=3e-3",
                    "problems.classifier.loss={_target_: "
                    "mlograph.losses.reweighted_cross_entropy, normalize: true}",
                ),
            ),
            Baseline(
                "trained on the 100 balanced ones too",
                (
                    "problems.weigher.optimizer.lr=0.0",
                    f"{_CLEANING}={both(_TAIL, digits('validation', train=1000))}",
                ),
            ),
        ),
    ),
    Entry(
        "reweight",
        "graphs/reweight.yaml",
        "accuracy",
        (Baseline("weights fixed", ("problems.weigher.optimizer.lr=0.0",)),),
        quick=(*_FEW_STEPS, "problems.classifier.warmup_steps=1"),
    ),
)

_FEW = digits("validation", clean=30)
_ROBUST = "tools/gallery/baselines/robust.yaml"
_CROSS_ENTROPY = (
    "problems.classifier.loss=[{_target_: mlograph.losses.cross_entropy, model: classifier}, "
    "{_target_: mlograph.losses.l2, model: classifier, weight: 1e-3}]"
)

_HALF = {"train": 200, "clean": 200}

TUNING = (
    Entry(
        "weight_decay",
        "graphs/weight_decay.yaml",
        "accuracy",
        (
            Baseline("one decay for all", ("problems.decay.optimizer.lr=0.0",)),
            Baseline(
                "one decay, trained on the others too",
                (
                    "problems.decay.optimizer.lr=0.0",
                    "problems.model.data.dataset.dataset="
                    + both(digits("train", **_HALF), digits("validation", **_HALF)),
                ),
            ),
        ),
        quick=(*_FEW_STEPS, "problems.model.warmup_steps=1"),
    ),
    Entry(
        "hpo",
        "graphs/hpo.yaml",
        "accuracy",
        (Baseline("penalties fixed", ("problems.penalties.optimizer.lr=0.0",)),),
    ),
    Entry(
        "learned_loss",
        "graphs/learned_loss.yaml",
        "accuracy",
        (
            Baseline("cross-entropy", ("problems.series.optimizer.lr=0.0", "engine.steps=1")),
            Baseline("generalised cross-entropy", (), _ROBUST),
            Baseline(
                "the same, with three times the rate",
                ("problems.classifier.optimizer.lr=0.3",),
                _ROBUST,
            ),
            Baseline(
                "clean samples alone",
                (_CROSS_ENTROPY, f"{_CLEANING}={_FEW}"),
                _ROBUST,
            ),
            Baseline(
                "noisy and clean samples",
                (_CROSS_ENTROPY, f"{_CLEANING}={both(noisy_digits(clean=30), _FEW)}"),
                _ROBUST,
            ),
        ),
        quick=(*_FEW_STEPS, "vars.length=2"),
    ),
    Entry(
        "learned_rate",
        "graphs/learned_rate.yaml",
        "accuracy",
        (
            Baseline(
                "one fixed rate, the best of five",
                ("problems.schedule.optimizer.lr=0.0", "engine.steps=1",
                 "problems.classifier.hyperparameters.lr.scale=0.1"),
            ),
        ),
    ),
)  # fmt: skip

_CELL = "problems.network.module"
_STILL = "problems.{}.optimizer.lr=0.0".format
_PENALTIES = "problems.penalties.data.dataset"

# Architecture search, distillation, three and four levels, augmentation, games, Envs.
STRUCTURE: tuple[Entry, ...] = (
    Entry(
        "darts",
        "graphs/darts_retrain.yaml",
        "accuracy",
        (
            Baseline(
                "a cell drawn at random",
                (f"{_CELL}={{_target_: darts.drawn, channels: 8, {SEED}}}",),
                graph="graphs/darts_retrain.yaml",
            ),
            Baseline(
                "conv5 everywhere",
                (f"{_CELL}={{_target_: darts.alike, channels: 8, name: conv5}}",),
                graph="graphs/darts_retrain.yaml",
            ),
        ),
        overrides=("vars.run={runs}/darts",),
        before=(Stage("graphs/darts.yaml"),),
    ),
    Entry(
        "ignoring",
        "graphs/ignoring.yaml",
        "accuracy",
        (
            Baseline("nothing ignored", (_STILL("weights"),)),
            Baseline("and validation images trained on", (_STILL("weights"), "vars.split=both")),
            Baseline(
                "these and no source",
                (_STILL("weights"), "vars.split=both", "vars.hold=0.0"),
            ),
        ),
        quick=(
            *_FEW_STEPS,
            "problems.finetuned.warmup_steps=1",
            "problems.pretrained.warmup_steps=1",
        ),
    ),
    Entry(
        "distilling",
        "graphs/distilling.yaml",
        "accuracy",
        (
            Baseline(
                "means of the classes, 400 steps",
                (_STILL("images"), "engine.steps=1", "vars.length=400"),
            ),
            Baseline(
                "one image of each class, 400 steps",
                (_STILL("images"), "engine.steps=1", "vars.length=400", "vars.begin=real"),
            ),
        ),
        quick=(*_FEW_STEPS, "vars.length=2"),
    ),
    Entry(
        "fashion_distilling",
        "graphs/fashion_distilling.yaml",
        "accuracy",
        (
            Baseline(
                "means of the classes, 400 steps",
                (_STILL("images"), "engine.steps=1", "vars.length=400"),
            ),
            Baseline(
                "one image of each class, 400 steps",
                (_STILL("images"), "engine.steps=1", "vars.length=400", "vars.begin=real"),
            ),
        ),
        quick=(*_FEW_STEPS, "vars.length=2"),
        needs=_NEEDS_FASHION,
    ),
    Entry(
        "nested",
        "graphs/nested.yaml",
        "accuracy",
        (
            Baseline("prior fixed", (_STILL("prior"),)),
            Baseline(
                "and both validation sets in one",
                (_STILL("prior"), f"{_PENALTIES}.part=pooled"),
            ),
        ),
        quick=(*_FEW_STEPS, "problems.penalties.warmup_steps=1"),
    ),
    Entry(
        "four_levels",
        "graphs/four_levels.yaml",
        "accuracy",
        (Baseline("trust fixed", (_STILL("trust"),)),),
        quick=("engine.steps=1", "problems.penalties.warmup_steps=1"),
    ),
    Entry(
        "augmenting",
        "graphs/augmenting.yaml",
        "accuracy",
        (
            Baseline("no distortions", (_STILL("policy"), "problems.policy.module.init=-20.0")),
            Baseline(
                "and validation images trained on",
                (
                    _STILL("policy"),
                    "problems.policy.module.init=-20.0",
                    f"{_CLEANING}={{_target_: augmenting.worn, split: both, {SEED}}}",
                ),
            ),
        ),
        quick=(*_FEW_STEPS, "problems.classifier.warmup_steps=1"),
    ),
    Entry(
        "tolls",
        "graphs/tolls.yaml",
        "loss",
        (Baseline("no tolls", (_STILL("tolls"), "vars.start=-3.0")),),
        quick=(*_FEW_STEPS, "problems.drivers.warmup_steps=1"),
        better="lower",
        percent=False,
    ),
    Entry(
        "shaping",
        "graphs/shaping.yaml",
        "loss",
        (Baseline("no potential", ("problems.potential.optimizer.lr=0.0",)),),
        quick=_FEW_TASKS,
        better="lower",
        percent=False,
    ),
)

ENTRIES = {entry.name: entry for entry in (*FEW_SHOT, *DATA, *TUNING, *STRUCTURE)}


def chosen(names: Iterable[str]) -> dict[str, Entry]:
    """The entries of these names; where none is named, all that need nothing of the machine.

    Raises:
        ValueError: there is no entry of a name.
    """
    wanted = list(names)
    for name in wanted:
        if name not in ENTRIES:
            raise ValueError(f"no entry '{name}'; there are {', '.join(ENTRIES)}")
    return {
        name: one for name, one in ENTRIES.items() if name in wanted or not (wanted or one.needs)
    }
