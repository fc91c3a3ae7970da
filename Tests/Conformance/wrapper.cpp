/* cet/cet.hpp: handles that move and free themselves, results, views; the path from a model to a written file; eigenpairs. */
#include "check.h"
#include "model.h"

#include <cet/cet.hpp>

#include <array>
#include <cmath>
#if __cplusplus >= 202002L
#include <span>
#endif

static_assert(!std::is_copy_constructible_v<cet::model> && !std::is_copy_assignable_v<cet::model>, "");
static_assert(std::is_nothrow_move_constructible_v<cet::model> && std::is_nothrow_move_assignable_v<cet::model>, "");
static_assert(sizeof(cet::model) == sizeof(cet_model *), "a handle costs no more than its pointer");
static_assert(sizeof(cet::plan_options) == sizeof(cet_plan_options), "");
static_assert(!std::is_convertible_v<cet::span<const float>, cet::span<float>>, "a view does not lose its const");

namespace {

constexpr std::size_t samples = 64, columns = 12, classes = 5;

/* The value of a result that must have one. */
template <class T>
T take(cet::result<T> result) {
  CHECK(result.has_value());
  if (!result) {
    std::printf("%s\n", result.error().message.c_str());
    std::abort();
  }
  return *std::move(result);
}

template <class T>
void refused(cet_status status, const char *text, const cet::result<T> &result) {
  CHECK(!result.has_value());
  if (!result) CHECK(result.error().status == status && result.error().message.find(text) != std::string::npos);
}

cet::model small_model() {
  static buffer bytes;
  bytes.size = 0;
  make_model(&bytes);
  return take(cet::model::load_memory(bytes.bytes, bytes.size));
}

void views() {
  std::vector<float> numbers{1, 2, 3};
  const std::array<float, 2> pair{4, 5};
  float plain[2] = {6, 7};
  cet::span<float> whole = numbers;
  cet::span<const float> same = whole, two = pair, more = plain, none;
  CHECK(whole.size() == 3 && same.data() == numbers.data() && two[1] == 5 && more.size() == 2 && none.empty());
  float sum = 0;
  for (float number : same) sum += number;
  CHECK(sum == 6);
#if __cplusplus >= 202002L
  cet::span<const float> standard = std::span<float>(numbers);
  CHECK(std::span<const float>(standard.data(), standard.size()).back() == 3);
#endif
}

void ownership() {
  cet::model first = small_model();
  cet_model *raw = first.get();
  cet::model second = std::move(first);
  CHECK(second.get() == raw && cet_live_handle_count() == 1);
  refused(CET_INVALID_ARGUMENT, "NULL", first.inspect_json());
  second = small_model();
  CHECK(cet_live_handle_count() == 1);
  cet_model *given = second.release();
  CHECK(second.get() == nullptr && cet_live_handle_count() == 1);
  cet_model_free(given);
  CHECK(cet_live_handle_count() == 0);
  refused(CET_IO, "/nonexistent", cet::model::load_file("/nonexistent/m.onnx"));
  refused(CET_INVALID_MODEL, "", cet::model::load_memory("x", 1));
  refused(CET_IO, "/nonexistent", cet::calibration::load_npz("/nonexistent/c.npz"));
}

std::vector<float> logits(const cet::model &model, cet::span<const cet_tensor> inputs) {
  cet::outputs outputs = take(model.run(inputs));
  CHECK(outputs.size() == 1 && take(outputs.find("logits")) == 0);
  refused(CET_INVALID_ARGUMENT, "'x'", outputs.find("x"));
  refused(CET_INVALID_ARGUMENT, "", outputs.at(1));
  cet_tensor tensor = take(outputs.at(0));
  refused(CET_INVALID_ARGUMENT, "type", cet::elements<std::int64_t>(tensor));
  cet::span<const float> values = take(cet::elements<float>(tensor));
  CHECK(values.size() == samples * classes);
  return {values.begin(), values.end()};
}

void whole_path(const char *folder) {
  std::vector<float> x(samples * columns);
  std::uint32_t state = 5;
  for (float &number : x) number = next_number(&state);
  const std::array<std::int64_t, 2> shape{samples, columns};
  const cet_tensor input[] = {cet::tensor<float>("x", x, shape)};

  cet::model model = small_model();
  CHECK(model.input_count() == 1 && std::string(take(model.input(0)).name) == "x");
  CHECK(model.parameter_count() == 2 && take(model.parameter(1)).offset == 192);
  CHECK(take(model.inspect_json()).find("Gemm") != std::string::npos);
  const std::vector<float> reference = logits(model, input);
  CHECK(model.output_count() == 1 && take(model.info()).ir_version == 8 && std::string(take(model.sha256())).size() == 64);
  std::vector<float> into(samples * classes);
  const std::array<std::int64_t, 2> out_shape{samples, classes};
  cet_buffer buffers[] = {{"logits", into.data(), into.size() * sizeof(float), out_shape.data(), 2, CET_FLOAT32}};
  CHECK(model.run_into(input, buffers).has_value() && into == reference);
  buffers[0].byte_size = 4;
  const cet::result<void> wrong = model.run_into(input, buffers);
  CHECK(!wrong && wrong.error().expected == "1280 bytes" && wrong.error().got == "4 bytes" && wrong.error().node.empty());

  cet::calibration data = take(cet::calibration::create());
  CHECK(data.add_batch(input).has_value() && data.sample_count() == samples && data.batch_count() == 1);
  CHECK(take(data.array(0, "x")).byte_size == x.size() * sizeof(float));
  refused(CET_INVALID_ARGUMENT, "", data.array(0, "y"));
  refused(CET_INVALID_ARGUMENT, "", data.add_batch({}));

  cet::plan_options options;
  CHECK(options.struct_size == sizeof(cet_plan_options));
  refused(CET_INVALID_ARGUMENT, "exactly one", cet::plan(model, data, options));
  options.target_bits = 6.5;
  int calls = 0;
  options.user_data = &calls;
  options.progress = [](cet_phase, std::uint64_t, std::uint64_t, void *user_data) -> std::int32_t {
    return ++*static_cast<int *>(user_data) >= 2;
  };
  refused(CET_CANCELLED, "", cet::plan(model, data, options));
  CHECK(calls == 2);
  options.progress = nullptr;
  cet::bit_plan plan = take(cet::plan(model, data, options));
  CHECK(plan.size() == 2 && take(plan.find("second.weight")) == 1 && take(plan.at(1)).bits > 0);
  CHECK(take(plan.summary()).mean_bits <= 6.5);
  for (std::size_t i = 0; i < plan.note_count(); i++) CHECK(*take(plan.note(i)) != '\0');
  cet::bit_plan read = take(cet::bit_plan::from_json(take(plan.to_json())));
  CHECK(take(read.summary()).code_bytes == take(plan.summary()).code_bytes);

  cet::quantized small = take(cet::quantize(model, data, read));
  CHECK(small.size() == 2 && take(small.find("first.weight")) == 0);
  std::vector<float> weights(static_cast<std::size_t>(take(small.at(0)).parameter_count));
  CHECK(small.dequantize(0, weights).has_value());
  refused(CET_SHAPE_MISMATCH, "", small.dequantize(0, cet::span<float>(weights.data(), 3)));
  for (std::size_t i = 0; i < small.correction_count(); i++) CHECK(take(small.correction(i)).count > 0);
  cet::bit_plan carried_out = take(small.plan());
  CHECK(std::isfinite(take(carried_out.summary()).measured_loss_change));
  options.target_bits = 7;
  CHECK(take(take(cet::plan(model, carried_out, options)).summary()).mean_bits <= 7);

  cet::session session = take(cet::session::create(model, &data));
  CHECK(session.sample_count() == samples && session.prepare().has_value());
  options.target_bits = 5;
  cet::bit_plan again = take(session.plan(options));
  CHECK(take(again.summary()).mean_bits <= 5 && take(session.quantize(again)).size() == 2);
  refused(CET_INVALID_ARGUMENT, "no batch can be added", session.add_batch(input));
  CHECK(session.save(std::string(folder) + "/wrapper.session").has_value());
  CHECK(take(cet::session::load(model, std::string(folder) + "/wrapper.session")).sample_count() == samples);

  cet::buffer bytes = take(small.save_memory());
  CHECK(bytes.size() == take(carried_out.summary()).file_bytes);
  const std::string path = std::string(folder) + "/wrapper.onnx";
  CHECK(small.save_file(path).has_value());
  refused(CET_IO, "", small.save_file("/nonexistent/folder/m.onnx"));
  CHECK(logits(take(cet::model::load_memory(bytes.data(), bytes.size())), input) ==
        logits(take(cet::model::load_file(path)), input));

  cet::curvature curvature = take(cet::curvature::create(model, data));
  const std::size_t n = curvature.dimension();
  CHECK(n == 272 && curvature.parameter_count() == 2 && take(curvature.info()).samples == samples);
  std::vector<float> v(2 * n), hv(2 * n), once(n);
  for (float &number : v) number = next_number(&state);
  CHECK(std::isfinite(take(curvature.loss())) && curvature.gradient(once).has_value());
  CHECK(curvature.apply(v, hv, 2).has_value() && curvature.apply(cet::span<const float>(v.data() + n, n), once).has_value());
  CHECK(std::equal(once.begin(), once.end(), hv.begin() + static_cast<std::ptrdiff_t>(n)));
  refused(CET_SHAPE_MISMATCH, "", curvature.apply(v, once));
  refused(CET_SHAPE_MISMATCH, "", curvature.apply(v, hv, 3));

  cet::eigensolve_options few;
  few.count = 3;
  cet::spectrum spectrum = take(cet::eigensolve(curvature, few));
  CHECK(spectrum.size() == 3 && spectrum.vector(0, once).has_value() && take(spectrum.info()).dimension == n);
  const std::string spectrum_path = std::string(folder) + "/wrapper.spectrum";
  CHECK(spectrum.save_file(spectrum_path).has_value());
  CHECK(take(take(cet::spectrum::load_file(spectrum_path)).values()) == take(spectrum.values()));
}

void own_map() {
  std::size_t applies = 0;
  auto apply = [&](cet::span<const float> v, cet::span<float> result) {
    for (std::size_t i = 0; i < v.size(); i++) result[i] = static_cast<float>(i + 1) * v[i];
    return applies++ < 1000 ? 0 : 1;
  };
  cet::eigensolve_options options;
  options.count = 2;
  cet::spectrum spectrum = take(cet::eigensolve(apply, 100, options));
  std::vector<double> values = take(spectrum.values()), norms = take(spectrum.residual_norms());
  CHECK(std::fabs(values[0] - 100) < 1e-3 && std::fabs(values[1] - 99) < 1e-3 && norms[0] < 0.2);
  CHECK(take(spectrum.converged()) == std::vector<std::uint8_t>(2, 1) && take(spectrum.info()).applies == applies);
  refused(CET_CANCELLED, "", cet::eigensolve([](cet::span<const float>, cet::span<float>) { return 1; }, 100));
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 3) return 2;
  views();
  ownership();
  whole_path(arguments[2]);
  own_map();
  CHECK(cet_live_handle_count() == 0);
  return check_result(__cplusplus >= 202002L ? "wrapper, C++20" : "wrapper, C++17");
}
