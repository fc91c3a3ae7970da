/* The header stands alone and may be included twice; the layout of its structs is what earlier builds rely on. */
#include <cet/cet.h>
#include <cet/cet.h>

#define SAME(name, condition) typedef char name[(condition) ? 1 : -1]

/* Sizes are multiples of 8 and only grow; offsets never change. */
SAME(size_tensor, sizeof(cet_tensor) == 40);
SAME(size_plan_options, sizeof(cet_plan_options) == 304);
SAME(size_plan_tensor, sizeof(cet_plan_tensor) == 328);
SAME(size_plan_activation, sizeof(cet_plan_activation) == 208);
SAME(size_plan_summary, sizeof(cet_plan_summary) == 192);
SAME(size_quantize_options, sizeof(cet_quantize_options) == 72);
SAME(size_initializer_view, sizeof(cet_initializer_view) == 112);
SAME(size_save_options, sizeof(cet_save_options) == 32);
SAME(size_value_info, sizeof(cet_value_info) == 32);
SAME(size_parameter_info, sizeof(cet_parameter_info) == 40);
SAME(size_run_options, sizeof(cet_run_options) == 48);
SAME(size_curvature_options, sizeof(cet_curvature_options) == 120);
SAME(size_communicator, sizeof(cet_communicator) == 32);
SAME(size_curvature_info, sizeof(cet_curvature_info) == 80);
SAME(size_estimate_options, sizeof(cet_estimate_options) == 80);
SAME(size_eigensolve_options, sizeof(cet_eigensolve_options) == 152);
SAME(size_spectrum_info, sizeof(cet_spectrum_info) == 64);
SAME(size_buffer, sizeof(cet_buffer) == 40);
SAME(size_executor, sizeof(cet_executor) == 24);
SAME(size_model_info, sizeof(cet_model_info) == 72);
SAME(size_correction_view, sizeof(cet_correction_view) == 40);
SAME(offset_tensor_type, offsetof(cet_tensor, element_type) == 36);
SAME(offset_options_ratio, offsetof(cet_plan_options, target_ratio) == 8);
SAME(offset_options_method, offsetof(cet_plan_options, method) == 40);
SAME(offset_options_keep, offsetof(cet_plan_options, keep_patterns) == 72);
SAME(offset_options_progress, offsetof(cet_plan_options, progress) == 160);
SAME(offset_plan_tensor_reason, offsetof(cet_plan_tensor, reason) == 48);
SAME(offset_plan_tensor_measured, offsetof(cet_plan_tensor, measured_loss) == 88);
SAME(offset_view_codes, offsetof(cet_initializer_view, codes) == 48);
SAME(offset_options_coding, offsetof(cet_plan_options, coding) == 184);
SAME(offset_options_activations, offsetof(cet_plan_options, activation_bits) == 272);
SAME(offset_plan_tensor_coding, offsetof(cet_plan_tensor, coding) == 304);
SAME(offset_view_coding, offsetof(cet_initializer_view, coding) == 88);
SAME(offset_view_rotation, offsetof(cet_initializer_view, trellis_rotation) == 104);
SAME(offset_communicator, offsetof(cet_curvature_options, communicator) == 64);
SAME(status_size, sizeof(cet_status) == 4 && CET_OK == 0 && CET_INTERNAL == -11);

int main(void) { return cet_version_number() == CET_VERSION_NUMBER ? 0 : 1; }
