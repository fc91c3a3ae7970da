"""Sessions: many budgets of one model. Judges: the one-call path, onnxruntime, and the files' own bytes."""

import os
import threading

import numpy as np
import onnxruntime as ort
import pytest

import cet

DIGITS = os.path.join(os.path.dirname(__file__), "..", "Fixtures", "digits_cnn")


@pytest.fixture(scope="module")
def model():
    return cet.Model(os.path.join(DIGITS, "model.onnx"))


@pytest.fixture(scope="module")
def arrays():
    data = np.load(os.path.join(DIGITS, "calibration.npz"))
    return {name: data[name] for name in data.files if name != "labels"}


@pytest.fixture(scope="module")
def session(model, arrays):
    session = cet.Session(model, cet.Calibration(arrays), target_ratio=11)
    session.prepare()
    return session


def onnx_output(onnx_bytes, inputs):
    return ort.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def probabilities(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def kl(reference, found):
    p, q = probabilities(reference.astype(np.float64)), probabilities(found.astype(np.float64))
    return float((p * (np.log(p) - np.log(q))).sum(axis=-1).mean())


def test_session_at_the_budget_of_its_judged_plan_gives_the_plan_of_the_one_call(model, arrays, session):
    alone = cet.plan(model, cet.Calibration(arrays), target_ratio=11)
    assert session.plan(target_ratio=11).to_json() == alone.to_json()


def test_session_at_another_budget_gives_the_replanned_plan(model, arrays, session):
    alone = cet.plan(model, cet.Calibration(arrays), target_ratio=11)
    assert session.plan(target_ratio=16).to_json() == alone.replan(model, target_ratio=16).to_json()


def test_session_quantized_model_loses_in_onnxruntime_what_it_says(model, arrays, session):
    small = session.quantize(session.plan(target_ratio=16))
    with open(os.path.join(DIGITS, "model.onnx"), "rb") as file:
        reference = onnx_output(file.read(), arrays)
    found = onnx_output(small.to_bytes(), arrays)
    assert kl(reference, found) == pytest.approx(small.plan.measured_loss_change, rel=1e-3, abs=1e-6)
    assert small.plan.summary.held_out_samples == len(session) // 4
    assert np.isfinite(small.plan.held_out_loss)


def test_session_quantizes_what_the_thorough_call_can_better(model, arrays, session):
    """The thorough call takes all samples and searches longer; a session must not be far behind."""
    plan = session.plan(target_ratio=16)
    thorough = cet.quantize(model, cet.Calibration(arrays), plan)
    quick = session.quantize(plan)
    assert quick.plan.bits == thorough.plan.bits
    assert quick.plan.measured_loss_change < 2 * thorough.plan.measured_loss_change + 1e-3


@pytest.mark.long
def test_session_from_batches_pulled_is_the_one_from_batches_added(model, arrays):
    def batches():
        for first in range(0, 96, 32):
            yield {name: array[first:first + 32] for name, array in arrays.items()}

    added, pulled = cet.Session(model), cet.Session(model)
    for batch in batches():
        added.add_batch(batch)
    pulled.pull(batches())
    assert len(added) == len(pulled) == 96
    assert added.plan(target_ratio=12).to_json() == pulled.plan(target_ratio=12).to_json()


@pytest.mark.long
def test_session_without_a_target_judges_three_bits_whatever_comes_first(model, arrays):
    def fresh():
        return cet.Session(model, cet.Calibration({name: array[:64] for name, array in arrays.items()}))

    first, second = fresh(), fresh()
    a = [first.plan(target_ratio=ratio).to_json() for ratio in (8, 16)]
    b = [second.plan(target_ratio=ratio).to_json() for ratio in (16, 8)]
    assert a == b[::-1]


def test_session_whose_fixed_bits_exceed_three_is_prepared_all_the_same(model, arrays):
    session = cet.Session(model, cet.Calibration({name: array[:64] for name, array in arrays.items()}), bits=[6, 8])
    assert session.plan(target_bits=7).summary.mean_bits <= 7


def test_session_saved_and_loaded_gives_the_same_plans_and_codes(model, session, tmp_path):
    path = tmp_path / "digits.cet-session"
    session.save(path)
    loaded = cet.Session.load(model, path)
    assert len(loaded) == len(session)
    plan = loaded.plan(target_ratio=13)
    assert plan.to_json() == session.plan(target_ratio=13).to_json()
    assert loaded.quantize(plan).to_bytes() == session.quantize(plan).to_bytes()
    with pytest.raises(cet.InvalidArgument, match="no batch can be added"):
        loaded.add_batch({"input": np.zeros((1, 1, 28, 28), np.float32)})
    loaded.save(tmp_path / "again.cet-session")
    assert (tmp_path / "again.cet-session").read_bytes() == path.read_bytes()


def test_session_file_with_any_byte_changed_is_refused(model, session, tmp_path):
    path = tmp_path / "digits.cet-session"
    session.save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in [*range(0, 32, 3), *random.integers(0, len(whole), 40)]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises((cet.IOFailure, cet.InvalidArgument)):
            cet.Session.load(model, path)
    for length in (0, 7, 23, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(cet.IOFailure):
            cet.Session.load(model, path)


def test_session_file_of_another_model_is_refused(session, tmp_path):
    import onnx

    path = tmp_path / "digits.cet-session"
    session.save(path)
    other = onnx.load(os.path.join(DIGITS, "model.onnx"))
    other.doc_string = "another"
    with pytest.raises(cet.InvalidArgument, match="SHA-256"):
        cet.Session.load(cet.Model(other.SerializeToString()), path)


def test_session_used_by_eight_threads_gives_each_the_same(model, arrays):
    session = cet.Session(model, cet.Calibration({name: array[:128] for name, array in arrays.items()}))
    ratios = [8, 10, 12, 16] * 2
    results, failures = {}, []

    def work(number):
        try:
            small = session.quantize(session.plan(target_ratio=ratios[number]), threads=1)
            results[number] = small.to_bytes()
        except Exception as error:  # the assertion below shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(results[number] == results[number + 4] for number in range(4))


def test_session_whose_table_is_cancelled_can_be_asked_again(model, arrays):
    session = cet.Session(model, cet.Calibration({name: array[:64] for name, array in arrays.items()}))

    class Enough(Exception):
        pass

    def stop(phase, done, total):
        raise Enough

    with pytest.raises(Enough):
        session.prepare(progress=stop)
    session.add_batch({name: array[64:96] for name, array in arrays.items()})
    assert session.plan(target_ratio=11).summary.samples == 96


def test_session_waiting_for_the_table_hears_its_own_wish_to_stop(model, arrays):
    session = cet.Session(model, cet.Calibration(arrays))
    begun, release = threading.Event(), threading.Event()

    def hold(phase, done, total):
        begun.set()
        release.wait(30)

    maker = threading.Thread(target=lambda: session.prepare(progress=hold))
    maker.start()
    try:
        assert begun.wait(30)

        class Enough(Exception):
            pass

        def stop(phase, done, total):
            raise Enough

        with pytest.raises(Enough):
            session.plan(target_ratio=11, progress=stop)
        with pytest.raises(cet.InvalidArgument, match="no batch can be added"):
            session.add_batch(arrays)
    finally:
        release.set()
        maker.join()
    assert len(session) == len(next(iter(arrays.values())))


@pytest.mark.parametrize("method", ["paper", "clado"])
def test_session_of_a_method_without_a_table_is_refused(model, method):
    with pytest.raises(cet.InvalidArgument, match="keeps no table"):
        cet.Session(model, method=method)


def test_session_without_samples_is_refused_when_a_plan_is_asked_for(model):
    with pytest.raises(cet.InvalidArgument, match="no samples"):
        cet.Session(model).plan(target_ratio=11)


def test_session_quantize_of_a_plan_of_another_loss_is_refused(model, arrays, session):
    other = cet.plan(model, cet.Calibration({name: array[:64] for name, array in arrays.items()}), target_ratio=11, loss="mse")
    with pytest.raises(cet.InvalidArgument, match="loss is mse, the session's is kl"):
        session.quantize(other)


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_session_quantize_takes_other_roundings(session, rounding):
    plan = session.plan(target_ratio=8)
    assert session.quantize(plan, rounding=rounding).plan.summary.rounding == rounding


def test_session_with_few_samples_fits_to_all_of_them(model, arrays):
    session = cet.Session(model, cet.Calibration({name: array[:12] for name, array in arrays.items()}))
    small = session.quantize(session.plan(target_ratio=8))
    assert small.plan.summary.held_out_samples == 12


def test_session_of_trellis_codes_refuses_an_encoding_without_them_by_its_name(session):
    with pytest.raises(cet.InvalidArgument, match="option encoding: .*trellis codes; encoding 'qdq' has none"):
        session.plan(target_ratio=8, encoding="qdq")


class Heard:
    """A progress that remembers phases, and may end the call in the one after the losses of single tensors."""

    class End(Exception):
        pass

    def __init__(self, ends=False):
        self.ends, self.phases = ends, []

    def __call__(self, phase, done, total):
        self.phases.append(phase)
        # What follows the table begins with its choice of bits.
        if self.ends and "allocate" in self.phases and phase != "allocate":
            raise Heard.End


@pytest.mark.parametrize("options", [
    {}, {"target_ratio": 11}, {"target_ratio": 8, "activations": 8}, {"target_ratio": 8, "method": "hawq-v2"},
    {"target_ratio": 8, "method": "mckp", "coding": "affine"}, {"max_loss": 0.01},
    {"target_size": 40_000, "rounding": "gptq", "keep": ["fc*"]},
], ids=str)
def test_a_kept_session_goes_on_where_a_process_ended(digits, tmp_path, options):
    """To the same bits as one that nobody stopped, without measuring single tensors again."""
    model, path = cet.Model(digits / "model.onnx"), tmp_path / "kept.session"
    data = cet.Calibration.from_npz(digits / "calibration.npz")
    settings = {"samples": 64, "effort": "low", **options}
    whole = cet.Session(model, data, **settings)
    expected = whole.plan(target_ratio=9)
    session = cet.Session(model, data, **settings)
    session.keep(path)
    with pytest.raises(Heard.End):
        session.plan(target_ratio=9, progress=Heard(ends=True))
    for again in (cet.Session.load(model, path), session):
        heard = Heard()
        plan = again.plan(target_ratio=9, progress=heard)
        assert "sensitivity" not in heard.phases and "curvature" not in heard.phases
        assert plan.to_json() == expected.to_json()
        assert again.quantize(plan).to_bytes() == whole.quantize(expected).to_bytes()
    # The file is that of the whole session now.
    whole.save(tmp_path / "whole.session")
    assert path.read_bytes() == (tmp_path / "whole.session").read_bytes()
    assert [each.name for each in tmp_path.iterdir() if each.name not in ("kept.session", "whole.session")] == []


def test_a_kept_session_takes_no_more_samples_once_losses_are_measured(digits, tmp_path):
    model, data = cet.Model(digits / "model.onnx"), cet.Calibration.from_npz(digits / "calibration.npz")
    session = cet.Session(model, data, samples=64, effort="low", target_ratio=11)
    with pytest.raises(Heard.End):
        session.plan(target_ratio=9, progress=Heard(ends=True))
    with pytest.raises(cet.InvalidArgument, match="no batch can be added"):
        session.add_batch({"input": np.zeros((1, 1, 28, 28), np.float32)})


def test_a_kept_session_whose_file_cannot_be_written_fails_once(digits, tmp_path):
    model, data = cet.Model(digits / "model.onnx"), cet.Calibration.from_npz(digits / "calibration.npz")
    session = cet.Session(model, data, samples=64, effort="low", target_ratio=11)
    session.keep(tmp_path / "nowhere" / "s")
    with pytest.raises(cet.IOFailure, match="nowhere"):
        session.plan(target_ratio=9)
    session.keep(None)
    heard = Heard()
    assert session.plan(target_ratio=9, progress=heard).bits and "sensitivity" not in heard.phases
