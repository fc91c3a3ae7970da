/*
 * Eigenpairs of a linear map that the host brings: here the second difference on a line of N points, whose
 * eigenvalues are 2 - 2 cos(k pi / (N + 1)). A real host would run its own Hessian-vector product instead.
 *
 *   cc -std=c99 custom_operator.c $(pkg-config --cflags --libs cet) -lm -o custom_operator
 */
#include <cet/cet.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 400, PAIRS = 5 };

static int32_t apply(const float *v, float *result, size_t n, void *user_data)
{
  size_t *products = user_data;
  for (size_t i = 0; i < n; i++) {
    float left = i > 0 ? v[i - 1] : 0.0f;
    float right = i + 1 < n ? v[i + 1] : 0.0f;
    result[i] = 2.0f * v[i] - left - right;
  }
  *products += 1;
  return 0; /* anything else stops the iteration */
}

int main(void)
{
  const double pi = 3.14159265358979323846;
  cet_spectrum *spectrum = NULL;
  cet_eigensolve_options options;
  double values[PAIRS], norms[PAIRS];
  size_t products = 0;
  cet_status status;

  cet_eigensolve_options_init(&options, sizeof options);
  options.count = PAIRS;
  options.which = CET_WHICH_LARGEST;
  options.require_convergence = 1;
  status = cet_eigensolve(apply, &products, N, &options, &spectrum);
  if (status == CET_OK)
    status = cet_spectrum_get_values(spectrum, values, PAIRS);
  if (status == CET_OK)
    status = cet_spectrum_get_residual_norms(spectrum, norms, PAIRS);
  if (status != CET_OK) {
    fprintf(stderr, "%s: %s\n", cet_status_string(status), cet_last_error_message());
  } else {
    for (int k = 0; k < PAIRS; k++)
      printf("%.7f  exact %.7f  residual norm %.1e\n", values[k], 2.0 - 2.0 * cos((N - k) * pi / (N + 1)), norms[k]);
    printf("%zu products\n", products);
  }
  cet_spectrum_free(spectrum);
  return status == CET_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
