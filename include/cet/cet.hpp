/*
 * cet/cet.hpp - cet/cet.h for C++17 and later: handles that free themselves, views in place of pointer and size,
 * results in place of status and out-parameter. Header only; what each call does is said in cet/cet.h.
 *
 *   #include <cet/cet.hpp>
 *
 *   cet::result<void> compress() {
 *     auto model = cet::model::load_file("m.onnx");
 *     if (!model) return model.error();
 *     auto data = cet::calibration::load_npz("calibration.npz");
 *     if (!data) return data.error();
 *     cet::plan_options options;
 *     options.target_ratio = 11;
 *     auto plan = cet::plan(*model, *data, options);
 *     if (!plan) return plan.error();
 *     auto small = cet::quantize(*model, *data, *plan);
 *     if (!small) return small.error();
 *     return small->save_file("m.cet.onnx");
 *   }
 *
 * Errors: every call that can fail returns a cet::result, none throws. Inference runtimes are often built without
 * exceptions, an expected failure (a budget out of reach, a call that was cancelled) belongs in the type of a call, and a
 * host that prefers exceptions throws at one place what it gets here; the way back would not exist. result has the
 * spelling of C++23's std::expected. Memory that runs out in a std::string or std::vector throws as it does everywhere.
 *
 * Ownership: handles are moved, never copied. One that was moved from or is made by hand from NULL gives
 * CET_INVALID_ARGUMENT. Pointers in info and view structs are borrowed as in C. get() lends a handle to any function of
 * cet/cet.h, of which only the common ones have a member here; release() gives it away.
 *
 * Callbacks must not throw: an exception cannot pass through the library and ends the process. A lambda without
 * captures is a cet_progress_fn or cet_log_fn; user_data leads to what it needs.
 */
#ifndef CET_CET_HPP
#define CET_CET_HPP

#include <cet/cet.h>

#include <cassert>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace cet {

/* ==== Errors and results ========================================================================= */

struct error {
  cet_status status = CET_INTERNAL;
  std::string message; /* one line */
  /* Parts of it by themselves (cet_error_detail), empty where it has no such part. */
  std::string node = {};
  std::string initializer = {};
  std::string input = {};
  std::string expected = {};
  std::string got = {};
  std::uint64_t bytes_needed = 0; /* 0: not known */
};

/* A value or the error that came in its place; look before `*`. */
template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(cet::error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T &operator*() & noexcept { return *value_at(state_); }
  const T &operator*() const & noexcept { return *value_at(state_); }
  T &&operator*() && noexcept { return std::move(*value_at(state_)); }
  T *operator->() noexcept { return value_at(state_); }
  const T *operator->() const noexcept { return value_at(state_); }

  const cet::error &error() const noexcept {
    assert(!has_value());
    return *std::get_if<1>(&state_);
  }

 private:
  template <class State>
  static auto value_at(State &state) noexcept {
    assert(state.index() == 0);
    return std::get_if<0>(&state);
  }

  std::variant<T, cet::error> state_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  result() = default;
  result(cet::error error) : error_(std::move(error)) { assert(error_.status != CET_OK); }

  bool has_value() const noexcept { return error_.status == CET_OK; }
  explicit operator bool() const noexcept { return has_value(); }
  const cet::error &error() const noexcept {
    assert(!has_value());
    return error_;
  }

 private:
  cet::error error_{CET_OK, {}};
};

namespace detail {

/* Of the call that this thread has just made. */
inline error failure(cet_status status) {
  error result{status, cet_last_error_message()};
  cet_error *last = cet_error_copy_last();
  auto part = [last](cet_error_detail detail) {
    const char *text = cet_error_get(last, detail);
    return std::string(text ? text : "");
  };
  result.node = part(CET_ERROR_NODE);
  result.initializer = part(CET_ERROR_INITIALIZER);
  result.input = part(CET_ERROR_INPUT);
  result.expected = part(CET_ERROR_EXPECTED);
  result.got = part(CET_ERROR_GOT);
  result.bytes_needed = cet_error_bytes_needed(last);
  cet_error_free(last);
  return result;
}

inline result<void> done(cet_status status) {
  if (status != CET_OK) return failure(status);
  return {};
}

template <class T, class Raw>
result<T> made(cet_status status, Raw raw) {
  if (status != CET_OK) return failure(status);
  return T(raw);
}

}  // namespace detail

/* ==== Views and tensors ========================================================================== */

/* Elements that somebody else owns: a pointer and a size. Made from arrays, std::vector, std::array, std::span, and
   from whatever else has data() and size(). */
template <class T>
class span {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;

  constexpr span() noexcept = default;
  constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
  template <class Container, class = std::enable_if_t<std::is_convertible_v<
                                 decltype(std::declval<Container &>().data()), T *> &&
                             std::is_convertible_v<decltype(std::declval<Container &>().size()), std::size_t>>>
  constexpr span(Container &&container) noexcept : data_(container.data()), size_(container.size()) {}

  constexpr T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T *begin() const noexcept { return data_; }
  constexpr T *end() const noexcept { return data_ + size_; }
  constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

/* The element type of a C++ type. float16 has none: describe such arrays with a cet_tensor by hand. */
template <class T> inline constexpr cet_element_type element_type = 0;
template <> inline constexpr cet_element_type element_type<float> = CET_FLOAT32;
template <> inline constexpr cet_element_type element_type<double> = CET_FLOAT64;
template <> inline constexpr cet_element_type element_type<bool> = CET_BOOL;
template <> inline constexpr cet_element_type element_type<std::int8_t> = CET_INT8;
template <> inline constexpr cet_element_type element_type<std::int16_t> = CET_INT16;
template <> inline constexpr cet_element_type element_type<std::int32_t> = CET_INT32;
template <> inline constexpr cet_element_type element_type<std::int64_t> = CET_INT64;
template <> inline constexpr cet_element_type element_type<std::uint8_t> = CET_UINT8;
template <> inline constexpr cet_element_type element_type<std::uint16_t> = CET_UINT16;
template <> inline constexpr cet_element_type element_type<std::uint32_t> = CET_UINT32;
template <> inline constexpr cet_element_type element_type<std::uint64_t> = CET_UINT64;

/* Describes an array for the library. All three are borrowed. */
template <class T>
cet_tensor tensor(const char *name, span<const T> data, span<const std::int64_t> shape) {
  static_assert(element_type<T> != 0, "no element type of the library");
  return {name, data.data(), data.size() * sizeof(T), shape.data(), static_cast<std::uint32_t>(shape.size()),
          element_type<T>};
}

/* The elements of such a tensor; INVALID_ARGUMENT when they are of another type. */
template <class T>
result<span<const T>> elements(const cet_tensor &tensor) {
  if (tensor.element_type != element_type<T>) {
    return error{CET_INVALID_ARGUMENT, "elements of type " + std::to_string(element_type<T>) + " asked of a tensor of type " +
                                           std::to_string(tensor.element_type)};
  }
  return span<const T>(static_cast<const T *>(tensor.data), static_cast<std::size_t>(tensor.byte_size / sizeof(T)));
}

/* ==== Options and infos ========================================================================== */

namespace detail {

/* A struct of cet/cet.h, initialised: all options have their defaults. */
template <class T, cet_status (*init)(T *, std::size_t)>
struct sized : T {
  sized() noexcept : T() { init(this, sizeof(T)); }
};

/* Fills an info struct by a getter of the C interface. */
template <class Info, class Get, class... Arguments>
result<Info> filled(Get get, Arguments... arguments) {
  Info info;
  if (cet_status status = get(arguments..., &info); status != CET_OK) return failure(status);
  return info;
}

}  // namespace detail

using load_options = detail::sized<cet_load_options, cet_load_options_init>;
using plan_options = detail::sized<cet_plan_options, cet_plan_options_init>;
using quantize_options = detail::sized<cet_quantize_options, cet_quantize_options_init>;
using save_options = detail::sized<cet_save_options, cet_save_options_init>;
using run_options = detail::sized<cet_run_options, cet_run_options_init>;
using curvature_options = detail::sized<cet_curvature_options, cet_curvature_options_init>;
using eigensolve_options = detail::sized<cet_eigensolve_options, cet_eigensolve_options_init>;
using estimate_options = detail::sized<cet_estimate_options, cet_estimate_options_init>;
using plan_tensor = detail::sized<cet_plan_tensor, cet_plan_tensor_init>;
using plan_activation = detail::sized<cet_plan_activation, cet_plan_activation_init>;
using plan_summary = detail::sized<cet_plan_summary, cet_plan_summary_init>;
using initializer_view = detail::sized<cet_initializer_view, cet_initializer_view_init>;
using correction_view = detail::sized<cet_correction_view, cet_correction_view_init>;
using executor = detail::sized<cet_executor, cet_executor_init>;
using model_info = detail::sized<cet_model_info, cet_model_info_init>;
using value_info = detail::sized<cet_value_info, cet_value_info_init>;
using parameter_info = detail::sized<cet_parameter_info, cet_parameter_info_init>;
using curvature_info = detail::sized<cet_curvature_info, cet_curvature_info_init>;
using spectrum_info = detail::sized<cet_spectrum_info, cet_spectrum_info_init>;

/* ==== Handles ==================================================================================== */

namespace detail {

template <class Raw, void (*free)(Raw *)>
class owner {
 public:
  explicit owner(Raw *raw) noexcept : raw_(raw) {}
  Raw *get() const noexcept { return raw_.get(); }
  [[nodiscard]] Raw *release() noexcept { return raw_.release(); }

 private:
  struct deleter {
    void operator()(Raw *raw) const noexcept { free(raw); }
  };
  std::unique_ptr<Raw, deleter> raw_;
};

inline result<std::string> text(cet_status status, char *raw) {
  owner<void, cet_free> memory(raw);
  if (status != CET_OK) return failure(status);
  return std::string(raw);
}

inline result<std::size_t> place(cet_status status, std::size_t index) {
  if (status != CET_OK) return failure(status);
  return index;
}

}  // namespace detail

/* Bytes that the library made. */
class buffer : public detail::owner<void, cet_free> {
 public:
  buffer(void *data, std::size_t size) noexcept : owner(data), size_(size) {}
  const unsigned char *data() const noexcept { return static_cast<const unsigned char *>(get()); }
  std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_;
};

/* The output tensors of a run. */
class outputs : public detail::owner<cet_outputs, cet_outputs_free> {
 public:
  using owner::owner;
  std::size_t size() const noexcept { return cet_outputs_count(get()); }
  result<cet_tensor> at(std::size_t index) const { return detail::filled<cet_tensor>(cet_outputs_get, get(), index); }
  result<std::size_t> find(const std::string &name) const {
    std::size_t index = 0;
    cet_status status = cet_outputs_find(get(), name.c_str(), &index);
    return detail::place(status, index);
  }
};

class model : public detail::owner<cet_model, cet_model_free> {
 public:
  using owner::owner;
  static result<model> load_file(const std::string &path) {
    cet_model *raw = nullptr;
    cet_status status = cet_model_load_file(path.c_str(), &raw);
    return detail::made<model>(status, raw);
  }
  static result<model> load_memory(const void *data, std::size_t size) {
    cet_model *raw = nullptr;
    cet_status status = cet_model_load_memory(data, size, &raw);
    return detail::made<model>(status, raw);
  }
  static result<model> load(const cet_source &source, const load_options &options = {}) {
    cet_model *raw = nullptr;
    cet_status status = cet_model_load(&source, &options, &raw);
    return detail::made<model>(status, raw);
  }
  std::size_t input_count() const noexcept { return cet_model_input_count(get()); }
  result<value_info> input(std::size_t index) const { return detail::filled<value_info>(cet_model_get_input, get(), index); }
  std::size_t output_count() const noexcept { return cet_model_output_count(get()); }
  result<value_info> output(std::size_t index) const { return detail::filled<value_info>(cet_model_get_output, get(), index); }
  result<model_info> info() const { return detail::filled<model_info>(cet_model_get_info, get()); }
  result<const char *> sha256() const { return detail::filled<const char *>(cet_model_get_sha256, get()); }
  std::size_t parameter_count() const noexcept { return cet_model_parameter_count(get()); }
  result<parameter_info> parameter(std::size_t index) const {
    return detail::filled<parameter_info>(cet_model_get_parameter, get(), index);
  }
  result<void> parameter_vector(span<float> values) const {
    return detail::done(cet_model_get_parameter_vector(get(), values.data(), values.size()));
  }
  result<std::string> inspect_json() const {
    char *json = nullptr;
    cet_status status = cet_model_inspect_json(get(), &json);
    return detail::text(status, json);
  }
  result<outputs> run(span<const cet_tensor> inputs, const run_options &options = {}) const {
    cet_outputs *raw = nullptr;
    cet_status status = cet_run(get(), inputs.data(), inputs.size(), &options, &raw);
    return detail::made<outputs>(status, raw);
  }
  result<void> run_into(span<const cet_tensor> inputs, span<const cet_buffer> outputs, const run_options &options = {}) const {
    return detail::done(cet_run_into(get(), inputs.data(), inputs.size(), &options, outputs.data(), outputs.size()));
  }
};

/* Calibration samples. */
class calibration : public detail::owner<cet_calibration, cet_calibration_free> {
 public:
  using owner::owner;
  static result<calibration> create() {
    cet_calibration *raw = nullptr;
    cet_status status = cet_calibration_create(&raw);
    return detail::made<calibration>(status, raw);
  }
  static result<calibration> load_npz(const std::string &path) {
    cet_calibration *raw = nullptr;
    cet_status status = cet_calibration_load_npz(path.c_str(), &raw);
    return detail::made<calibration>(status, raw);
  }
  result<void> add_batch(span<const cet_tensor> inputs, const cet_tensor *labels = nullptr) {
    return detail::done(cet_calibration_add_batch(get(), inputs.data(), inputs.size(), labels));
  }
  std::uint64_t sample_count() const noexcept { return cet_calibration_sample_count(get()); }
  std::size_t batch_count() const noexcept { return cet_calibration_batch_count(get()); }
  result<cet_tensor> array(std::size_t batch, const std::string &name) const {
    return detail::filled<cet_tensor>(cet_calibration_get_array, get(), batch, name.c_str());
  }
};

/* Bits of every weight tensor; its elements are the tensors. */
class bit_plan : public detail::owner<cet_bit_plan, cet_plan_free> {
 public:
  using owner::owner;
  static result<bit_plan> from_json(const std::string &json) {
    cet_bit_plan *raw = nullptr;
    cet_status status = cet_plan_from_json(json.c_str(), &raw);
    return detail::made<bit_plan>(status, raw);
  }
  result<std::string> to_json() const {
    char *json = nullptr;
    cet_status status = cet_plan_to_json(get(), &json);
    return detail::text(status, json);
  }
  std::size_t size() const noexcept { return cet_plan_tensor_count(get()); }
  result<plan_tensor> at(std::size_t index) const { return detail::filled<plan_tensor>(cet_plan_get_tensor, get(), index); }
  result<std::size_t> find(const std::string &name) const {
    std::size_t index = 0;
    cet_status status = cet_plan_find_tensor(get(), name.c_str(), &index);
    return detail::place(status, index);
  }
  std::size_t activation_count() const noexcept { return cet_plan_activation_count(get()); }
  result<plan_activation> activation(std::size_t index) const {
    return detail::filled<plan_activation>(cet_plan_get_activation, get(), index);
  }
  result<plan_summary> summary() const { return detail::filled<plan_summary>(cet_plan_get_summary, get()); }
  std::size_t note_count() const noexcept { return cet_plan_note_count(get()); }
  result<const char *> note(std::size_t index) const { return detail::filled<const char *>(cet_plan_get_note, get(), index); }
};

/* Codes, scales and zero points of a plan; its elements are the quantized initializers. */
class quantized : public detail::owner<cet_quantized, cet_quantized_free> {
 public:
  using owner::owner;
  std::size_t size() const noexcept { return cet_quantized_initializer_count(get()); }
  result<initializer_view> at(std::size_t index) const {
    return detail::filled<initializer_view>(cet_quantized_get_initializer, get(), index);
  }
  result<std::size_t> find(const std::string &name) const {
    std::size_t index = 0;
    cet_status status = cet_quantized_find_initializer(get(), name.c_str(), &index);
    return detail::place(status, index);
  }
  result<void> dequantize(std::size_t index, span<float> values) const {
    return detail::done(cet_quantized_dequantize(get(), index, values.data(), values.size()));
  }
  std::size_t correction_count() const noexcept { return cet_quantized_correction_count(get()); }
  result<correction_view> correction(std::size_t index) const {
    return detail::filled<correction_view>(cet_quantized_get_correction, get(), index);
  }
  /* The plan that was carried out. */
  result<bit_plan> plan() const {
    cet_bit_plan *raw = nullptr;
    cet_status status = cet_quantized_get_plan(get(), &raw);
    return detail::made<bit_plan>(status, raw);
  }
  result<void> save_file(const std::string &path, const save_options &options = {}) const {
    return detail::done(cet_quantized_save_file(get(), path.c_str(), &options));
  }
  result<void> save_state(const std::string &path) const { return detail::done(cet_quantized_save_state(get(), path.c_str())); }
  static result<quantized> load_state(const model &model, const std::string &path) {
    cet_quantized *raw = nullptr;
    cet_status status = cet_quantized_load_state(model.get(), path.c_str(), &raw);
    return detail::made<quantized>(status, raw);
  }
  result<buffer> save_memory(const save_options &options = {}) const {
    void *data = nullptr;
    std::size_t size = 0;
    cet_status status = cet_quantized_save_memory(get(), &options, &data, &size);
    if (status != CET_OK) return detail::failure(status);
    return buffer(data, size);
  }
};

inline result<bit_plan> plan(const model &model, const calibration &data, const plan_options &options) {
  cet_bit_plan *raw = nullptr;
  cet_status status = cet_plan(model.get(), data.get(), &options, &raw);
  return detail::made<bit_plan>(status, raw);
}

/* For another budget, from the table of `source`. */
inline result<bit_plan> plan(const model &model, const bit_plan &source, const plan_options &options) {
  cet_bit_plan *raw = nullptr;
  cet_status status = cet_plan_with_sensitivity(model.get(), source.get(), &options, &raw);
  return detail::made<bit_plan>(status, raw);
}

inline result<quantized> quantize(
    const model &model, const calibration &data, const bit_plan &plan, const quantize_options &options = {}) {
  cet_quantized *raw = nullptr;
  cet_status status = cet_quantize(model.get(), data.get(), plan.get(), &options, &raw);
  return detail::made<quantized>(status, raw);
}

/* Statistics and losses of a model and its samples, taken once, for plans of any budget. Several threads may use it at a time. */
class session : public detail::owner<cet_session, cet_session_free> {
 public:
  using owner::owner;
  /* `data` may be null: batches are added then. */
  static result<session> create(const model &model, const calibration *data = nullptr, const plan_options &options = {}) {
    cet_session *raw = nullptr;
    cet_status status = cet_session_create(model.get(), data == nullptr ? nullptr : data->get(), &options, &raw);
    return detail::made<session>(status, raw);
  }
  static result<session> load(const model &model, const std::string &path) {
    cet_session *raw = nullptr;
    cet_status status = cet_session_load(model.get(), path.c_str(), &raw);
    return detail::made<session>(status, raw);
  }
  result<void> add_batch(span<const cet_tensor> inputs, const cet_tensor *labels = nullptr) {
    return detail::done(cet_session_add_batch(get(), inputs.data(), inputs.size(), labels));
  }
  std::uint64_t sample_count() const noexcept { return cet_session_sample_count(get()); }
  result<void> prepare(cet_progress_fn progress = nullptr, cet_log_fn log = nullptr, void *user_data = nullptr) {
    return detail::done(cet_session_prepare(get(), progress, log, user_data));
  }
  result<bit_plan> plan(const plan_options &options) {
    cet_bit_plan *raw = nullptr;
    cet_status status = cet_session_plan(get(), &options, &raw);
    return detail::made<bit_plan>(status, raw);
  }
  result<quantized> quantize(const bit_plan &plan, const quantize_options &options = {}) {
    cet_quantized *raw = nullptr;
    cet_status status = cet_session_quantize(get(), plan.get(), &options, &raw);
    return detail::made<quantized>(status, raw);
  }
  result<void> save(const std::string &path) { return detail::done(cet_session_save(get(), path.c_str())); }
  result<void> keep(const std::string &path) { return detail::done(cet_session_keep(get(), path.c_str())); }
};

/* ==== Curvature and eigenpairs =================================================================== */

/* The loss as a function of the parameter vector: its value, gradient and Hessian-vector products. */
class curvature : public detail::owner<cet_curvature, cet_curvature_free> {
 public:
  using owner::owner;
  static result<curvature> create(const model &model, const calibration &data, const curvature_options &options = {}) {
    cet_curvature *raw = nullptr;
    cet_status status = cet_curvature_create(model.get(), data.get(), &options, &raw);
    return detail::made<curvature>(status, raw);
  }
  std::size_t dimension() const noexcept { return cet_curvature_dimension(get()); }
  result<double> loss() { return detail::filled<double>(cet_curvature_loss, get()); }
  result<void> gradient(span<float> gradient) {
    return detail::done(cet_curvature_gradient(get(), gradient.data(), gradient.size()));
  }
  /* hv = H v; for several vectors one after the other, `count` of them. */
  result<void> apply(span<const float> v, span<float> hv, std::size_t count = 1) {
    if (v.size() != hv.size() || count == 0 || v.size() % count != 0) {
      return error{CET_SHAPE_MISMATCH, std::to_string(count) + " vectors of " + std::to_string(v.size()) +
                                           " elements in all, results of " + std::to_string(hv.size())};
    }
    return detail::done(cet_curvature_apply_block(get(), v.data(), hv.data(), v.size() / count, count));
  }
  result<curvature_info> info() const { return detail::filled<curvature_info>(cet_curvature_get_info, get()); }
  std::size_t parameter_count() const noexcept { return cet_curvature_parameter_count(get()); }
  result<parameter_info> parameter(std::size_t index) const {
    return detail::filled<parameter_info>(cet_curvature_get_parameter, get(), index);
  }
};

/* Eigenpairs with residual norms. */
class spectrum : public detail::owner<cet_spectrum, cet_spectrum_free> {
 public:
  using owner::owner;
  static result<spectrum> load_file(const std::string &path) {
    cet_spectrum *raw = nullptr;
    cet_status status = cet_spectrum_load_file(path.c_str(), &raw);
    return detail::made<spectrum>(status, raw);
  }
  result<void> save_file(const std::string &path) const { return detail::done(cet_spectrum_save_file(get(), path.c_str())); }
  std::size_t size() const noexcept { return cet_spectrum_count(get()); }
  result<std::vector<double>> values() const { return all<double>(cet_spectrum_get_values); }
  result<std::vector<double>> residual_norms() const { return all<double>(cet_spectrum_get_residual_norms); }
  /* 1 for a pair that met the tolerance, else 0. */
  result<std::vector<std::uint8_t>> converged() const { return all<std::uint8_t>(cet_spectrum_get_converged); }
  result<void> vector(std::size_t index, span<float> vector) const {
    return detail::done(cet_spectrum_get_vector(get(), index, vector.data(), vector.size()));
  }
  result<spectrum_info> info() const { return detail::filled<spectrum_info>(cet_spectrum_get_info, get()); }

 private:
  template <class T>
  result<std::vector<T>> all(cet_status (*read)(const cet_spectrum *, T *, std::size_t)) const {
    std::vector<T> values(size());
    if (cet_status status = read(get(), values.data(), values.size()); status != CET_OK) return detail::failure(status);
    return values;
  }
};

inline result<spectrum> eigensolve(curvature &curvature, const eigensolve_options &options = {}) {
  cet_spectrum *raw = nullptr;
  cet_status status = cet_eigensolve_curvature(curvature.get(), &options, &raw);
  return detail::made<spectrum>(status, raw);
}

/* Of a map of n numbers that the host brings: apply(span<const float> v, span<float> result) returns 0, or anything else to
   stop with CET_CANCELLED. */
template <class Apply, class = std::enable_if_t<std::is_invocable_r_v<std::int32_t, Apply &, span<const float>, span<float>>>>
result<spectrum> eigensolve(Apply &&apply, std::size_t n, const eigensolve_options &options = {}) {
  using function = std::remove_reference_t<Apply>;
  auto call = [](const float *v, float *result, std::size_t size, void *data) noexcept -> std::int32_t {
    return (*static_cast<function *>(data))(span<const float>(v, size), span<float>(result, size));
  };
  cet_spectrum *raw = nullptr;
  void *data = const_cast<void *>(static_cast<const void *>(std::addressof(apply)));
  cet_status status = cet_eigensolve(call, data, n, &options, &raw);
  return detail::made<spectrum>(status, raw);
}

}  // namespace cet

#endif /* CET_CET_HPP */
