/*
 * cet/cet.h - the C interface of libcet.
 *
 * libcet reads an ONNX model and calibration samples, decides for every weight tensor in how many bits
 * a weight it is stored, 1 to 8, and writes a small ONNX file that a stock runtime opens.
 *
 *   #include <cet/cet.h>
 *
 *   cet_model *model = NULL;
 *   cet_calibration *data = NULL;
 *   cet_bit_plan *plan = NULL;
 *   cet_quantized *small = NULL;
 *   cet_plan_options options;
 *   cet_plan_options_init(&options, sizeof options);
 *   options.target_ratio = 11;
 *   if (cet_model_load_file("m.onnx", &model) != CET_OK ||
 *       cet_calibration_load_npz("calibration.npz", &data) != CET_OK ||
 *       cet_plan(model, data, &options, &plan) != CET_OK ||
 *       cet_quantize(model, data, plan, NULL, &small) != CET_OK ||
 *       cet_quantized_save_file(small, "m.cet.onnx", NULL) != CET_OK)
 *     fprintf(stderr, "%s\n", cet_last_error_message());
 *   cet_quantized_free(small);
 *   cet_plan_free(plan);
 *   cet_calibration_free(data);
 *   cet_model_free(model);
 *
 * Sections: 1 version, 2 status, 3 handles, options and shared types, 4 the one-call path,
 * 5 the parts, 6 advanced, 7 experimental.
 *
 * Rules that hold everywhere
 * --------------------------
 * Status      Functions that can fail return cet_status: CET_OK is 0, failures are negative.
 * Outputs     Out-parameters come last. On failure a handle or buffer out-parameter is set to NULL (when
 *             the out-parameter itself is not NULL) and a caller's numeric buffer may be partly written.
 * Ownership   Handles and buffers that the library returns belong to the caller: each handle has its own
 *             _free function, buffers go to cet_free(). Pointers inside info and view structs are borrowed:
 *             they stay valid until the handle they came from is freed.
 *             What the caller passes in is read during the call only and never kept, but for the functions and user
 *             data of a cet_communicator, a cet_executor or callbacks of a cet_curvature, of cet_set_log, and a cet_source with
 *             `borrowed`.
 * Overlap     Memory that a call writes shares no bytes with other memory that it writes or reads, unless it says so;
 *             where that can be told it is INVALID_ARGUMENT.
 * Strings     UTF-8, NUL-terminated. Paths are bytes that open(2) takes.
 * Arrays      C order (last axis fastest), densely packed, native (little) byte order.
 * Shapes      int64_t per axis; rank 0 is a scalar. An unknown or symbolic size of a model input is -1.
 * Numbers     A double that is not known is NaN. Sizes in bytes are uint64_t; bits are bits of one code.
 * Losses      Mean over the calibration samples, of the sum over a sample's positions when the output has more
 *             than two axes (PyTorch's "batchmean"). Gradients and Hessian-vector products have the same
 *             reduction. mse is half the squared distance.
 * Threads     Different handles may be used by different threads at the same time. Functions that take a
 *             `const` handle may run at the same time on one handle. Functions that take a handle without
 *             `const` need it for themselves, as does _free. Nothing is shared between handles that a
 *             caller can see. The thread's last error is the only state outside handles, and what cet_set_log sets.
 * Limits      At most CET_MAX_THREADS threads. Sizes and counts of 64 bits that are above INT64_MAX are INVALID_ARGUMENT.
 * Callbacks   Run on the thread that called the library, during that call (but for a cet_executor's function). A callback
 *             may not free or change the handles of the call; it may use other handles.
 * fork        A process forked from one that has the library loaded, used or not, may use it, with the handles it has and new
 *             ones. Not one forked while another thread is in a call (POSIX lets such a process do next to nothing).
 * Silence     The library never prints, never exits, installs no signal handlers.
 * Results     The same inputs, options and seed give the same bits for any number of threads.
 */
#ifndef CET_CET_H
#define CET_CET_H

#include <stddef.h>
#include <stdint.h>

/* What is visible outside of the library. A host that wraps the header may define it before. */
#ifndef CET_API
#if defined(_WIN32)
#define CET_API extern __declspec(dllimport)
#elif defined(__GNUC__)
#define CET_API extern __attribute__((visibility("default")))
#else
#define CET_API extern
#endif
#endif

/* Marks what a later version will not have any more, and what to use instead; nothing is so marked in this one. Define
   CET_NO_DEPRECATED for a build without the warnings. */
#if defined(CET_NO_DEPRECATED)
#define CET_DEPRECATED(instead)
#elif defined(__GNUC__)
#define CET_DEPRECATED(instead) __attribute__((deprecated(instead)))
#elif defined(_MSC_VER)
#define CET_DEPRECATED(instead) __declspec(deprecated(instead))
#else
#define CET_DEPRECATED(instead)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ==== 1. Version ================================================================================= */

#define CET_VERSION_MAJOR 0
#define CET_VERSION_MINOR 1
#define CET_VERSION_PATCH 0
/* One comparable number: 10000 * major + 100 * minor + patch. */
#define CET_VERSION_NUMBER (CET_VERSION_MAJOR * 10000 + CET_VERSION_MINOR * 100 + CET_VERSION_PATCH)

/* CET_VERSION_NUMBER of the loaded library; compare it with the header's to find a mismatch. */
CET_API uint32_t cet_version_number(void);

/* "major.minor.patch" of the loaded library. Static, never freed. */
CET_API const char *cet_version_string(void);

/* ==== 2. Status ================================================================================== */

typedef int32_t cet_status;
enum {
  CET_OK = 0,
  /* A NULL, a handle of the wrong kind or already freed, an option out of range, options that exclude each
     other, arguments that overlap, a pattern that matches nothing, calibration data that do not fit the model. */
  CET_INVALID_ARGUMENT = -1,
  /* The bytes are no ONNX model, or one that contradicts itself. */
  CET_INVALID_MODEL = -2,
  /* A node whose operator (or an option of it) the library does not execute; the message names it. */
  CET_UNSUPPORTED_OPERATOR = -3,
  /* Sizes that do not fit each other: expected and found are in the message. */
  CET_SHAPE_MISMATCH = -4,
  /* An iteration did not reach its tolerance and the options asked that this be a failure. */
  CET_NOT_CONVERGED = -5,
  /* No assignment of the allowed bits meets the target; the message has the reachable range. */
  CET_INFEASIBLE_BUDGET = -6,
  /* A file cannot be read or written. */
  CET_IO = -7,
  CET_OUT_OF_MEMORY = -8,
  /* A callback asked to stop. */
  CET_CANCELLED = -9,
  /* A NaN or an infinity appeared in the computation. */
  CET_NUMERIC = -10,
  /* A defect of the library. */
  CET_INTERNAL = -11
};

/* The name of a status in words ("invalid argument"); "unknown status" for other numbers. Static. */
CET_API const char *cet_status_string(cet_status status);

/*
 * What went wrong in this thread's last call: one line that names the place (node, initializer, input) and
 * says what was expected and what was found. "" when that call succeeded. Never NULL. The text is valid until
 * this thread's next call of the library. The functions of sections 1 and 2 neither set nor clear it, nor do cet_free,
 * cet_phase_string, cet_set_log, cet_live_handle_count and the _free functions.
 */
CET_API const char *cet_last_error_message(void);

/* The same as an object that a binding keeps across threads and calls; immutable. NULL stands for no error: it has the
   status CET_OK, the message "" and no details. */
typedef struct cet_error cet_error;

/* Parts of a message by themselves. */
typedef int32_t cet_error_detail;
enum {
  CET_ERROR_NODE = 1,        /* name of the node, its first output when it has no name */
  CET_ERROR_INITIALIZER = 2, /* name of the weight tensor */
  CET_ERROR_INPUT = 3,       /* name of the model input or the array for it, or the node's input */
  CET_ERROR_EXPECTED = 4,    /* in words of the message: a shape, a type, a number, a range */
  CET_ERROR_GOT = 5
};

/* A copy of this thread's last error; free it with cet_error_free. NULL when the last call succeeded (and when memory is
   short). These functions neither set nor clear the thread's message. */
CET_API cet_error *cet_error_copy_last(void);
CET_API void cet_error_free(cet_error *error);

CET_API cet_status cet_error_status(const cet_error *error);

/* One line, borrowed from `error`. Never NULL. */
CET_API const char *cet_error_message(const cet_error *error);

/* NULL when the error does not have this detail. Borrowed from `error`; names as the model has them, control characters
   included. */
CET_API const char *cet_error_get(const cet_error *error, cet_error_detail detail);

/* Of CET_OUT_OF_MEMORY: bytes that what was asked for needs, in place of max_memory or of what is available. 0: not known. */
CET_API uint64_t cet_error_bytes_needed(const cet_error *error);

/* ==== 3. Handles, options, shared types ========================================================== */

/* A model as loaded; immutable. */
typedef struct cet_model cet_model;
/* Calibration samples. */
typedef struct cet_calibration cet_calibration;
/* Bits of every weight tensor, why, and what each choice costs; immutable. */
typedef struct cet_bit_plan cet_bit_plan;
/* A model with samples whose statistics and losses are taken once, for plans of any budget. */
typedef struct cet_session cet_session;
/* Codes, scales and zero points of a plan's tensors, ready to be written; immutable. */
typedef struct cet_quantized cet_quantized;
/* The loss of a model over calibration samples, its gradient and its curvature. */
typedef struct cet_curvature cet_curvature;
/* Eigenpairs with residual norms; immutable. */
typedef struct cet_spectrum cet_spectrum;
/* The output tensors of a run; immutable. */
typedef struct cet_outputs cet_outputs;

/* NULL is a no-op for each. */
CET_API void cet_model_free(cet_model *model);
CET_API void cet_calibration_free(cet_calibration *calibration);
CET_API void cet_plan_free(cet_bit_plan *plan);
CET_API void cet_session_free(cet_session *session);
CET_API void cet_quantized_free(cet_quantized *quantized);
CET_API void cet_curvature_free(cet_curvature *curvature);
CET_API void cet_spectrum_free(cet_spectrum *spectrum);
CET_API void cet_outputs_free(cet_outputs *outputs);

/* Frees a string or buffer that the library returned through `char **` or `void **`. NULL is a no-op. */
CET_API void cet_free(void *memory);

/*
 * Structs that start with `struct_size`
 *
 * cet_x_init(&x, sizeof x) zeroes x and sets struct_size. Zero stands for the default of every option, and NULL
 * in place of an options pointer for all defaults. Later versions add fields at the end only: an options struct
 * shorter than the library's is read as if zeros followed, a longer one is accepted when what the library does
 * not know is zero. Info structs are filled as far as struct_size reaches. struct_size must be a multiple of 8.
 */

/* Element types, numbered as in ONNX (TensorProto.DataType). One byte per bool. */
typedef int32_t cet_element_type;
enum {
  CET_FLOAT32 = 1,
  CET_UINT8 = 2,
  CET_INT8 = 3,
  CET_UINT16 = 4,
  CET_INT16 = 5,
  CET_INT32 = 6,
  CET_INT64 = 7,
  CET_BOOL = 9,
  CET_FLOAT16 = 10,
  CET_FLOAT64 = 11,
  CET_UINT32 = 12,
  CET_UINT64 = 13,
  CET_BFLOAT16 = 16
};

/* How bits are chosen. */
typedef int32_t cet_method;
enum {
  CET_METHOD_DEFAULT = 0, /* cet */
  CET_METHOD_CET = 1,     /* "cet": measured sensitivity table and exact knapsack */
  CET_METHOD_PAPER = 2,   /* "paper": Algorithm 1 of the CET paper, taken literally */
  CET_METHOD_HAWQ_V2 = 3, /* "hawq-v2": Hessian trace times squared quantization error */
  CET_METHOD_MCKP = 4,    /* "mckp": Fisher information and knapsack */
  CET_METHOD_UNIFORM = 5, /* "uniform": the same bits everywhere */
  CET_METHOD_CLADO = 6    /* "clado": curvature of all pairs of tensors */
};

/* The loss whose change is predicted and measured. */
typedef int32_t cet_loss;
enum {
  CET_LOSS_DEFAULT = 0,       /* cet_plan: kl, or mse when the output is no logits;
                                 cet_curvature_create: cross-entropy when there are labels, else as cet_plan */
  CET_LOSS_KL = 1,            /* "kl": KL divergence from the model's own float32 output (softmax, last axis) */
  CET_LOSS_CROSS_ENTROPY = 2, /* "cross-entropy": against the labels */
  CET_LOSS_MSE = 3,           /* "mse": squared difference from the model's own float32 output */
  CET_LOSS_OUTPUT = 4         /* "output": the graph's output is the loss */
};

typedef int32_t cet_curvature_kind;
enum {
  CET_CURVATURE_DEFAULT = 0,     /* hessian */
  CET_CURVATURE_HESSIAN = 1,     /* "hessian" */
  CET_CURVATURE_GAUSS_NEWTON = 2 /* "gauss-newton" */
};

typedef int32_t cet_rounding;
enum {
  CET_ROUNDING_DEFAULT = 0,    /* compensated */
  CET_ROUNDING_NEAREST = 1,    /* "nearest" */
  CET_ROUNDING_GPTQ = 2,       /* "gptq": error compensated inside a tensor */
  CET_ROUNDING_COMPENSATED = 3 /* "compensated": also across tensors, in topological order, where held-out samples
                                  lose less; like gptq with fewer than 16 samples */
};

/* How many weights share one scale and zero point. */
typedef int32_t cet_granularity;
enum {
  CET_GRANULARITY_DEFAULT = 0,    /* per-axis */
  CET_GRANULARITY_PER_TENSOR = 1, /* "per-tensor" */
  CET_GRANULARITY_PER_AXIS = 2,   /* "per-axis": one per output channel (table row) */
  CET_GRANULARITY_BLOCK = 3       /* "block:N": one per block_size weights of an output channel */
};

/* How codes are written to the file. */
typedef int32_t cet_encoding;
enum {
  CET_ENCODING_DEFAULT = 0, /* cet_plan: planes; saving: the plan's */
  CET_ENCODING_PLANES = 1,  /* "planes": packed bits, unpacked by standard operators; any bits, opset 7 */
  CET_ENCODING_QDQ = 2,     /* "qdq": DequantizeLinear on UINT2 (opset 25), UINT4 (21; 3 bits too) and UINT8 (13), of symmetric
                               codes on INT2, INT4 and INT8 without a zero point */
  CET_ENCODING_FLOAT = 3,   /* "float": dequantized weights, no smaller than the original */
  CET_ENCODING_ORT = 4,     /* "ort": operands of onnxruntime's MatMulNBits (2, 4, 8 bits) and GatherBlockQuantized (4, 8, with
                               min_runtime 2), which stay as small in memory; blocks of 16 to 256 weights, default 128 where kernels
                               take most of the weights, scales float32 or, in float16 models, float16; other tensors as "planes" */
  CET_ENCODING_AUTO = 5     /* "auto", for planning: "ort" where min_runtime names a runtime whose kernels take more than half of the
                               weights and the target (of a session its own, if it has one) leaves these 4 bits; else "planes" */
};

/* What codes stand for. A tensor's is CET_CODING_AFFINE, CET_CODING_TRELLIS or CET_CODING_SYMMETRIC. */
typedef int32_t cet_coding;
enum {
  CET_CODING_DEFAULT = 0, /* auto; a tensor's: it is kept */
  CET_CODING_AUTO = 1,    /* "auto": of each tensor and width the coding of less error, where the encoding holds both;
                             affine with CET_ROUNDING_NEAREST */
  CET_CODING_AFFINE = 2,  /* "affine": levels of a uniform grid */
  CET_CODING_TRELLIS = 3, /* "trellis": steps through a trellis (arXiv 2406.11235), 1 to 6 bits, about 40 % less error at the
                             same bits; not with "qdq" or per-tensor scales. Other tensors and widths are affine */
  CET_CODING_SYMMETRIC = 4 /* "symmetric": levels -2^(bits-1) ... 2^(bits-1) - 1 of a uniform grid, signed integers without zero
                             points, as hardware and execution providers for signed weights want them; 2 to 8 bits */
};

/* How much time the search for trellis codes may take: the paths that it keeps alive for large tensors. Small tensors get
   up to 128; where versions of a tensor are compared all get fewer. */
typedef int32_t cet_effort;
enum {
  CET_EFFORT_DEFAULT = 0, /* cet_plan: medium; cet_quantize: the plan's */
  CET_EFFORT_LOW = 1,     /* "low": 8 */
  CET_EFFORT_MEDIUM = 2,  /* "medium": 32 */
  CET_EFFORT_HIGH = 3     /* "high": 128 */
};

/* Which end of the spectrum. */
typedef int32_t cet_which;
enum {
  CET_WHICH_DEFAULT = 0, /* largest-magnitude */
  CET_WHICH_LARGEST_MAGNITUDE = 1,
  CET_WHICH_LARGEST = 2,
  CET_WHICH_SMALLEST = 3
};

/* Why a tensor has its bits. */
typedef int32_t cet_decision;
enum {
  CET_DECISION_CHOSEN = 1, /* by the method, within the budget */
  CET_DECISION_FIXED = 2,  /* by a fix pattern */
  CET_DECISION_KEPT = 3    /* stays float32: a keep pattern, or not quantizable; `reason` says which */
};

/* Set of allowed bits: the sum of CET_BITS(b), b from 1 to 8; 1 bit needs trellis codes. */
#define CET_BITS(b) (1u << (b))

/* float32 in a set of bits that activations may have. */
#define CET_FLOAT_BITS 1u

/* How the range of an activation is found. */
typedef int32_t cet_activation_range;
enum {
  CET_ACTIVATION_RANGE_DEFAULT = 0,      /* least loss */
  CET_ACTIVATION_RANGE_LEAST_LOSS = 1,   /* of those below the one that loses least on held-out samples */
  CET_ACTIVATION_RANGE_MIN_MAX = 2,      /* from the least to the greatest value of the calibration samples */
  CET_ACTIVATION_RANGE_PERCENTILE = 3,   /* without the rarest ten-thousandth of the values, half of it at either end */
  CET_ACTIVATION_RANGE_LEAST_SQUARES = 4 /* cut where the squared error is least: found by least loss, not to be asked for */
};

/* Steps of a long call, in the order in which they may be reported. A call reports only those it does: cet_plan and
   cet_quantize 1 to 8, saving 9, cet_curvature_* 1 and 4, estimates 4, cet_eigensolve* 5. */
typedef int32_t cet_phase;
enum {
  CET_PHASE_PREPARE = 1,     /* graph and data are checked, the executor is set up */
  CET_PHASE_STATISTICS = 2,  /* forward passes that gather input statistics */
  CET_PHASE_SENSITIVITY = 3, /* loss of each tensor at each bit width */
  CET_PHASE_CURVATURE = 4,   /* Hessian-vector products */
  CET_PHASE_EIGENSOLVE = 5,  /* Krylov iteration */
  CET_PHASE_ALLOCATE = 6,    /* bits are chosen */
  CET_PHASE_ROUNDING = 7,    /* codes are computed */
  CET_PHASE_MEASURE = 8,     /* the quantized model's loss is measured */
  CET_PHASE_WRITE = 9,       /* the file's bytes are made and checked */
  CET_PHASE_RUN = 10,        /* samples run forward */
  CET_PHASE_READ = 11        /* bytes of files, or of a document, are read: see cet_set_progress */
};

/* "statistics" and so on; "unknown phase" for other numbers. Static. Leaves the error message alone. */
CET_API const char *cet_phase_string(cet_phase phase);

/*
 * Progress: `done` of `total` units of `phase` are complete (units differ between phases; `done` never falls
 * within a phase). Non-zero return stops the call with CET_CANCELLED; nothing half-written stays behind.
 */
typedef int32_t (*cet_progress_fn)(cet_phase phase, uint64_t done, uint64_t total, void *user_data);

typedef int32_t cet_log_level;
enum { CET_LOG_INFO = 1, CET_LOG_WARNING = 2 };

/* One line of text, valid during the callback. */
typedef void (*cet_log_fn)(cet_log_level level, const char *message, void *user_data);

/*
 * Where lines go of calls whose options carry no log, cet_quantized_save_file among them; NULL (as at the start): nowhere.
 * The one setting of the whole process: for programs, not for libraries in them. May be called at any time on any thread; a
 * call that began before keeps to what was set then, so that `user_data` must outlive it. `log` runs on the threads of the
 * calls, on several at a time.
 */
CET_API void cet_set_log(cet_log_fn log, void *user_data);

/*
 * The progress of the calling thread's later calls that take none but may be long; NULL (as at the start): none. These load a
 * model, samples, a session, a state, a spectrum or a plan, inspect a model or find its digest (phase 11, bytes of files; 0 of 0
 * where none is read), or save a session, a state or a spectrum (phase 9, bytes; `total` is what is known so far; cet_session_save
 * before it what it does to make the table). It is heard on this thread, some twenty times a second, as long as such a call runs;
 * a host that sets it for a call resets it after it.
 * Errors: OUT_OF_MEMORY.
 */
CET_API cet_status cet_set_progress(cet_progress_fn progress, void *user_data);

/* The most that an option `threads` may be; more is INVALID_ARGUMENT. */
#define CET_MAX_THREADS 1024

/* A part of the library's work, for the host's threads. */
typedef void (*cet_body_fn)(size_t index, void *body_data);

/*
 * Calls body(i, body_data) once for every i below `count` and returns when all have returned. On any threads and in any
 * order: bodies may run at the same time, or one after another on the calling thread (where the first does all the work).
 */
typedef void (*cet_parallel_for_fn)(size_t count, cet_body_fn body, void *body_data, void *user_data);

/*
 * Threads that the host brings in place of the library's own, in the options of calls that compute. `count` is at most the
 * option `threads`. The results are the same bits. parallel_for is called on the thread that called the library or, when the
 * call has a progress or log callback (which that thread then waits to hear), on one that the library starts for the call.
 * It may be called by several at a time, and runs to its end also when a call is cancelled. Threads need the stack of a
 * usual one (8 MiB).
 * Bodies use one thread each: OpenBLAS and oneDNN start none in such calls. cet_run has no bodies; there `threads` are those
 * of OpenBLAS and OpenMP, which are the process's.
 */
typedef struct cet_executor {
  uint32_t struct_size;
  uint32_t reserved;
  cet_parallel_for_fn parallel_for;
  void *user_data; /* handed to parallel_for */
} cet_executor;

CET_API cet_status cet_executor_init(cet_executor *executor, size_t size);

/*
 * A named, typed array. This struct never changes (it is passed in arrays), so it has no struct_size.
 * `name` may be NULL where a function says so; `shape` may be NULL when rank is 0; `data` may be NULL when the
 * array is empty; `byte_size` must be the product of shape times the element size.
 */
typedef struct cet_tensor {
  const char *name;
  const void *data;
  uint64_t byte_size;
  const int64_t *shape;
  uint32_t rank;
  cet_element_type element_type;
} cet_tensor;

/* ==== 4. The one-call path ======================================================================= */

/* ---- Model ---- */

/*
 * Loads an ONNX file. External data are found next to it.
 *
 * The file, and what the model uses of its external data, are copied into memory, so that whoever cuts, overwrites or
 * removes a file after the call changes nothing: planning, quantizing and saving read the copy. Of a file that changes
 * during the call, what was read is of one state or the call fails with IO: size and times of last change are compared
 * around reading, and what was changed within the last minute is read twice and compared. (What cannot be seen: a writer who
 * pauses half way; and, on a file system in memory, a write through a mapping that somebody has had for longer.) A file that
 * is replaced, by renaming another over it, is read as it was before or after, so this is the way to change a model that others
 * load; that a model and its external data belong together is up to who replaces both.
 * It costs as many bytes of memory as the model and its data have until the last handle made of it is freed, beside the
 * aligned copies of weights that are in use; and about a third of a second for 400 MB (docs/adr/0056).
 * Errors: IO (also a folder, device or pipe, and a file that says a wrong size, as those of /proc), INVALID_MODEL,
 * OUT_OF_MEMORY.
 */
CET_API cet_status cet_model_load_file(const char *path, cet_model **model);

/* Loads a model from memory (copied). A model with external data is refused (INVALID_MODEL): see cet_model_load. */
CET_API cet_status cet_model_load_memory(const void *data, size_t size, cet_model **model);

/*
 * Puts up to `size` of the bytes from `offset` on into `bytes` and returns how many, at least 1; a negative number is a
 * failure (IO, the number is in the message), and so are 0 and more than `size`. Never asked for what lies behind the
 * end of its source. A load is watched, and stopped, here: give a few megabytes a call, and a negative number to end it.
 */
typedef int64_t (*cet_read_fn)(uint64_t offset, void *bytes, uint64_t size, void *user_data);

/* The library needs a source no more. */
typedef void (*cet_release_fn)(void *user_data);

/*
 * The bytes of a model, or of a file of external data, that a host brings: in memory (`data`) or through a callback (`read`),
 * one of them, the other NULL. This struct never changes (hosts fill it in a callback), so it has no struct_size.
 *
 * With `borrowed` the library keeps `data` without a copy: the bytes must stay where they are, unchanged, until `release` is
 * called or, without it, until the model and every handle that was made with it are freed. (ONNX aligns nothing: a weight
 * that does not start at a multiple of its element's size is still copied when it is used.) Else they are copied, and needed
 * during the call only.
 * `release` may be NULL. It is called exactly once for every source that the library got, also when the call fails: with
 * `borrowed` by the _free of the last handle that needs the bytes, on its thread; else before the call returns.
 */
typedef struct cet_source {
  const void *data;
  uint64_t size; /* bytes in total */
  cet_read_fn read;
  cet_release_fn release;
  void *user_data;   /* handed to read and release */
  uint32_t borrowed; /* non-zero: with `data` only */
  uint32_t reserved; /* 0 */
} cet_source;

/*
 * Fills `source`, which is zero, for the external data that the model calls `location`: a text from the model, which nobody has
 * checked ("/etc/passwd"). Called once a location, however many tensors name it. Non-zero return fails the call (IO,
 * the number is in the message), and `source` is not looked at.
 */
typedef int32_t (*cet_external_fn)(const char *location, cet_source *source, void *user_data);

typedef struct cet_load_options {
  uint32_t struct_size;
  uint32_t reserved;
  cet_external_fn external; /* NULL: a model with external data is refused (INVALID_MODEL) */
  void *user_data;          /* handed to external */
} cet_load_options;

CET_API cet_status cet_load_options_init(cet_load_options *options, size_t size);

/*
 * Loads a model that the host brings. Of external data what the tensors name is read, in any order. What is read is copied,
 * which costs as with cet_model_load_file.
 * Errors: INVALID_ARGUMENT (a source with neither or both of data and read, or one borrowed that is read), IO (a callback
 * failed), INVALID_MODEL, OUT_OF_MEMORY.
 */
CET_API cet_status cet_model_load(const cet_source *source, const cet_load_options *options, cet_model **model);

/* ---- Calibration samples ---- */

/* An empty set. */
CET_API cet_status cet_calibration_create(cet_calibration **calibration);

/*
 * Adds one batch; the arrays are copied. `inputs` holds one array per model input, matched by name. Axis 0 is
 * the sample axis, n >= 1 samples, where the model leaves its size open. An input with a fixed axis 0 beside such
 * inputs (a state [2, n, 128]) has its samples on the axis that carries the same symbolic size, or on its first open
 * axis of size n; without one, like a scalar, it is one value for all samples of the batch. Batches may differ in
 * n, in the sizes of other axes (sequence lengths) and in such values: an integer or bool among them may
 * decide an If. All batches have the same names, element types and ranks. Element types are the model's own, but float16
 * and bfloat16 serve for float32 too (exactly), and float32 for float16 (rounded).
 * `labels` may be NULL (its name is ignored): class indices, any integer type, shape [n] or [n, positions...];
 * either all batches have labels or none has.
 * NaN or infinity in float data and negative labels are refused. Whether the data fit a model is checked by the
 * call that brings both together.
 * Errors: INVALID_ARGUMENT, SHAPE_MISMATCH, NUMERIC (NaN or infinity), OUT_OF_MEMORY.
 */
CET_API cet_status cet_calibration_add_batch(
    cet_calibration *calibration, const cet_tensor *inputs, size_t input_count, const cet_tensor *labels);

/*
 * Reads an .npz file, or a folder of .npy files, as one batch: arrays carry the model's input names (the
 * member or file name without ".npy"), and `labels` the labels unless the model has an input of that name.
 * Arrays that are no input of the model are ignored when it is used. float16 is widened to float32.
 * Errors: IO (the file cannot be read or is damaged), INVALID_ARGUMENT (an unsupported array), others as for
 * cet_calibration_add_batch.
 */
CET_API cet_status cet_calibration_load_npz(const char *path, cet_calibration **calibration);

/* Number of samples over all batches. 0 for a bad handle. */
CET_API uint64_t cet_calibration_sample_count(const cet_calibration *calibration);

/* ---- Plan ---- */

#define CET_NO_SHIFTS (-1)

typedef struct cet_plan_options {
  uint32_t struct_size;
  uint32_t threads; /* 0: as many as there are processors */

  /* Exactly one of these four is positive. */
  double target_ratio;  /* 32 / mean code bits (of `bits`, whatever stores them); scales are not counted */
  double target_bits;   /* mean code bits over the planned weights */
  uint64_t target_size; /* bytes of the written file in `encoding`, everything counted, never exceeded */
  double max_loss;      /* the smallest plan found whose loss change, measured on held-out samples, is at most this with
                           95 % confidence (`predicted_high` of the summary) */

  cet_method method;
  cet_loss loss;
  cet_curvature_kind curvature;
  cet_rounding rounding;
  cet_granularity granularity;
  uint32_t block_size; /* weights in a block, with CET_GRANULARITY_BLOCK only */
  cet_encoding encoding;
  uint32_t bits; /* allowed bits, see CET_BITS; 0: 1, 2, 3, 4, 5, 6 and 8 where tensors may have trellis codes, else 2, 3, 4
                    and 8 */

  /* Patterns over weight tensors: `*` any run of characters, `?` one character. A tensor is matched by the name of its
     initializer or that of a node that reads it (a node without a name has that of its first output); a pattern that begins
     with "name:" by the initializer alone, with "node:" by nodes alone, with "op:" by the operators of these nodes
     ("op:MatMul"). One that matches no quantizable tensor is an error. A tensor that several fix patterns match takes the
     last one's bits; keep wins over fix. */
  const char *const *keep_patterns; /* these tensors stay float32 */
  uint64_t keep_count;
  const char *const *fix_patterns; /* these tensors get fix_bits[i], 1 to 8 */
  const int32_t *fix_bits;
  uint64_t fix_count;

  uint64_t seed;
  uint64_t samples;        /* use the first so many samples; 0: all */
  uint64_t max_memory;     /* bytes that the call may hold beyond model and calibration. What it needs is computed before it
                              starts: fewer threads work where it is short, and CET_OUT_OF_MEMORY says what one needs.
                              0: what is available; single values of the model may have 60 % of that */
  uint32_t batch_size;     /* samples computed together; 0: chosen by the library */
  uint32_t eigenpairs;     /* method paper: stiff axes, at most the weights there are; 0: chosen by the library */
  uint32_t max_iterations; /* methods paper and hawq-v2: Hessian-vector products; 0: chosen by the library */
  /* Copies of every image, each moved by up to a sixteenth of its size, that input statistics, the choice of bits and
     the check of compensated rounding take beside the samples. 0: as many as make up to 256 images of them, at most 3
     (none of more than 128 samples); CET_NO_SHIFTS: none; else 1 to 64. Images are inputs of rank 4, 16 x 16 or
     larger, that a convolution reads. Copies are held in memory, so many times the size of the images, while a call
     runs. Reported losses are of the samples alone. */
  int32_t shifts;
  const char *output; /* graph output that the loss reads; NULL: the first */

  cet_progress_fn progress; /* may be NULL */
  cet_log_fn log;           /* may be NULL */
  void *user_data;          /* handed to both */

  cet_coding coding;
  cet_effort effort; /* of what rounds the plan, here and in cet_quantize */
  /* The oldest runtime that the file must open in: "ort-1.20" or later, "openvino-2026" or later. Kernels of "ort" are those
     that it has (of products 4 bits, 8 from ort-1.23 on, 2 from ort-1.24; of tables 4, 8 from ort-1.23, 2 from ort-1.27; OpenVINO
     all but 2 of tables). For OpenVINO no tensor gets what its release 2026.4 does not open or computes wrong (docs/limits.md).
     NULL: none is named. */
  const char *min_runtime;
  const cet_executor *executor; /* NULL: threads of the library's own */
  /* Tensors whose bits are chosen, and that min_patterns[i] matches, get at least min_bits[i] of the allowed bits; those of
     max_patterns[i] at most max_bits[i]. Of several the strictest holds. */
  const char *const *min_patterns;
  const int32_t *min_bits;
  uint64_t min_count;
  const char *const *max_patterns;
  const int32_t *max_bits;
  uint64_t max_count;
  /* Tensors that one of these matches get the same bits, those that stay float32 left aside; groups that share a tensor are one.
     "auto" stands for siblings, each set a group: MatMul, or Gemm, that multiply the same value, as query, key and value do, which
     runtimes fuse. Not with method "paper". */
  const char *const *group_patterns;
  uint64_t group_count;
  /* Bits that activations are rounded to while the model runs: the sum of CET_BITS(4), CET_BITS(8), CET_BITS(16) and
     CET_FLOAT_BITS; 0: they stay float32. Rounded are the inputs of layers whose weights are planned, and the outputs of
     convolutions, sums and concatenations of rounded values, with one scale and one zero point for all elements: the file has
     QuantizeLinear and DequantizeLinear there, and with 8 bits runtimes compute these layers with integers (docs/activations.md).
     4 bits are simulated in float. All losses told are of the model with weights and activations rounded. With encodings
     "planes" and "float", and from 8 bits on "qdq", whose files hold codes of 8 bits of the weights beside codes. */
  uint32_t activation_bits;
  cet_activation_range activation_range;
  /* Of several bits the fewest over all elements are chosen for which the table's losses of activations sum to at most
     activation_loss (0: to as much as those of the weights), or those of least loss with at most activation_mean_bits over the
     elements of a sample (0: not bounded). At most one of the two is positive. */
  double activation_loss;
  double activation_mean_bits;
  /* 1: tensors of 16 kB and more go to one file beside the written one, its name with ".data" behind, whatever the source has. Bytes are
     then those of both, and at most: every such tensor has the file's name beside it, of which 255 letters are counted. 0: they do so
     where a file would pass 2 GiB alone. In memory all is in one. As the target it is each call's own, of a session's and of a table's plan. */
  uint32_t external_data;
} cet_plan_options;

CET_API cet_status cet_plan_options_init(cet_plan_options *options, size_t size);

/*
 * Chooses bits for every quantizable weight (Conv, ConvTranspose, Gemm, MatMul, Einsum weights, Gather tables) so that
 * the loss changes least within the budget.
 * Errors: INVALID_ARGUMENT (options; data that do not fit the model), SHAPE_MISMATCH, UNSUPPORTED_OPERATOR,
 * INFEASIBLE_BUDGET, CANCELLED, NUMERIC, OUT_OF_MEMORY.
 */
CET_API cet_status cet_plan(
    const cet_model *model, const cet_calibration *calibration, const cet_plan_options *options,
    cet_bit_plan **plan);

/* One tensor of a plan. */
typedef struct cet_plan_tensor {
  uint32_t struct_size;
  uint32_t rank;
  const char *name;
  const int64_t *shape;
  uint64_t parameter_count;
  int32_t bits; /* of one code; 32 when kept */
  cet_decision decision;
  int32_t axis;        /* quantization axis; -1: one scale for the whole tensor, or kept */
  uint32_t block_size; /* 0: not blocked */
  const char *reason;  /* one line */
  /* Loss change this tensor alone is expected to cause: its entry in `sensitivity`. */
  double predicted_loss_change;
  /* Loss that one more byte for this tensor would save, at the chosen bits (dual price). */
  double loss_per_byte;
  uint64_t code_bytes;   /* packed codes in the file; "qdq" stores 3 bits in 4, 5 to 7 in 8 */
  uint64_t stored_bytes; /* codes, scales, zero points */
  /* By bits (index 1 to 8): loss change measured with only this tensor quantized, at temperature 1 (it may rise with bits
     where differences are below the noise of the samples), and the same from curvature (half the quadratic form of the
     error; theory against practice, Eq. 7). NaN where there is no value. */
  double measured_loss[9];
  double curvature_loss[9];
  /* The table that the choice of bits rests on: loss change with only this tensor quantized, mean over held-out samples and
     moved copies of them, "kl" at temperature 4; never rising with bits. Of methods "hawq-v2" and "mckp" their model of the
     loss. NaN where there is no value. */
  double sensitivity[9];
  cet_coding coding;     /* of the chosen bits */
  uint32_t trellis_bits; /* the set of bits (CET_BITS) whose losses above are of trellis codes; the others' of codes of grids */
  /* The node that reads the tensor first: its name, or its first output when it has none, and its operator ("Conv"), with the
     domain in front unless it is ONNX's own. "": not known, of a plan that was read from a former version's document. */
  const char *node;
  const char *operator_type;
} cet_plan_tensor;

CET_API cet_status cet_plan_tensor_init(cet_plan_tensor *info, size_t size);

/* Number of tensors, in graph order (that of the nodes that read them first), kept ones included. 0 for a bad handle. */
CET_API size_t cet_plan_tensor_count(const cet_bit_plan *plan);

/* Pointers in `info` are borrowed from the plan. Errors: INVALID_ARGUMENT (index out of range). */
CET_API cet_status cet_plan_get_tensor(const cet_bit_plan *plan, size_t index, cet_plan_tensor *info);

/* The index of the tensor of this name. Errors: INVALID_ARGUMENT when there is none. */
CET_API cet_status cet_plan_find_tensor(const cet_bit_plan *plan, const char *name, size_t *index);

/* One activation of a plan: a value that is rounded while the model runs, code = round(value / scale) + zero_point. */
typedef struct cet_plan_activation {
  uint32_t struct_size;
  int32_t bits;     /* of one code, which takes 8 in the file where they are 4; 32: it stays float32 */
  const char *name; /* of the graph value */
  uint64_t elements;   /* of a sample, mean */
  float scale;         /* NaN where it stays float32 */
  int32_t zero_point;  /* 0 to 2^bits - 1 */
  cet_activation_range range; /* how it was found; 0 where it stays float32 */
  uint32_t reserved;
  const char *reason; /* one line */
  /* Loss change with this activation rounded alone, at the chosen bits, mean over held-out samples, "kl" at temperature 4 as the
     sensitivities of tensors; and at temperature 1. */
  double predicted_loss_change;
  double measured_loss;
  double curvature_loss; /* what curvature says of measured_loss (as of tensors); NaN where it is not known */
  double sensitivity[17]; /* the former by bits; NaN where there is no value */
} cet_plan_activation;

CET_API cet_status cet_plan_activation_init(cet_plan_activation *info, size_t size);

/* Number of activations, in graph order, those that stay float32 included; 0 where the options asked for none. 0 for a bad handle. */
CET_API size_t cet_plan_activation_count(const cet_bit_plan *plan);

/* Pointers in `info` are borrowed from the plan. Errors: INVALID_ARGUMENT (index out of range). */
CET_API cet_status cet_plan_get_activation(const cet_bit_plan *plan, size_t index, cet_plan_activation *info);

/* A plan as a whole. */
typedef struct cet_plan_summary {
  uint32_t struct_size;
  uint32_t block_size;
  cet_method method;
  cet_loss loss;
  cet_curvature_kind curvature;
  cet_rounding rounding;
  cet_granularity granularity;
  cet_encoding encoding;
  double ratio;                 /* 32 / mean_bits */
  double mean_bits;             /* code bits per planned weight */
  uint64_t parameter_count;     /* planned weights: chosen and fixed */
  uint64_t code_bytes;          /* packed codes of the planned weights */
  uint64_t stored_bytes;        /* the same with scales and zero points */
  /* The whole written file, in `encoding`: of a plan that was judged (cet_plan, and after cet_quantize) to the byte; of one
     from another's table, and over 2 GiB with its data file, at most; 0: not known, see cet_plan_from_json. */
  uint64_t file_bytes;
  uint64_t model_bytes;         /* the model as it was loaded, external data included */
  double predicted_loss_change; /* of the whole plan as it is rounded, on new samples: see predicted_low */
  double measured_loss_change;  /* of the quantized model on the samples that it was fitted to; NaN before cet_quantize */
  uint64_t seed;
  uint64_t samples;            /* calibration samples used */
  const char *library_version; /* of the library that made the plan */
  const char *model_sha256;    /* 64 hexadecimal digits */
  /* 95 % interval of predicted_loss_change. cet_plan rounds the plan from three quarters of the samples and measures it
     on the rest; cet_plan_with_sensitivity scales such a measurement by the tables' losses. NaN: too few samples. */
  double predicted_low;
  double predicted_high;
  /* Of the quantized model when it is rounded from three quarters of the samples, mean over the others (all in turn when
     they are few; all at once with CET_ROUNDING_NEAREST, which is fitted to none), with the 95 % interval of new samples.
     NaN and 0 before cet_quantize, or with too few samples. */
  double held_out_loss;
  double held_out_low;
  double held_out_high;
  uint64_t held_out_samples;
  cet_coding coding; /* that was asked for */
  uint32_t reserved;
} cet_plan_summary;

CET_API cet_status cet_plan_summary_init(cet_plan_summary *summary, size_t size);

/* Pointers in `summary` are borrowed from the plan. */
CET_API cet_status cet_plan_get_summary(const cet_bit_plan *plan, cet_plan_summary *summary);

/* Notes for people: what was unusual about samples or model (few samples, samples that had to run one by one). A plan that
   was carried out has those of both calls, each once. 0 for a bad handle. */
CET_API size_t cet_plan_note_count(const cet_bit_plan *plan);

/* One line, borrowed from the plan. Errors: INVALID_ARGUMENT (index out of range). */
CET_API cet_status cet_plan_get_note(const cet_bit_plan *plan, size_t index, const char **note);

/* The plan as a JSON document with everything in it, the sensitivity table included. *json goes to cet_free(). */
CET_API cet_status cet_plan_to_json(const cet_bit_plan *plan, char **json);

/*
 * Reads such a document (NUL-terminated). A tensor whose "bits" were changed (1 to 8, or 32: kept) gets the reason "set
 * by hand"; its bytes and its predicted loss change, and those of the plan, are computed anew from its own table, and
 * file_bytes is 0 until cet_quantize. The bits of an activation may be changed to others of its "choices", or to 32.
 * Errors: INVALID_ARGUMENT with line and column, or the member's path.
 */
CET_API cet_status cet_plan_from_json(const char *json, cet_bit_plan **plan);

/* ---- Quantize ---- */

typedef struct cet_quantize_options {
  uint32_t struct_size;
  uint32_t threads;      /* 0: as many as there are processors */
  cet_rounding rounding; /* default: the plan's */
  uint32_t batch_size;   /* samples computed together; 0: chosen by the library */
  uint64_t samples;      /* use the first so many samples; 0: as many as the plan used */
  uint64_t max_memory;   /* as in cet_plan_options; 0: the plan's */
  cet_progress_fn progress;
  cet_log_fn log;
  void *user_data;
  cet_encoding encoding; /* that the result is for, its file_bytes and where its levels may lie; default: the plan's */
  cet_effort effort;     /* default: the plan's */
  const cet_executor *executor; /* NULL: threads of the library's own */
} cet_quantize_options;

CET_API cet_status cet_quantize_options_init(cet_quantize_options *options, size_t size);

/*
 * Computes codes, scales, zero points and corrected biases for a plan. `calibration` may be NULL with
 * CET_ROUNDING_NEAREST only; the loss is then not measured. The plan must be for this model: the SHA-256 of the file
 * is compared, and the plan must have each of its weights and no other.
 * Errors: as for cet_plan; INVALID_ARGUMENT when plan and model do not belong together.
 */
CET_API cet_status cet_quantize(
    const cet_model *model, const cet_calibration *calibration, const cet_bit_plan *plan,
    const cet_quantize_options *options, cet_quantized **quantized);

/*
 * Bytes that cet_quantize with these arguments would hold at most beyond model and calibration: computed from shapes, nothing
 * is rounded. Errors: as for cet_quantize; OUT_OF_MEMORY also says what is needed.
 */
CET_API cet_status cet_quantize_memory(
    const cet_model *model, const cet_calibration *calibration, const cet_bit_plan *plan,
    const cet_quantize_options *options, uint64_t *bytes);

/*
 * One quantized initializer. Affine codes are w = scale * (code - zero_point / zero_point_unit). Symmetric codes are the same, with
 * zero_point = 2^(bits - 1) for all: code - zero_point is a signed integer of `bits` bits.
 *
 * Trellis codes: the codes c of one index on `axis` are steps s = ((s << bits) | c) mod 2^trellis_state_bits from s = 0,
 * with a level trellis_table[s] after each. Steps go through the other axes with the first of them fastest (of a
 * convolution [M, C, H, W] through the C channels at one kernel position after the other), otherwise in C order. Every run
 * of trellis_rotation levels (a power of two, at most 64, that divides their number) is multiplied by the Hadamard matrix of its
 * length over the square root of it: for half = 1, 2, 4 ... each pair (a, b) of levels whose places differ by `half`
 * becomes (a + b, a - b), then all are multiplied by 1 / sqrt(trellis_rotation). w = scale * level. There is no zero point.
 *
 * Codes are unsigned, 0 to 2^bits - 1, in C order of `shape`, as one stream of bits, least significant bit
 * first: code k is bits [k * bits, (k + 1) * bits) of the stream, and bit i of the stream is bit i % 8 of byte
 * i / 8. The last byte is filled up with zeros: code_bytes = ceil(parameter_count * bits / 8). For 2, 4 and 8 bits
 * this is ONNX's own packing of UINT2, UINT4 and UINT8.
 *
 * Scales and zero points: `scale_count` of each (no zero points with a trellis).
 *   axis = -1: one for the tensor.
 *   block_size = 0: one per index on `axis`.
 *   block_size = B: the K weights that share an index on `axis`, in C order of the other axes, are cut into blocks
 *   of B (the last may be shorter); block j of index i has entry i * ceil(K / B) + j.
 */
typedef struct cet_initializer_view {
  uint32_t struct_size;
  uint32_t rank;
  const char *name;
  const int64_t *shape;
  uint64_t parameter_count;
  int32_t bits;
  int32_t axis;
  uint32_t block_size;
  uint32_t zero_point_unit; /* 1, or 2 (3 bits, and 2 except with "qdq"): zero points count in halves of a code */
  const uint8_t *codes;
  uint64_t code_bytes;
  const float *scale;
  const uint8_t *zero_point; /* NULL with a trellis */
  uint64_t scale_count;
  cet_coding coding;
  uint32_t trellis_state_bits; /* 0 without a trellis */
  const float *trellis_table;  /* 2^trellis_state_bits values, each a float16 number; NULL without a trellis */
  uint32_t trellis_rotation;   /* levels that are rotated together, 1 where none are; 0 without a trellis */
  uint32_t reserved;
} cet_initializer_view;

CET_API cet_status cet_initializer_view_init(cet_initializer_view *view, size_t size);

/* Number of quantized initializers, in graph order; kept tensors are not among them. 0 for a bad handle. */
CET_API size_t cet_quantized_initializer_count(const cet_quantized *quantized);

/* Pointers in `view` are borrowed from `quantized`. Errors: INVALID_ARGUMENT (index out of range). */
CET_API cet_status cet_quantized_get_initializer(
    const cet_quantized *quantized, size_t index, cet_initializer_view *view);

/* The index of the initializer of this name. Errors: INVALID_ARGUMENT when it is not quantized. */
CET_API cet_status cet_quantized_find_initializer(
    const cet_quantized *quantized, const char *name, size_t *index);

/* Writes the float32 values of an initializer, C order. Errors: SHAPE_MISMATCH unless count is its number of
   weights. */
CET_API cet_status cet_quantized_dequantize(
    const cet_quantized *quantized, size_t index, float *values, size_t count);

/*
 * The same rounded to `element_type`: CET_FLOAT32, CET_FLOAT16 or CET_BFLOAT16, to the nearest, ties to even, beyond its
 * range to infinity. Errors: INVALID_ARGUMENT (another type), SHAPE_MISMATCH unless byte_size is that of all weights.
 */
CET_API cet_status cet_quantized_dequantize_as(
    const cet_quantized *quantized, size_t index, cet_element_type element_type, void *values, uint64_t byte_size);

/* A copy of the plan that was carried out, with the measured loss change and the file's exact size. */
CET_API cet_status cet_quantized_get_plan(const cet_quantized *quantized, cet_bit_plan **plan);

typedef struct cet_save_options {
  uint32_t struct_size;
  cet_encoding encoding; /* default: the plan's */
  cet_progress_fn progress; /* may be NULL; heard while the file is made and checked */
  void *user_data;          /* handed to progress */
  /* Bytes that the call may hold beyond the handle: the file's, twice (once more in memory), and the values of the run that it is
     checked by. 0: of these values together 60 % of the memory that is available. Less is OUT_OF_MEMORY before anything is written. */
  uint64_t max_memory;
} cet_save_options;

CET_API cet_status cet_save_options_init(cet_save_options *options, size_t size);

/*
 * Writes the ONNX file. It appears under `path` complete or not at all (an existing file is replaced, but a file that
 * the model was loaded from, by whatever name, is INVALID_ARGUMENT).
 * "qdq" raises the model's operator set and IR version where its codes need later ones, and converts nodes.
 * Errors: IO; CANCELLED; INVALID_ARGUMENT when the encoding cannot hold the plan; UNSUPPORTED_OPERATOR for a node that the raised
 * operator set has no form for, by name.
 */
CET_API cet_status cet_quantized_save_file(
    const cet_quantized *quantized, const char *path, const cet_save_options *options);

/* The same bytes in memory; *data goes to cet_free(). INVALID_ARGUMENT over 2 GiB, where a file has another beside it. */
CET_API cet_status cet_quantized_save_memory(
    const cet_quantized *quantized, const cet_save_options *options, void **data, size_t *size);

/*
 * Writes codes, scales, zero points, corrected biases and the plan, so that cet_quantized_load_state makes the same handle
 * without the calibration. The file (docs/quantized-file.md) appears under `path` complete or not at all. Errors: IO.
 */
CET_API cet_status cet_quantized_save_state(const cet_quantized *quantized, const char *path);

/*
 * `model` is the one that was quantized, told by the SHA-256 of its file. What the handle writes has the same bytes as what
 * the saved one wrote, but is not run on a batch of samples before: there are none.
 * Errors: IO (no such file, or a damaged one), INVALID_ARGUMENT (another model), OUT_OF_MEMORY.
 */
CET_API cet_status cet_quantized_load_state(const cet_model *model, const char *path, cet_quantized **quantized);

/* ==== 5. The parts =============================================================================== */

/* ---- The library: how it was built ---- */

/*
 * A JSON document for reports of defects and benchmarks: `version`; `compilers`; `instruction_set` ("avx512f", "avx2" or
 * "default") that the kernels run on; `processors` that the process may run on, the default of every `threads`; `blas` with
 * `name`, `configuration` (its version is in it), `core` and `threading` ("pthreads", "openmp" or "sequential"); `onednn`,
 * its version or null. Members may be added. *json goes to cet_free().
 */
CET_API cet_status cet_build_info_json(char **json);

/* ---- Model: what is in it ---- */

/* A graph input or output. */
typedef struct cet_value_info {
  uint32_t struct_size;
  uint32_t rank; /* 0 with shape NULL: the model does not say */
  const char *name;
  const int64_t *shape;          /* -1: symbolic or unknown */
  cet_element_type element_type; /* 0: the model does not say */
  uint32_t reserved;
} cet_value_info;

CET_API cet_status cet_value_info_init(cet_value_info *info, size_t size);

/* Inputs that a caller must feed: graph inputs without an initializer of the same name. 0 for a bad handle. */
CET_API size_t cet_model_input_count(const cet_model *model);

/* 1 in `reads` when `path` is the file that the model was loaded from, or one that holds its external data, under any
   name (links included); else 0, also when there is no such file. */
CET_API cet_status cet_model_reads_file(const cet_model *model, const char *path, uint32_t *reads);

/* Pointers in `info` are borrowed from the model. */
CET_API cet_status cet_model_get_input(const cet_model *model, size_t index, cet_value_info *info);

/* Outputs, in the graph's order. 0 for a bad handle. */
CET_API size_t cet_model_output_count(const cet_model *model);

/* Pointers in `info` are borrowed from the model. */
CET_API cet_status cet_model_get_output(const cet_model *model, size_t index, cet_value_info *info);

/* Where a model comes from, in its own words; "" where it says nothing. */
typedef struct cet_model_info {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t ir_version;
  int64_t model_version; /* the producer's number for this version of the model */
  const char *producer_name;
  const char *producer_version;
  const char *domain;
  const char *graph_name;
  const char *documentation;
  uint64_t file_bytes; /* as it was loaded, external data included */
} cet_model_info;

CET_API cet_status cet_model_info_init(cet_model_info *info, size_t size);

/* Pointers in `info` are borrowed from the model. */
CET_API cet_status cet_model_get_info(const cet_model *model, cet_model_info *info);

/* SHA-256 of the model file without external data, 64 hexadecimal digits, borrowed from the model: what plans, spectra and
   saved states are held against. The file is read through when this is first asked for. */
CET_API cet_status cet_model_get_sha256(const cet_model *model, const char **digest);

/* Operator sets that the model imports, the default domain "" first. 0 for a bad handle. */
CET_API size_t cet_model_opset_count(const cet_model *model);

/* `domain` is borrowed from the model. */
CET_API cet_status cet_model_get_opset(const cet_model *model, size_t index, const char **domain, int64_t *version);

/* Entries of metadata_props, in the file's order. 0 for a bad handle. */
CET_API size_t cet_model_metadata_count(const cet_model *model);

/* `key` and `value` are borrowed from the model. */
CET_API cet_status cet_model_get_metadata(const cet_model *model, size_t index, const char **key, const char **value);

/*
 * A stretch of the parameter vector: one quantizable float constant (weights of Conv, ConvTranspose, Gemm, MatMul, Einsum of two
 * operands, LSTM, GRU and RNN, also behind operators that only move or cast elements, and tables of Gather, GatherND and
 * GatherElements; initializers or Constant nodes, of the main graph or of branches). The vector holds them in graph order, each in C order, as
 * float32.
 */
typedef struct cet_parameter_info {
  uint32_t struct_size;
  uint32_t rank;
  const char *name;
  const int64_t *shape;
  uint64_t offset; /* of its first element in the vector */
  uint64_t count;
} cet_parameter_info;

CET_API cet_status cet_parameter_info_init(cet_parameter_info *info, size_t size);

/* 0 for a bad handle. */
CET_API size_t cet_model_parameter_count(const cet_model *model);

/* Pointers in `info` are borrowed from the model. */
CET_API cet_status cet_model_get_parameter(const cet_model *model, size_t index, cet_parameter_info *info);

/* The parameter vector at the model's weights. Errors: SHAPE_MISMATCH unless `count` is its length. */
CET_API cet_status cet_model_get_parameter_vector(const cet_model *model, float *values, size_t count);

/*
 * A JSON document: inputs, outputs, opset, operators with counts and whether each has forward and exact
 * second-derivative rules, parameters, bytes, the smallest reachable size. `compress` has a status, "yes", "needs data"
 * (what the file leaves open decides) or "no", and its reason. Of a parameter, `computed` says that it is computed from
 * constants, `kept` why it stays float. `unplanned` has weights that are computed from constants and stay so; `quantized`
 * what is quantized already: `own` by this library (planned again from the decoded values), `others`, `float_weights` what
 * is left.
 * `oldest_runtime` is the oldest onnxruntime that opens the file, as "ort-1.24", of the releases from 1.20 to 1.32 that were tried, and
 * `oldest_runtime_reason` what older ones lack. Where none opens it the former is null, and the latter what all lack.
 * `oldest_openvino` and `oldest_openvino_reason` say the same of OpenVINO, "openvino-2026" or null: what domains and the nodes that
 * this library writes tell. *json goes to cet_free().
 */
CET_API cet_status cet_model_inspect_json(const cet_model *model, char **json);

/* ---- Calibration: what is in it ---- */

/* Number of batches. 0 for a bad handle. */
CET_API size_t cet_calibration_batch_count(const cet_calibration *calibration);

/*
 * The array of this name in a batch ("labels": the labels unless an input has that name). Fills `array`; its shape
 * and data are borrowed from `calibration`, its name is NULL.
 * Errors: INVALID_ARGUMENT when there is no such batch or array, or it has an unsupported element type.
 */
CET_API cet_status cet_calibration_get_array(
    const cet_calibration *calibration, size_t batch, const char *name, cet_tensor *array);

/* ---- Session: many budgets of one model ---- */

/*
 * A session takes the statistics and the table of losses of a model and its samples once. After that a plan for any budget takes
 * milliseconds, and cet_session_quantize needs no statistics of the samples again. A server keeps one for each model:
 *
 *   cet_session_create(model, NULL, &options, &session);     options.target_...: see there
 *   cet_session_add_batch(session, inputs, 1, NULL);         as often as there are batches
 *   cet_session_plan(session, &small, &plan);                the first call makes the table
 *   cet_session_quantize(session, plan, NULL, &quantized);   then swap weights in: cet_quantized_get_initializer,
 *                                                            cet_quantized_dequantize, cet_quantized_get_correction
 *   cet_session_save(session, "m.cet-session");              the next process begins with cet_session_load
 *
 * Memory: the samples, the table, and what layers of the unquantized network read of the samples: up to 512 MB, no more than half of what
 * max_memory leaves, and given up by a call with a smaller one.
 * Threads: all functions but _free may be called on one session by several threads at a time. The first call that needs the table makes
 * it; the others wait meanwhile, and hear their own callbacks. Results are the same whatever the order of the calls.
 */

/*
 * `calibration` may be NULL: batches are added then. `options` hold for all plans; progress, log and user_data are not used. A
 * target in them is that of the plan that is rounded and judged once: held-out samples decide how it is rounded, and predictions
 * of all others are scaled from its loss. Without a target: 3 bits a weight, or the fewest that are possible.
 * The session holds what it needs of both handles. Errors: INVALID_ARGUMENT, also for the methods "paper" and "clado", which keep no table.
 */
CET_API cet_status cet_session_create(
    const cet_model *model, const cet_calibration *calibration, const cet_plan_options *options, cet_session **session);

/* As cet_calibration_add_batch. Errors: also INVALID_ARGUMENT once the table is there. */
CET_API cet_status cet_session_add_batch(
    cet_session *session, const cet_tensor *inputs, size_t input_count, const cet_tensor *labels);

/* One batch of a cet_batch_fn: borrowed until its next call, or until cet_session_pull_batches returns. */
typedef struct cet_batch {
  const cet_tensor *inputs;
  size_t input_count;
  const cet_tensor *labels; /* may be NULL */
} cet_batch;

/* Fills `batch`, which is zero, and returns 1; 0: there are no more; negative: stop with CET_CANCELLED. */
typedef int32_t (*cet_batch_fn)(cet_batch *batch, void *user_data);

/* Adds batches until `next` has no more. After a failure the batches before it stay added. */
CET_API cet_status cet_session_pull_batches(cet_session *session, cet_batch_fn next, void *user_data);

/* Samples of the session; once the table is there, those that it was made of. 0 for a bad handle. */
CET_API uint64_t cet_session_sample_count(const cet_session *session);

/* Makes the table where there is none, so that no later call has to: a server calls it before it takes requests. progress and
   log may be NULL. Errors: as for cet_plan. */
CET_API cet_status cet_session_prepare(cet_session *session, cet_progress_fn progress, cet_log_fn log, void *user_data);

/*
 * A plan within the budget of `options`: cet_plan_with_sensitivity on the session's table. Of the other options what is left 0 is the
 * session's. Callbacks are heard while the table is made.
 */
CET_API cet_status cet_session_plan(cet_session *session, const cet_plan_options *options, cet_bit_plan **plan);

/*
 * Carries a plan out (of this session or any other for the same model and loss) as the session's judged plan was, fitted to the samples
 * that are not held out, a quarter of all: held_out_loss is that of the very codes. cet_quantize takes all samples, searches longer
 * and finds out how to round for each plan anew, in some ten times the time. `samples` and `batch_size` must be 0 or the session's.
 * Fewer than 32 samples are too few to leave some out: codes are fitted to all, and held_out_loss is cross-validated.
 * Errors: as for cet_quantize.
 */
CET_API cet_status cet_session_quantize(
    cet_session *session, const cet_bit_plan *plan, const cet_quantize_options *options, cet_quantized **quantized);

/*
 * Writes table and samples, in a versioned file that names the model by its SHA-256 and has checksums (docs/session-file.md); makes
 * the table where there is none. It appears under `path` complete or not at all. It holds the samples as they are: who may read
 * it may read them. Heard by cet_set_progress.
 * Errors: IO; CANCELLED; as for cet_plan.
 */
CET_API cet_status cet_session_save(cet_session *session, const char *path);

/*
 * From now on the call that makes the table writes the session's file, as cet_session_save does, under `path`: as soon as the losses of
 * single tensors are measured, some two thirds of the way, and when a plan is judged. A process that ends in between goes on from
 * there: cet_session_load, and the next call does what is missing. NULL: no longer.
 * A file that cannot be written fails the call (IO); a later call need not find out again what it should hold.
 */
CET_API cet_status cet_session_keep(cet_session *session, const char *path);

/* INVALID_ARGUMENT, with the first difference, unless losses are measured, and cet_session_create with this calibration and
   these options would measure the same; target, threads and max_memory aside. */
CET_API cet_status cet_session_check(
    const cet_session *session, const cet_calibration *calibration, const cet_plan_options *options);

/* Errors: IO (no such file, a damaged one), INVALID_ARGUMENT (another model's), OUT_OF_MEMORY. */
CET_API cet_status cet_session_load(const cet_model *model, const char *path, cet_session **session);

/* ---- Forward ---- */

typedef struct cet_run_options {
  uint32_t struct_size;
  uint32_t threads;    /* that matrix products and convolutions may use; 0: as many as there are processors */
  uint32_t batch_size; /* cet_run_samples: samples computed together; 0: what the model fixes, else 32 */
  uint32_t reserved;
  uint64_t max_memory; /* bytes that all values of the run together may have; 0: 60 % of the memory that is available */
  cet_progress_fn progress; /* may be NULL; heard while the model runs */
  cet_log_fn log;           /* may be NULL */
  void *user_data;          /* handed to both */
} cet_run_options;

CET_API cet_status cet_run_options_init(cet_run_options *options, size_t size);

/*
 * Runs the model with the library's own executor. `inputs` holds one array per required model input, matched by
 * name, and may hold some for initializers that are inputs as well. float16 and bfloat16 serve for float32 too. All values
 * of the run together may have max_memory bytes: the node that would have more is refused before it runs.
 * Errors: INVALID_ARGUMENT (names, element types, class numbers that are none), SHAPE_MISMATCH, UNSUPPORTED_OPERATOR,
 * OUT_OF_MEMORY (with the bytes), CANCELLED.
 */
CET_API cet_status cet_run(
    const cet_model *model, const cet_tensor *inputs, size_t input_count, const cet_run_options *options,
    cet_outputs **outputs);

/* Memory of the caller's for one output, as cet_tensor describes an array; never changes either. */
typedef struct cet_buffer {
  const char *name; /* of the output */
  void *data;
  uint64_t byte_size;
  const int64_t *shape;
  uint32_t rank;
  cet_element_type element_type;
} cet_buffer;

/*
 * The same into buffers of the caller's: outputs in any order, each at most once; those without a buffer are dropped.
 * Nothing is written unless all fit. Buffers may share memory with inputs, which are read before.
 * Errors: as for cet_run; SHAPE_MISMATCH unless element type, shape and byte_size are those of the output (expected and got
 * are details of the error); INVALID_ARGUMENT for overlapping buffers.
 */
CET_API cet_status cet_run_into(
    const cet_model *model, const cet_tensor *inputs, size_t input_count, const cet_run_options *options,
    const cet_buffer *outputs, size_t output_count);

/*
 * Runs the model on samples of a calibration, as planning feeds them: from number `first` of `batch` on, at most
 * batch_size of them. Inputs are cut along the axis that counts samples (cet_calibration_add_batch), those without one
 * are given whole; float32 is narrowed to float16 where the model asks for that. `count` becomes the number of samples
 * that were run; where none are left it is 0 and `outputs` NULL.
 * Errors: as for cet_run; INVALID_ARGUMENT, SHAPE_MISMATCH for data that do not fit the model.
 */
CET_API cet_status cet_run_samples(
    const cet_model *model, const cet_calibration *calibration, size_t batch, uint64_t first,
    const cet_run_options *options, uint64_t *count, cet_outputs **outputs);

/* Number of outputs, in the graph's order. 0 for a bad handle. */
CET_API size_t cet_outputs_count(const cet_outputs *outputs);

/* Fills `tensor`; its pointers are borrowed from `outputs`. */
CET_API cet_status cet_outputs_get(const cet_outputs *outputs, size_t index, cet_tensor *tensor);

/* The index of the output of this name. Errors: INVALID_ARGUMENT when there is none. */
CET_API cet_status cet_outputs_find(const cet_outputs *outputs, const char *name, size_t *index);

/* ---- DLPack ---- */

/*
 * Arrays of other libraries, and arrays for them (https://dmlc.github.io/dlpack). The structs are those of the host's
 * dlpack.h, version 1.x, which may be included before or after this header, or not at all.
 */
struct DLManagedTensor;
struct DLManagedTensorVersioned;

/*
 * Describes such an array for the library. `tensor` borrows shape and elements from `array`, which stays its owner's, and
 * `name` (may be NULL). Memory of the processor, in C order without gaps; byte_offset is heeded.
 * Errors: INVALID_ARGUMENT (another device, version, element type, or strides), SHAPE_MISMATCH.
 */
CET_API cet_status cet_tensor_from_dlpack(
    const struct DLManagedTensorVersioned *array, const char *name, cet_tensor *tensor);
CET_API cet_status cet_tensor_from_dlpack_unversioned(
    const struct DLManagedTensor *array, const char *name, cet_tensor *tensor);

/*
 * An output as such an array, without a copy: marked read-only, in memory that lives until array->deleter is called, also
 * when `outputs` is freed before. Errors: INVALID_ARGUMENT (index out of range, an element type that DLPack lacks).
 */
CET_API cet_status cet_outputs_to_dlpack(
    const cet_outputs *outputs, size_t index, struct DLManagedTensorVersioned **array);

/* The values of an initializer, as cet_quantized_dequantize_as gives them, in memory of their own that may be written. */
CET_API cet_status cet_quantized_to_dlpack(
    const cet_quantized *quantized, size_t index, cet_element_type element_type,
    struct DLManagedTensorVersioned **array);

/* ---- Curvature ---- */

/*
 * Sums over processes, through an engine that the host brings (MPI: examples/mpi). values[i] becomes the sum of all
 * ranks' values[i], on every rank, in place; the call returns when that is done. Called on the thread that called the
 * library. Non-zero return stops the library's call with CET_CANCELLED, on this rank alone, and every later one.
 */
typedef int32_t (*cet_allreduce_fn)(double *values, size_t count, void *user_data);

/* One process of several that share the calibration samples. */
typedef struct cet_communicator {
  uint32_t struct_size;
  uint32_t rank; /* of this process, 0 to size - 1 */
  uint32_t size; /* processes, 1 to 16 */
  uint32_t reserved;
  cet_allreduce_fn allreduce_sum;
  void *user_data; /* handed to allreduce_sum; both are used until the handle that was made with them is freed */
} cet_communicator;

CET_API cet_status cet_communicator_init(cet_communicator *communicator, size_t size);

/*
 * Which samples are whose: rank `rank` of `size` adds `count` samples from number `first` on, of `total_samples` that
 * are computed in batches of `batch_size`. Errors: INVALID_ARGUMENT, also when a rank would get no samples.
 */
CET_API cet_status cet_communicator_range(
    uint64_t total_samples, uint64_t batch_size, uint32_t size, uint32_t rank, uint64_t *first, uint64_t *count);

typedef struct cet_curvature_options {
  uint32_t struct_size;
  uint32_t threads; /* 0: as many as there are processors */
  cet_loss loss;
  cet_curvature_kind curvature;
  uint64_t samples;    /* use the first so many samples; 0: all */
  uint64_t max_memory; /* bytes that the handle tries not to exceed; 0: 60 % of what is available */
  uint32_t batch_size; /* samples computed together; 0: chosen by the library */
  uint32_t reserved;
  const char *output;               /* graph output that the loss reads; NULL: the first */
  const char *const *keep_patterns; /* initializers to leave out of the parameter vector, as in cet_plan */
  uint64_t keep_count;
  const cet_communicator *communicator; /* NULL: this process has all samples */
  const char *const *only_patterns; /* leave out all others: the diagonal block of these; none: all */
  uint64_t only_count;
  /* Heard by cet_curvature_create, cet_curvature_loss and cet_curvature_gradient, on their caller's thread; used until the
     handle is freed. Not called with a communicator. */
  cet_progress_fn progress;
  cet_log_fn log;
  void *user_data; /* handed to progress and log */
  const cet_executor *executor; /* NULL: threads of the library's own; its function is used until the handle is freed */
} cet_curvature_options;

CET_API cet_status cet_curvature_options_init(cet_curvature_options *options, size_t size);

/*
 * The loss over the calibration samples as a function of the parameter vector, at the model's weights. The handle
 * holds what it needs of both: model and calibration may be freed before it.
 *
 * Memory: what the handle will hold (weights, samples, references, buffers of each thread, sums) is computed before
 * anything runs. What max_memory leaves beyond that keeps what products share; when it leaves too little, fewer threads
 * work. Results do not depend on it. CET_OUT_OF_MEMORY when it is not enough for one thread: the message has the
 * bytes that are. The default is taken when the handle is made, and divided by the ranks of a communicator.
 *
 * With a communicator each rank adds its own samples (cet_communicator_range), loads the same model and makes the same
 * calls with the same vectors and options, those of cet_eigensolve_curvature and of the estimates included; only a
 * state_path is each rank's own, and the samples in a spectrum's fingerprint are this rank's. Getters are free. Losses,
 * gradients, products and so spectra are those of all samples, and the same bits on every rank and for any number of
 * ranks. `samples` must be 0; batch_size 0 chooses by the samples of all ranks. When a call fails on one rank it fails
 * on all, elsewhere with the same status and the number of that rank. INVALID_ARGUMENT on all ranks when samples are
 * split otherwise than cet_communicator_range says.
 *
 * Errors: as for cet_plan; INVALID_ARGUMENT for cross-entropy without labels or with one that is no class of the model;
 * OUT_OF_MEMORY.
 */
CET_API cet_status cet_curvature_create(
    const cet_model *model, const cet_calibration *calibration, const cet_curvature_options *options,
    cet_curvature **curvature);

/* Length n of the parameter vector. 0 for a bad handle. */
CET_API size_t cet_curvature_dimension(const cet_curvature *curvature);

/*
 * hv = H v, exact up to rounding, mean over the samples. `v` and `hv` have n elements, n = cet_curvature_dimension,
 * and do not overlap. Errors: SHAPE_MISMATCH (n), NUMERIC (v or hv has NaN or infinity).
 */
CET_API cet_status cet_curvature_apply(cet_curvature *curvature, const float *v, float *hv, size_t n);

/*
 * The same for `count` vectors, one after the other in `v` and `hv`: n * count elements each. The same bits as single
 * products; weights and activations are read once for several vectors (`directions` of cet_curvature_info).
 */
CET_API cet_status cet_curvature_apply_block(
    cet_curvature *curvature, const float *v, float *hv, size_t n, size_t count);

/* The gradient, mean over the samples. */
CET_API cet_status cet_curvature_gradient(cet_curvature *curvature, float *gradient, size_t n);

/* The loss, mean over the samples. */
CET_API cet_status cet_curvature_loss(cet_curvature *curvature, double *loss);

typedef struct cet_curvature_info {
  uint32_t struct_size;
  uint32_t threads;         /* that compute; fewer than asked for when max_memory is short */
  uint64_t dimension;       /* of the parameter vector */
  uint64_t samples;         /* of all ranks */
  uint64_t batches;         /* of this rank */
  uint64_t kept_batches;    /* batches of which activations stay in memory between products */
  uint64_t directions;      /* vectors whose products are computed in one pass */
  uint64_t max_memory;      /* bytes: the option, or what its default came to */
  uint64_t predicted_bytes; /* most that the handle holds, as computed before anything ran */
  uint64_t peak_bytes;      /* most that it has held so far */
  uint64_t least_bytes;     /* the smallest max_memory that suffices: one thread, nothing kept between products */
} cet_curvature_info;

CET_API cet_status cet_curvature_info_init(cet_curvature_info *info, size_t size);
CET_API cet_status cet_curvature_get_info(const cet_curvature *curvature, cet_curvature_info *info);

/* Notes for people, as those of a plan. 0 for a bad handle. */
CET_API size_t cet_curvature_note_count(const cet_curvature *curvature);

/* One line, borrowed from `curvature`. Errors: INVALID_ARGUMENT (index out of range). */
CET_API cet_status cet_curvature_get_note(const cet_curvature *curvature, size_t index, const char **note);

/* What is where in the parameter vector. 0 for a bad handle. */
CET_API size_t cet_curvature_parameter_count(const cet_curvature *curvature);

/* Pointers in `info` are borrowed from `curvature`. */
CET_API cet_status cet_curvature_get_parameter(
    const cet_curvature *curvature, size_t index, cet_parameter_info *info);

/* ---- Eigenpairs ---- */

/*
 * A symmetric linear map that the host brings: result = A v, n elements each, not overlapping. Called on the thread
 * that called cet_eigensolve. Non-zero return stops with CET_CANCELLED.
 */
typedef int32_t (*cet_apply_fn)(const float *v, float *result, size_t n, void *user_data);

/* The same for `count` vectors of n elements, one after another without gaps, likewise the results. */
typedef int32_t (*cet_apply_block_fn)(const float *v, float *result, size_t n, size_t count, void *user_data);

/* What the vectors of a Krylov basis are stored as. */
typedef int32_t cet_basis_type;
enum {
  CET_BASIS_DEFAULT = 0,  /* float32; for eigenpairs bfloat16 where max_memory is too small for float32 */
  CET_BASIS_FLOAT32 = 1,
  CET_BASIS_BFLOAT16 = 2  /* half the memory; residual norms end near 1e-3 of the |eigenvalue| where the wanted
                             eigenvalues stand out, near 1e-2 in a flat spectrum (docs/numerics.md) */
};

typedef struct cet_eigensolve_options {
  uint32_t struct_size;
  uint32_t threads;          /* 0: as many as there are processors */
  uint32_t count;            /* eigenpairs wanted; 0: 10; at most n */
  cet_which which;
  uint32_t krylov_dimension; /* basis vectors kept; at least count + max(2, block_size), rounded up to whole blocks;
                                0: chosen by the library, fewer where max_memory asks for it */
  uint32_t max_applies;      /* 0: chosen by the library */
  double tolerance;          /* of the residual norm, relative to the pair's |eigenvalue|; 0: 1e-3, bfloat16: 1e-2.
                                Single precision ends at 2e-6 of the largest |eigenvalue|, which always suffices. */
  uint64_t seed;             /* of the start vector */
  const float *start;        /* start vector of n elements; NULL: random */
  uint32_t require_convergence; /* non-zero: CET_NOT_CONVERGED instead of pairs that missed the tolerance */
  uint32_t reserved;
  cet_progress_fn progress;
  cet_log_fn log;
  void *user_data; /* handed to progress and log */
  uint32_t block_size;       /* vectors that the map is applied to at once; 0: 1 */
  cet_basis_type basis_type;
  const char *basis_path;    /* folder for the basis as a memory-mapped file without a name, which goes with the
                                process; NULL: in memory */
  uint64_t max_memory;       /* bytes for the basis (unless it is in a file), 2 * block_size vectors of n floats and, from a
                                megabyte on, the projections, matrices of krylov_dimension; what the map itself needs is
                                not counted. 0: 60 % of what the system has available, less what a
                                curvature will still take of it; it takes less where little is left. */
  cet_apply_block_fn apply_block; /* of cet_eigensolve's map, for blocks; NULL: one vector after another */
  const cet_spectrum *initial; /* pairs to start from, of the same parameters (or with the same fingerprint): those of
                                  fewer samples, another loss, a former version of the weights; NULL: none */
  const char *state_path;      /* file for the state after every restart. A solve of the same map with the same options
                                  goes on from it, to the same bits as without interruption; that of another is refused
                                  (INVALID_ARGUMENT). Removed when the solve ends. Where memory is short set
                                  krylov_dimension or max_memory, too: what is available changes. NULL: none */
  const char *fingerprint;     /* the host's name for its map, kept in spectra and states; NULL: none. A curvature adds
                                  model, data, loss, curvature and parameters by itself. */
  uint64_t total_max_memory;   /* cet_eigensolve_curvature only, in place of max_memory: bytes for what that counts and for
                                  what the curvature holds, which takes less from then on (fewer directions, batches and
                                  threads, the same products) where the basis needs room. 0: none */
  const cet_executor *executor; /* for the basis, a curvature has its own; NULL: threads of the library's own */
} cet_eigensolve_options;

CET_API cet_status cet_eigensolve_options_init(cet_eigensolve_options *options, size_t size);

/*
 * Eigenpairs of a map given by a callback; `apply_data` is handed to it and to apply_block.
 * Errors: INVALID_ARGUMENT, NUMERIC (the map gave NaN or infinity), NOT_CONVERGED, CANCELLED, OUT_OF_MEMORY (with the
 * bytes that are needed), IO (no room for the basis file, or its folder cannot be written).
 */
CET_API cet_status cet_eigensolve(
    cet_apply_fn apply, void *apply_data, size_t n, const cet_eigensolve_options *options,
    cet_spectrum **spectrum);

/* Eigenpairs of a curvature handle. With a communicator all ranks call it with the same options but for callbacks; when
   one rank's callback cancels, all ranks get CET_CANCELLED. */
CET_API cet_status cet_eigensolve_curvature(
    cet_curvature *curvature, const cet_eigensolve_options *options, cet_spectrum **spectrum);

typedef struct cet_spectrum_info {
  uint32_t struct_size;
  cet_which which;
  uint64_t count;           /* pairs */
  uint64_t dimension;       /* n */
  uint64_t converged_count; /* pairs that met the tolerance */
  uint64_t applies;         /* of the map */
  uint64_t restarts;
  uint64_t krylov_dimension; /* of the last basis */
  double tolerance;
} cet_spectrum_info;

CET_API cet_status cet_spectrum_info_init(cet_spectrum_info *info, size_t size);
CET_API cet_status cet_spectrum_get_info(const cet_spectrum *spectrum, cet_spectrum_info *info);

/* Number of pairs. 0 for a bad handle. */
CET_API size_t cet_spectrum_count(const cet_spectrum *spectrum);

/* Each writes `count` entries, count = cet_spectrum_count (else SHAPE_MISMATCH), in the order asked for: by falling
   magnitude, falling, or rising. */
CET_API cet_status cet_spectrum_get_values(const cet_spectrum *spectrum, double *values, size_t count);
/* ||A x - lambda x|| for the unit vector x of each pair. */
CET_API cet_status cet_spectrum_get_residual_norms(const cet_spectrum *spectrum, double *norms, size_t count);
/* 1 for a pair that met the tolerance, else 0. */
CET_API cet_status cet_spectrum_get_converged(const cet_spectrum *spectrum, uint8_t *converged, size_t count);

/* The unit eigenvector of pair `index`; n = dimension (else SHAPE_MISMATCH). The spectrum keeps vectors in the memory
   (or file) of its basis. With bfloat16 and krylov_dimension + block_size < 2 * count they are rounded like it. */
CET_API cet_status cet_spectrum_get_vector(const cet_spectrum *spectrum, size_t index, float *vector, size_t n);

/*
 * Writes a spectrum with its vectors and what it belongs to. The file (docs/spectrum-file.md) appears under `path`
 * complete or not at all. Errors: IO.
 */
CET_API cet_status cet_spectrum_save_file(const cet_spectrum *spectrum, const char *path);

/* Errors: IO (no such file, or a damaged one), OUT_OF_MEMORY. */
CET_API cet_status cet_spectrum_load_file(const char *path, cet_spectrum **spectrum);

/* INVALID_ARGUMENT, with the first difference, unless the spectrum is one of this curvature: same model, data, loss,
   curvature, parameters and batches. */
CET_API cet_status cet_spectrum_check_curvature(const cet_spectrum *spectrum, const cet_curvature *curvature);

/* ---- Trace, diagonal, spectral density ---- */

/* How a trace is estimated. */
typedef int32_t cet_trace_method;
enum {
  CET_TRACE_DEFAULT = 0,       /* hutchinson */
  CET_TRACE_HUTCHINSON = 1,    /* "hutchinson": mean of z'Hz over random signs z */
  CET_TRACE_HUTCHPLUSPLUS = 2  /* "hutch++": half of the samples span a Krylov space Q, tr(Q'HQ) is exact, and
                                  Hutchinson's method does the rest: less error where few eigenvalues stick out */
};

typedef struct cet_estimate_options {
  uint32_t struct_size;
  uint32_t threads;        /* 0: as many as there are processors */
  uint32_t samples;        /* random vectors, each one product (density: one per step); 0: 32, density: 8 */
  uint32_t steps;          /* density: Lanczos steps per random vector; 0: 40 */
  uint64_t seed;
  cet_trace_method method; /* trace only */
  cet_basis_type basis_type; /* density and hutch++, which keep `steps` or samples / 2 vectors */
  const char *basis_path;  /* as in cet_eigensolve_options */
  uint64_t max_memory;     /* bytes for these vectors; 0: 60 % of what the system has available */
  cet_progress_fn progress;
  cet_log_fn log;
  void *user_data;         /* handed to progress and log */
  const cet_executor *executor; /* for the vectors, a curvature has its own; NULL: threads of the library's own */
} cet_estimate_options;

CET_API cet_status cet_estimate_options_init(cet_estimate_options *options, size_t size);

/*
 * tr A with its standard error (infinite with one sample; NULL: not wanted).
 * Errors of this and the following functions: INVALID_ARGUMENT, NUMERIC, CANCELLED, OUT_OF_MEMORY, IO.
 */
CET_API cet_status cet_trace_estimate(
    cet_apply_fn apply, void *apply_data, size_t n, const cet_estimate_options *options, double *trace,
    double *standard_error);
CET_API cet_status cet_trace_estimate_curvature(
    cet_curvature *curvature, const cet_estimate_options *options, double *trace, double *standard_error);

/* The diagonal of A (mean of z * Az over random signs z), n elements, and the standard error of each element (may be
   NULL). The mean over the samples exists for a diagonal A after one; elsewhere errors fall with the root of samples. */
CET_API cet_status cet_diagonal_estimate(
    cet_apply_fn apply, void *apply_data, size_t n, const cet_estimate_options *options, float *diagonal,
    float *standard_errors);
CET_API cet_status cet_diagonal_estimate_curvature(
    cet_curvature *curvature, const cet_estimate_options *options, float *diagonal, float *standard_errors, size_t n);

/*
 * The density of A's eigenvalues (its integral is 1) by stochastic Lanczos quadrature: for each random vector `steps`
 * nodes, ascending, with weights that sum to 1; where a Krylov space ends early the last nodes have weight 0.
 * `count` is samples * steps (SHAPE_MISMATCH). The integral of f over the density is the mean over samples of the
 * weighted sums of f(node), so that n times that estimates tr f(A).
 */
CET_API cet_status cet_spectral_density(
    cet_apply_fn apply, void *apply_data, size_t n, const cet_estimate_options *options, double *nodes,
    double *weights, size_t count);
CET_API cet_status cet_spectral_density_curvature(
    cet_curvature *curvature, const cet_estimate_options *options, double *nodes, double *weights, size_t count);

/* The density at `count` points with every node widened to a Gaussian of standard deviation `width`, and its
   standard error over the samples (NULL: not wanted; infinite with one sample). */
CET_API cet_status cet_spectral_density_evaluate(
    const double *nodes, const double *weights, size_t samples, size_t steps, double width, const double *points,
    double *density, double *standard_errors, size_t count);

/* ==== 6. Advanced ================================================================================ */

/*
 * A plan for another budget from the sensitivity table that `source` carries (a plan, also one read from JSON): no
 * data, no forward passes. Method, loss, curvature, rounding, granularity and block size are the source's and must
 * be left 0 or be the same in `options`, as must output. Encoding, bits, keep and fix patterns are the source's where
 * left 0; every choice they leave open must be in the table. Bits that were set by hand are chosen anew. Samples, batch
 * size and seed are not used. The source must be for this model, as in cet_quantize.
 * Errors: INVALID_ARGUMENT (the table lacks what is asked for; plan and model do not belong together),
 * INFEASIBLE_BUDGET.
 */
CET_API cet_status cet_plan_with_sensitivity(
    const cet_model *model, const cet_bit_plan *source, const cet_plan_options *options, cet_bit_plan **plan);

/*
 * Float32 initializers that go with the codes: biases corrected for the quantization error. A host that replaces
 * weights in memory replaces these too.
 */
typedef struct cet_correction_view {
  uint32_t struct_size;
  uint32_t added;   /* 1: `node` had no bias, and this initializer becomes its new bias input */
  const char *name; /* of the initializer */
  const char *node; /* name of the node that reads it, its first output when it has no name */
  const float *values;
  uint64_t count;
} cet_correction_view;

CET_API cet_status cet_correction_view_init(cet_correction_view *view, size_t size);

/* 0 for a bad handle. */
CET_API size_t cet_quantized_correction_count(const cet_quantized *quantized);

/* Pointers in `view` are borrowed from `quantized`. */
CET_API cet_status cet_quantized_get_correction(
    const cet_quantized *quantized, size_t index, cet_correction_view *view);

/* ==== 7. Experimental ============================================================================ */
/* What is below may change or go in any version. */

/* Handles of all kinds, and arrays lent through DLPack, that exist in this process: a test compares it before and after. */
CET_API uint64_t cet_live_handle_count(void);

#ifdef __cplusplus
}
#endif

#endif /* CET_CET_H */
