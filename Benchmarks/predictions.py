"""How well predicted losses hold: interval, held-out figure and what new samples lose, over models, ratios and draws.

usage: predictions.py MODEL.onnx CALIBRATION.npz [TEST.npz] [--ratios 8,11,16] [--draws 2] [--samples 256] [--method M]

Draw s takes --samples samples of CALIBRATION.npz without replacement (numpy RandomState(s)); the others are new ones. A plan is
made for every ratio, carried out, written, and run by ONNX Runtime on the new samples and on TEST.npz. Printed are the
prediction with its 95 % interval, the held-out loss, and the mean losses on new and on test samples: kl of softmax(output) where
the library chose "kl" (of the output itself where it is a softmax), else half the squared difference. The last line counts the intervals that cover.
"""
import os
import tempfile

import numpy as np

from compare_methods import METHODS, a, cet, outputs


def log_probabilities(y):
    """Of scores; outputs that are probabilities already stay what they are."""
    if (y >= 0).all() and np.allclose(y.sum(-1), 1, atol=1e-3):
        return np.log(np.maximum(y, 1e-30))
    y = y - y.max(-1, keepdims=True)
    return y - np.log(np.exp(y).sum(-1, keepdims=True))


def losses(kind, reference, output):
    """One loss a sample."""
    if kind != "kl":
        difference = (output - reference).astype(np.float64).reshape(len(output), -1)
        return 0.5 * (difference * difference).sum(-1)
    log = [log_probabilities(y.astype(np.float64)) for y in (reference, output)]
    return (np.exp(log[0]) * (log[0] - log[1])).sum(-1).reshape(len(output), -1).sum(-1)


def main():
    parser = a.Parser(__doc__)
    parser.add_argument("model", type=a.existing)
    parser.add_argument("calibration", type=a.arrays)
    parser.add_argument("test", nargs="?", type=a.arrays)
    parser.add_argument("--ratios", type=a.positives, default=[8, 11, 16])
    parser.add_argument("--draws", type=a.count, default=2)
    parser.add_argument("--samples", type=a.count, default=256)
    parser.add_argument("--method", choices=list(dict.fromkeys(name for name, _ in METHODS)), default="cet")
    parser.add_argument("--new", type=a.count, default=512, help="new samples at most")
    arguments = parser.parse_args()
    model = a.load_model(parser, arguments.model)
    names = [i.name for i in model.inputs]
    arrays = {k: v for k, v in a.inputs(parser, arguments.calibration, names).items() if k in names}
    if len(arrays[names[0]]) <= arguments.samples:
        parser.error(f"argument --samples: {arguments.samples} leave no new ones in '{arguments.calibration}'")
    test = dict(np.load(arguments.test)) if arguments.test else None
    plans = covered = 0
    for draw in range(arguments.draws):
        order = np.random.RandomState(draw).permutation(len(arrays[names[0]]))
        chosen, rest = np.sort(order[:arguments.samples]), order[arguments.samples:arguments.samples + arguments.new]
        data = cet.Calibration({k: np.ascontiguousarray(arrays[k][chosen]) for k in names})
        judges = {"new": {k: arrays[k][rest] for k in names}}
        if test and all(k in test for k in names):
            judges["test"] = {k: test[k] for k in names}
        references = {k: outputs(arguments.model, x) for k, x in judges.items()}
        source = None
        for ratio in arguments.ratios:
            plan = cet.plan(model, data, target_ratio=ratio, method=arguments.method)
            again = "" if source is None else f"  from the first plan {_text(source.replan(model, target_ratio=ratio).summary)}"
            source = source or plan
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "small.onnx")
                small = cet.quantize(model, data, plan)
                small.save(path)
                found = {k: losses(plan.summary.loss, references[k], outputs(path, x)) for k, x in judges.items()}
            done = small.plan.summary
            low, high = plan.summary.predicted_interval
            inside = low <= found["new"].mean() <= high
            plans, covered = plans + 1, covered + inside
            shown = "  ".join(
                f"{k} {v.mean():.3e} ± {v.std() / len(v) ** 0.5:.0e}" for k, v in found.items())
            print(
                f"draw {draw}  {ratio:5.1f}x  predicted {_text(plan.summary)}  held out {done.held_out_loss:.3e}  "
                f"fitted {done.measured_loss_change:.3e}  {shown}  {'covered' if inside else 'missed'}{again}", flush=True)
    print(f"{covered} of {plans} intervals cover the mean loss on new samples")


def _text(summary):
    low, high = summary.predicted_interval
    return f"{summary.predicted_loss_change:.3e} ({low:.3e} to {high:.3e})"


if __name__ == "__main__":
    main()
