#include <oneapi/dnnl/dnnl.h>
/* From libgomp, which oneDNN runs on. Both act on the calling thread alone. */
void omp_set_num_threads(int threads);
int omp_get_max_threads(void);
