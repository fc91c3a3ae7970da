#include "cdlpack.h"
#include <stddef.h>

_Static_assert(sizeof(cdl_tensor) == 48 && offsetof(cdl_tensor, shape) == 24, "DLTensor");
_Static_assert(sizeof(cdl_managed) == 64, "DLManagedTensor");
_Static_assert(sizeof(cdl_managed_versioned) == 80 && offsetof(cdl_managed_versioned, tensor) == 32, "DLManagedTensorVersioned");
